"""scikit-learn's losses: mlpx's equations with its normalisation and its limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlpx import losses
from mlpx.losses import Loss
from mlpx.namespace import constant, namespace_of
from mlpx.typing import Array, Residuals

LINKS = {"identity": "identity", "softmax": "softmax", "sigmoid": "logistic", "exp": "exp"}
"""What scikit-learn calls the output activation, by mlpx's name of the link."""


@dataclass(frozen=True)
class LogLoss(losses.SoftmaxCrossEntropy):
    """Cross entropy of classes; a probability counts as no less than eps and no more than 1 − eps."""

    def forward(self, output: Array, targets: Array) -> tuple[Array, Residuals]:
        """Rows within the limits, and what the gradient, which has none, needs."""
        rows, residuals = super().forward(output, targets)
        return _limited(rows), residuals


@dataclass(frozen=True)
class BinaryLogLoss(losses.SigmoidCrossEntropy):
    """Cross entropy of bits, summed over the outputs of a row; a probability counts as in `LogLoss`."""

    def forward(self, output: Array, targets: Array) -> tuple[Array, Residuals]:
        """Every element is a row of the equation, which averages over outputs."""
        xp = namespace_of(output)
        elements, residuals = super().forward(xp.reshape(output, (-1, 1)), xp.reshape(targets, (-1, 1)))
        return xp.sum(xp.reshape(_limited(elements), output.shape), axis=1), residuals

    def backward(self, drows: Array, residuals: Residuals) -> Array:
        """δ = ŷ − t for every output, times drows of its row."""
        xp = namespace_of(drows)
        n, k = drows.shape[0], residuals.probabilities.shape[0] // drows.shape[0]
        if k > 1:
            drows = xp.reshape(xp.broadcast_to(drows[:, None], (n, k)), (-1,))
        return xp.reshape(super().backward(drows, residuals), (n, k))


@dataclass(frozen=True)
class SquaredError(losses.HalfSquaredError):
    """½(y − o)², averaged over the outputs in its value and summed over them in its gradient, as scikit-learn has it."""

    def forward(self, output: Array, targets: Array) -> tuple[Array, Residuals]:
        """The rows, divided by the number of outputs."""
        rows, residuals = super().forward(output, targets)
        return (rows if output.shape[1] == 1 else rows / output.shape[1]), residuals


@dataclass(frozen=True)
class PoissonDeviance(losses.Poisson):
    """Half the Poisson deviance, y log(y / ŷ) − y + ŷ, summed over the outputs of a row."""

    def forward(self, output: Array, targets: Array) -> tuple[Array, Residuals]:
        """The likelihood's rows and the term that is zero where ŷ = y."""
        xp = namespace_of(output)
        rows, residuals = super().forward(output, targets)
        positive = xp.maximum(targets, constant(float(xp.finfo(output.dtype).smallest_normal), output))
        return rows * output.shape[1] + xp.sum(targets * xp.log(positive) - targets, axis=1), residuals

    def backward(self, drows: Array, residuals: Residuals) -> Array:
        """δ = ŷ − y for every output, times drows of its row."""
        return super().backward(drows * residuals.rate.shape[1], residuals)


def for_regression(given: str | Loss | Callable[..., Any]) -> Loss:
    """The loss that a regressor's `loss=` names."""
    if given == "squared_error":
        return SquaredError()
    if given == "poisson":
        return PoissonDeviance()
    return losses.get(given)


def for_classification(given: str | Loss | Callable[..., Any], y_type: str) -> Loss:
    """The loss that a classifier's `loss=` names: softmax for one class of many, a sigmoid for every output otherwise."""
    if given == "log_loss":
        return LogLoss() if y_type == "multiclass" else BinaryLogLoss()
    return losses.get(given)


def _limited(rows: Array) -> Array:
    """−log p for p in [eps, 1 − eps]."""
    xp = namespace_of(rows)
    eps = float(xp.finfo(rows.dtype).eps)
    return xp.minimum(xp.maximum(rows, constant(-math.log1p(-eps), rows)), constant(-math.log(eps), rows))
