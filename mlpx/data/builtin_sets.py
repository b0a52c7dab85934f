"""Data sets that need no file: five that come with scikit-learn, three that are computed here.

The real ones are scikit-learn's own copies. The synthetic ones are drawn with `mlpx.random`, so that a seed means the
same points on every machine, up to the rounding of sine and cosine.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from mlpx import random
from mlpx.arguments import whole_number
from mlpx.data.assembly import assembled
from mlpx.data.options import ReadOptions
from mlpx.data.table import Table
from mlpx.errors import ConfigError, unknown_name

REAL = ("digits", "iris", "wine", "breast_cancer", "diabetes")
TARGET = "target"
NAMED_CLASSES = ("iris", "wine", "breast_cancer")
MOON_NOISE = 0.2
FRIEDMAN_NOISE = 1.0
FRIEDMAN_FEATURES = 10
SPIRAL_STEPS = 96
SPIRAL_STEPS_PER_PI = 16
SPIRAL_RADIUS = 6.5
SPIRAL_REACH = 104

Points = tuple[np.ndarray, np.ndarray]


def builtin(name: str, seed: int = 0, n: int | None = None) -> Table:
    """A built-in data set, its last column "target" the one to predict.

    Parameters
    ----------
    name : str
        One of `BUILTIN`: `digits`, `iris`, `wine`, `breast_cancer`, `diabetes` (scikit-learn's); `moons` (1000 points,
        noise 0.2), `spirals` (the 194 points of the two-spirals problem), `friedman1` (1000 points, noise 1).
    seed : int
        Draws the points of `moons` and `friedman1`, and the rows when `n` takes fewer than a real set has.
    n : int, optional
        Number of rows.

    Returns
    -------
    table : Table

    Raises
    ------
    ConfigError
        If there is no set of that name or size, or scikit-learn is needed and missing.

    References
    ----------
    Lang & Witbrock (1988), "Learning to tell two spirals apart" (`spirals`). Friedman (1991), "Multivariate adaptive
    regression splines", eq. 56 and section 4.3 (`friedman1`).
    """
    return built(name, seed, n, ReadOptions())


def built(name: str, seed: int, n: int | None, options: ReadOptions) -> Table:
    """The built-in set, read as the options say."""
    if name not in BUILTIN:
        raise unknown_name("built-in data set", name, BUILTIN)
    if n is not None:
        n = whole_number("n", n, at_least=2)
    columns = _real(name, seed, n) if name in REAL else _synthetic(name, seed, n)
    return assembled(name, tuple(columns), columns.__getitem__, options, TARGET)


def _real(name: str, seed: int, n: int | None) -> dict[str, np.ndarray]:
    try:
        datasets = import_module("sklearn.datasets")
    except ImportError as error:
        raise ConfigError(f"the data set {name!r} comes with scikit-learn: pip install 'mlpx[sklearn]'") from error
    bunch = getattr(datasets, f"load_{name}")()
    x, y = np.asarray(bunch.data, dtype=np.float64), np.asarray(bunch.target)
    targets = np.asarray(bunch.target_names).astype(object)[y] if name in NAMED_CLASSES else y.astype(np.float64)
    if n is not None:
        if n > len(x):
            raise ConfigError(f"n={n}: {name} has {len(x)} rows")
        rows = np.asarray(random.permutation(_key(seed, 0), len(x)))[:n]
        x, targets = x[rows], targets[rows]
    columns = {str(feature): x[:, number].copy() for number, feature in enumerate(bunch.feature_names)}
    return columns | {TARGET: targets}


def _synthetic(name: str, seed: int, n: int | None) -> dict[str, np.ndarray]:
    x, y = _GENERATORS[name](seed, n)
    return {f"x{number}": column.copy() for number, column in enumerate(x.T)} | {TARGET: y.astype(np.float64)}


def _moons(seed: int, n: int | None) -> Points:
    """Two interleaving half circles with normal noise, in random order."""
    n = n or 1000
    outer, inner = np.linspace(0, np.pi, n // 2), np.linspace(0, np.pi, n - n // 2)
    x = np.concatenate(
        [np.stack([np.cos(outer), np.sin(outer)], axis=1), np.stack([1 - np.cos(inner), 0.5 - np.sin(inner)], axis=1)]
    )
    y = np.repeat([0, 1], [len(outer), len(inner)])
    x = x + MOON_NOISE * np.asarray(random.normal(_key(seed, 0), (n, 2), dtype="float64"))
    order = np.asarray(random.permutation(_key(seed, 1), n))
    return x[order], y[order]


def _spirals(seed: int, n: int | None) -> Points:
    """Two spirals of three turns each, point by point: radius 6.5 (104 − i) / 104 at angle i π / 16, i = 0 … 96."""
    del seed  # nothing is random here
    n = n or 2 * (SPIRAL_STEPS + 1)
    if n % 2:
        raise ConfigError(f"n={n}: the two spirals have equally many points; give an even number")
    i = np.linspace(0, SPIRAL_STEPS, n // 2)
    angle, radius = i * np.pi / SPIRAL_STEPS_PER_PI, SPIRAL_RADIUS * (SPIRAL_REACH - i) / SPIRAL_REACH
    one = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    return np.stack([one, -one], axis=1).reshape(n, 2), np.tile([1, 0], n // 2)


def _friedman1(seed: int, n: int | None) -> Points:
    """Friedman's first function, y = 10 sin(π x0 x1) + 20 (x2 − ½)² + 10 x3 + 5 x4 + noise; x5 … x9 say nothing."""
    n = n or 1000
    x = np.asarray(random.uniform(_key(seed, 0), (n, FRIEDMAN_FEATURES), dtype="float64"))
    noise = FRIEDMAN_NOISE * np.asarray(random.normal(_key(seed, 1), n, dtype="float64"))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4] + noise
    return x, y


def _key(seed: int, number: int) -> Any:
    root: Any = random.key(seed)
    return random.split(random.fold_in(root, random.Purpose.DATA))[number]


_GENERATORS: dict[str, Callable[[int, int | None], Points]] = {"moons": _moons, "spirals": _spirals, "friedman1": _friedman1}
BUILTIN = (*REAL, *_GENERATORS)
