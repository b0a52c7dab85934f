"""The networks that are certified: small, but between them they use every kind of block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from mlpx import layers, losses
from mlpx.compositions import Parallel, Residual, Sequential
from mlpx.losses import Loss
from mlpx.network import Network
from mlpx.optim import SGD, Adam, Optimizer
from mlpx.step import Batch, Descent, Objective

ROWS, BATCHES = 32, 4
"""Rows of a batch, and batches that a trajectory goes round."""
WIDTH = 16
"""Columns of x: a whole number of the tiles in which accelerators multiply."""


@dataclass(frozen=True)
class Specimen:
    """A network, its loss, and data to learn.

    Attributes
    ----------
    name : str
    net : Network
    loss : Loss
    depth : int
        Layers on the longest way through it.
    params, buffers : flat float64 NumPy arrays
    x : (BATCHES, ROWS, …)
    targets : (BATCHES, ROWS, …)
    descent : Descent
        How its trajectory goes down.
    l2 : float
    """

    name: str
    net: Network
    loss: Loss
    depth: int
    params: np.ndarray
    buffers: np.ndarray
    x: np.ndarray
    targets: np.ndarray
    descent: Descent
    l2: float = 0.0

    @property
    def terms(self) -> int:
        """Numbers in the longest sum of a layer: over the rows of a batch, or over the widest layer."""
        return max(ROWS, *(max(entry.shape) for entry in self.net.layout.entries.values()))

    @property
    def outputs(self) -> int:
        """Numbers in the sum that the loss is."""
        return ROWS * self.net.output_shape(self.x.shape[1:])[-1]

    @property
    def objective(self) -> Objective:
        """What it minimises."""
        return Objective(self.net, self.loss, self.l2)

    def batches(self, dtype: str, put: Callable[[np.ndarray], object]) -> list[Batch]:
        """Its batches in a dtype, each array as `put` returns it."""
        return [
            Batch(*(put(a.astype(dtype) if np.issubdtype(a.dtype, np.floating) else a) for a in pair))  # type: ignore[arg-type]
            for pair in zip(self.x, self.targets, strict=True)
        ]


@cache
def specimens() -> tuple[Specimen, ...]:
    """The networks: relu with labels; gelu, layer norm and dropout around a shortcut; batch norm in parallel; an embedding."""
    draw = np.random.default_rng(20170601)
    table, values = draw.standard_normal((BATCHES, ROWS, WIDTH)), draw.standard_normal((BATCHES, ROWS, 16))
    labels = draw.integers(0, 8, (BATCHES, ROWS)).astype(np.int32)
    flags = draw.uniform(0, 1, (BATCHES, ROWS, 16))
    words = draw.integers(0, 12, (BATCHES, ROWS, 4)).astype(np.int32)
    momentum = SGD(0.05, momentum=0.9)
    return (
        _specimen("relu mlp", _relu_mlp(), "softmax_cross_entropy", 3, table, labels, Descent(Adam(1e-3)), l2=1e-3),
        _specimen("gelu residual", _gelu_residual(), "huber", 5, table, values, Descent(momentum, clip_norm=1.0)),
        _specimen("batch norm parallel", _parallel(), "sigmoid_cross_entropy", 3, table, flags, Descent(momentum)),
        _specimen("embedding", _embedding(), "mse", 3, words, values, Descent(SGD(0.05), ema_decay=0.9)),
    )


def optimizers() -> dict[str, Optimizer]:
    """Every update rule that works on arrays alone, by name.

    Those that divide by the gradient's size take an ε no smaller than the rate η. A first step of Adam or RMSprop is
    η g / (|g| + ε), whose slope in g is at most η/ε ≤ 1: the step is then off by no more than the gradient is. With a small ε
    a component whose gradient is zero but for rounding would take a full step in a random direction.
    """
    from mlpx.optim import AdamW, RMSprop  # beside what `specimens` uses

    even = {"learning_rate": 1e-2, "eps": 1e-2}
    return {
        "sgd": SGD(0.1),
        "sgd with momentum": SGD(0.1, momentum=0.9),
        "sgd with Nesterov's momentum": SGD(0.1, momentum=0.9, nesterov=True),
        "adam": Adam(**even),
        "adamw": AdamW(**even),
        "rmsprop": RMSprop(**even),
        "rmsprop with momentum": RMSprop(**even, momentum=0.9),
    }


def _specimen(
    name: str,
    net: Network,
    loss: str,
    depth: int,
    x: np.ndarray,
    targets: np.ndarray,
    descent: Descent,
    l2: float = 0.0,
) -> Specimen:
    """First parameters moved a little, so that no bias is 0 and no gain is 1, where a forgotten term would not show."""
    start = net.init(seed=0, dtype="float64")
    moved = 0.1 * np.random.default_rng(1).standard_normal(net.layout.length)
    buffers = np.zeros(0) if start.buffers is None else np.asarray(start.buffers.flat)
    return Specimen(name, net, losses.get(loss), depth, np.asarray(start.flat) + moved, buffers, x, targets, descent, l2)


def _relu_mlp() -> Sequential:
    return Sequential(layers.Dense(WIDTH, 64, activation="relu"), layers.Dense(64, 32, activation="relu"), layers.Dense(32, 8))


def _gelu_residual() -> Sequential:
    inside = layers.LayerNorm(32), layers.Dense(32, 32, activation="gelu"), layers.Dropout(0.25)
    return Sequential(layers.Dense(WIDTH, 32, activation="selu"), Residual(*inside), layers.Dense(32, 16))


def _parallel() -> Sequential:
    # Batch norm follows an activation: behind a plain sum it would make the bias's gradient zero but for rounding.
    normed = layers.Dense(WIDTH, 32, activation="tanh"), layers.BatchNorm(32)
    other = layers.Dense(WIDTH, 16, activation=layers.Activation("swish", beta="learned")), layers.Activation("prelu", 16)
    return Sequential(Parallel(Sequential(*normed), Sequential(*other)), layers.Dense(48, 16))


def _embedding() -> Sequential:
    return Sequential(
        layers.Embedding(12, 8), layers.Flatten(), layers.Dense(32, 32, activation="logistic"), layers.Dense(32, 16)
    )
