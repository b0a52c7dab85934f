"""Small networks and data sets that several test files train, and what tells two training runs apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

import mlpx
from mlpx import Parallel, Residual, Sequential, layers, transfer

ROWS, WIDTH, CLASSES, CATEGORIES = 22, 6, 3, 5


def table(rows: int = ROWS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x (rows, 6), its first two columns category numbers, and labels that depend on x."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, WIDTH))
    x[:, :2] = generator.integers(0, CATEGORIES, (rows, 2))
    y = np.argmax(x[:, 2:5] + 0.3 * generator.standard_normal((rows, 3)), axis=1)
    return x, y


def regression(rows: int = ROWS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x (rows, 6), and values (rows, 2)."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, WIDTH))
    return x, np.stack([np.sin(x[:, 0]) + x[:, 1], x[:, 2] * x[:, 3]], axis=1)


def plain(outputs: int = CLASSES) -> Sequential:
    """One hidden layer."""
    return Sequential(layers.Dense(WIDTH, 8, activation="tanh"), layers.Dense(8, outputs))


def nested(outputs: int = CLASSES) -> Sequential:
    """Shortcut, branches, both norms, dropout and a learned slope."""
    return Sequential(
        layers.Dense(WIDTH, 8, activation="gelu"),
        Residual(layers.LayerNorm(8), layers.Dense(8, 8, activation="swish"), layers.Dropout(0.2)),
        Parallel(
            layers.Dense(8, 4, activation="tanh"),
            Sequential(layers.Dense(8, 5, activation="prelu"), layers.Dropout(0.1)),
        ),
        layers.BatchNorm(9),
        Parallel(layers.Dense(9, outputs), layers.Dense(9, outputs, activation="softplus"), combine="sum"),
    )


def embedded(outputs: int = CLASSES) -> Sequential:
    """Two category columns through a table of vectors, beside the numbers."""
    return Sequential(
        Parallel(
            Sequential(layers.Columns(0, 2), layers.Embedding(CATEGORIES, 3, table_init="glorot_normal"), layers.Flatten()),
            layers.Columns(2, WIDTH),
        ),
        layers.Dense(10, 8, activation="selu"),
        layers.Dropout(0.25),
        layers.Dense(8, outputs),
    )


NETWORKS = {"plain": plain, "nested": nested, "embedded": embedded}


def arrays_in(value: Any) -> Iterator[Any]:
    """All arrays in nested tuples and mappings."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for part in value:
            yield from arrays_in(part)
    elif hasattr(value, "dtype") and hasattr(value, "shape"):
        yield value


def digest(*values: Any) -> str:
    """Of every array in nested tuples: library, dtype, shape and bits."""
    seen = hashlib.sha256()
    for array in arrays_in(values):
        host = np.asarray(array) if isinstance(array, np.ndarray | np.generic) else transfer.to_numpy(array)
        seen.update(f"{type(array).__module__} {host.dtype} {host.shape}".encode() + host.tobytes())
    return seen.hexdigest()


def record(trainer: mlpx.Trainer) -> tuple[Any, ...]:
    """Everything of a trainer that training changes, but for the time it took."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in trainer.history.rows]
    return digest(trainer.state), trainer.steps_done, trainer.epochs_done, repr(rows)


def assert_near(found: Any, expected: Any, tolerance: float) -> None:
    """Assert that no number is further off than `tolerance` times the largest expected one, or 1 where all are smaller."""
    scale = max(float(np.max(np.abs(expected), initial=0.0)), 1.0)
    np.testing.assert_array_less(np.abs(found - expected), tolerance * scale)
