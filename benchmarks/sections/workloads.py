"""The networks and data that the sections train: one of every kind that the examples show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import mlpx
from mlpx import layers, optim


@dataclass(frozen=True)
class Workload:
    """A network with its data and how it is trained.

    Attributes
    ----------
    name : str
    net, data : callable
        Make the network, and x (n, d) with targets.
    trainer, fit : mapping
        Arguments of `mlpx.Trainer` and of its `fit`.
    tolerance : float
        Largest relative difference of a float64 loss from NumPy's.
    """

    name: str
    net: Callable[[], mlpx.Network]
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    trainer: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-12


def digits(rows: int = 1797) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits, scaled to [0, 1]; without scikit-learn, noisy copies of ten patterns of their shape."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return blobs(rows, 64, 10)
    x, y = load_digits(return_X_y=True)
    return x[:rows] / 16, y[:rows]


def blobs(rows: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy copies of one random pattern a class, and the class."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, rows)
    patterns = draw.uniform(0, 1, (classes, features))
    return patterns[labels] + draw.normal(0, 0.3, (rows, features)), labels


def friedman(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Friedman's first problem, y = 10 sin(π x₀ x₁) + 20 (x₂ − ½)² + 10 x₃ + 5 x₄ + noise, standardised (Friedman 1991)."""
    draw = np.random.default_rng(1)
    x = draw.uniform(0, 1, (rows, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y = y + draw.normal(0, 1, rows)
    return x - 0.5, ((y - y.mean()) / y.std())[:, None]


def xor() -> tuple[np.ndarray, np.ndarray]:
    """The four rows of exclusive or."""
    return np.asarray([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.asarray([[0.0], [1], [1], [0]])


def classifier() -> mlpx.Network:
    """The network of the digits example."""
    return mlpx.Sequential(layers.Dense(64, 128, "relu"), layers.Dropout(0.1), layers.Dense(128, 10))


def branched() -> mlpx.Network:
    """A graph with a shortcut and parallel branches."""
    return mlpx.Sequential(
        layers.Dense(64, 32, "gelu"),
        mlpx.Residual(layers.LayerNorm(32), layers.Dense(32, 32, "swish")),
        mlpx.Parallel(layers.Dense(32, 16, "elu"), layers.Dense(32, 16, "softplus")),
        layers.Dense(32, 10),
    )


def regressor() -> mlpx.Network:
    """The network of the regression example, with batch norm."""
    return mlpx.Sequential(layers.Dense(10, 32, "tanh"), layers.BatchNorm(32), layers.Dense(32, 1))


WORKLOADS = (
    Workload(
        "digits: dropout, Adam",
        classifier,
        lambda: digits(600),
        {"optimizer": optim.Adam(1e-3)},
        {"epochs": 5, "batch_size": 64},  # nine whole batches and a short one, five times: 50 steps
    ),
    Workload(
        "digits: residual and parallel, AdamW, clipping, averaging, L2, class weights",
        branched,
        lambda: digits(600),
        {
            "optimizer": optim.AdamW(optim.WarmUp(optim.Cosine(1e-2, steps=50), steps=5), weight_decay=0.01),
            "clip_norm": 1.0,
            "ema": 0.9,
            "l2": 1e-4,
            "class_weight": "balanced",
        },
        {"epochs": 5, "batch_size": 64},
    ),
    Workload(
        "friedman: batch norm, Nesterov",
        regressor,
        friedman,
        {"loss": "mse", "optimizer": optim.SGD(0.05, momentum=0.9, nesterov=True)},
        {"epochs": 8, "batch_size": 32},  # 56 steps
    ),
    Workload(
        "xor: batch gradient descent",
        lambda: mlpx.Sequential(layers.Dense(2, 8, "tanh"), layers.Dense(8, 1)),
        xor,
        {"loss": "sigmoid_cross_entropy", "optimizer": optim.SGD(0.5)},
        {"epochs": 50, "batch_size": None},
    ),
    Workload(
        "friedman: L-BFGS",
        lambda: mlpx.Sequential(layers.Dense(10, 16, "logistic"), layers.Dense(16, 1)),
        friedman,
        {"loss": "half_squared_error", "optimizer": optim.LBFGS()},
        {"epochs": 20, "batch_size": None},
        1e-6,  # a line search decides by comparing losses: rounding may move a step length within its bracket
    ),
)
