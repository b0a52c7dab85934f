"""Losses of predicted values, row by row: how far the outputs o of a row are from its targets y."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.namespace import constant, namespace_of
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.ops.targets import expect_values
from mlpx.typing import Array


class ErrorResiduals(NamedTuple):
    """What a loss of the error o − y keeps: that error, of `huber` clipped to ±delta."""

    error: Array


class SlopeResiduals(NamedTuple):
    """What a loss keeps whose slope takes more than the error: ∂loss/∂o of each output."""

    slope: Array


def _error(output: Array, targets: Array) -> Array:
    """The error o − y, of arrays that are known to have one shape."""
    namespace_of(output, targets)
    expect_values(output, targets)
    return output - targets


@op
def half_squared_error(output: Array, targets: Array) -> tuple[Array, ErrorResiduals]:
    """Half the squared distance between the outputs and the targets of each row.

        E_(i) = ½ ‖y − o‖² = ½ Σ_k (y_k − o_k)²

    Parameters
    ----------
    output : (n, k) floating
        The network's outputs o. An error beyond the root of the largest number overflows when squared.
    targets : (n, k) of output's dtype and device
        The expected outputs y.

    Returns
    -------
    rows : (n,)
        In units of y squared.
    residuals : ErrorResiduals

    Raises
    ------
    InvalidInputError
        If the shapes differ.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Lecture, backpropagation: the cost E_(i) of one training sample.
    """
    error = _error(output, targets)
    xp = namespace_of(error)
    return 0.5 * xp.sum(error * error, axis=1), ErrorResiduals(error)


@half_squared_error.backward
def half_squared_error_backward(drows: Array, residuals: ErrorResiduals) -> Array:
    """Gradient with respect to the output: δ = −(y − o), times drows of the row (BP-1, before ⊙ f')."""
    return drows[:, None] * residuals.error


@op
def mse(output: Array, targets: Array) -> tuple[Array, ErrorResiduals]:
    """Squared error, averaged over the outputs of each row.

        L = mean_k (o_k − y_k)²

    Parameters
    ----------
    output : (n, k) floating
        The network's outputs o.
    targets : (n, k) of output's dtype and device
        The expected outputs y.

    Returns
    -------
    rows : (n,)
        In units of y squared.
    residuals : ErrorResiduals

    Raises
    ------
    InvalidInputError
        If the shapes differ.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Hastie, Tibshirani & Friedman (2009), "The Elements of Statistical Learning", eq. 2.9.
    """
    error = _error(output, targets)
    xp = namespace_of(error)
    return xp.mean(error * error, axis=1), ErrorResiduals(error)


@mse.backward
def mse_backward(drows: Array, residuals: ErrorResiduals) -> Array:
    """Gradient with respect to the output: 2 (o − y) / k, times drows of the row."""
    error = residuals.error
    return (drows * (2 / error.shape[1]))[:, None] * error


@op
def mae(output: Array, targets: Array) -> tuple[Array, ErrorResiduals]:
    """Absolute error, averaged over the outputs of each row; its minimum is the conditional median.

        L = mean_k |o_k − y_k|

    Parameters
    ----------
    output : (n, k) floating
        The network's outputs o.
    targets : (n, k) of output's dtype and device
        The expected outputs y.

    Returns
    -------
    rows : (n,)
        In units of y.
    residuals : ErrorResiduals

    Raises
    ------
    InvalidInputError
        If the shapes differ.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Hastie, Tibshirani & Friedman (2009), "The Elements of Statistical Learning", eq. 2.18.
    """
    error = _error(output, targets)
    xp = namespace_of(error)
    return xp.mean(xp.abs(error), axis=1), ErrorResiduals(error)


@mae.backward
def mae_backward(drows: Array, residuals: ErrorResiduals) -> Array:
    """Gradient with respect to the output: sign(o − y) / k, times drows of the row; at the kink sign(0) = 0."""
    error = residuals.error
    xp = namespace_of(drows)
    return (drows / error.shape[1])[:, None] * xp.sign(error)


@op
def huber(output: Array, targets: Array, *, delta: float = 1.0) -> tuple[Array, ErrorResiduals]:
    """Huber's loss, averaged over the outputs of each row: squared for small errors, absolute for large ones.

        r = o − y,   c = min(max(r, −delta), delta)
        L = mean_k c (r − c/2)         that is ½ r² where |r| ≤ delta, delta (|r| − ½ delta) beyond

    Parameters
    ----------
    output : (n, k) floating
        The network's outputs o.
    targets : (n, k) of output's dtype and device
        The expected outputs y.
    delta : float
        Where squared turns into absolute, > 0, in units of y. The slope is continuous there.

    Returns
    -------
    rows : (n,)
        In units of y squared.
    residuals : ErrorResiduals

    Raises
    ------
    InvalidInputError
        If the shapes differ.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Huber (1964), "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35.
    """
    error = _error(output, targets)
    xp = namespace_of(error)
    clipped = xp.minimum(xp.maximum(error, constant(-delta, error)), constant(delta, error))
    return xp.mean(clipped * (error - 0.5 * clipped), axis=1), ErrorResiduals(clipped)


@huber.backward
def huber_backward(drows: Array, residuals: ErrorResiduals) -> Array:
    """Gradient with respect to the output: min(max(o − y, −delta), delta) / k, times drows of the row."""
    clipped = residuals.error
    return (drows / clipped.shape[1])[:, None] * clipped


@op
def quantile(output: Array, targets: Array, *, q: float = 0.5) -> tuple[Array, SlopeResiduals]:
    """Pinball loss, averaged over the outputs of each row; its minimum is the conditional q-quantile.

        L = mean_k q max(y_k − o_k, 0) + (1 − q) max(o_k − y_k, 0)

    Parameters
    ----------
    output : (n, k) floating
        The network's outputs o.
    targets : (n, k) of output's dtype and device
        The expected outputs y.
    q : float
        The quantile asked for, in (0, 1). With 0.5 the loss is half of `mae`.

    Returns
    -------
    rows : (n,)
        In units of y.
    residuals : SlopeResiduals

    Raises
    ------
    InvalidInputError
        If the shapes differ.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Koenker & Bassett (1978), "Regression Quantiles", Econometrica 46.
    """
    error = _error(output, targets)
    xp = namespace_of(error)
    zero = constant(0.0, error)
    elements = q * xp.maximum(-error, zero) + (1 - q) * xp.maximum(error, zero)
    slope = (1 - q) * xp.astype(error > 0, error.dtype) - q * xp.astype(error < 0, error.dtype)
    return xp.mean(elements, axis=1), SlopeResiduals(slope)


@quantile.backward
def quantile_backward(drows: Array, residuals: SlopeResiduals) -> Array:
    """Gradient with respect to the output: (1 − q where o > y, −q where o < y) / k, times drows; at the kink it is 0."""
    slope = residuals.slope
    return (drows / slope.shape[1])[:, None] * slope


def _value_inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    targets = draw.normal(7, 3)
    return targets + draw.away_from(7, 3, kinks=(-1.0, 0.0, 1.0)), targets


_BAD = (
    BadInput(inputs=lambda draw: (draw.normal(7, 1), draw.normal(7)), error=InvalidInputError, match=r"targets\[:, None\]"),
    BadInput(inputs=lambda draw: (draw.normal(7, 3), draw.normal(7, 1)), error=InvalidInputError, match="3 values a row"),
    BadInput(inputs=lambda draw: (draw.normal(7, 3), draw.normal(6, 3)), error=InvalidInputError, match="7 rows of output"),
    BadInput(inputs=lambda draw: (draw.normal(7), draw.normal(7)), error=InvalidInputError, match="batch of rows"),
)
_MAZUR = Example(
    inputs=([[0.75136507, 0.772928465]], [[0.01, 0.99]]),
    result=[0.298371109],
    source="Mazur, A Step by Step Backpropagation Example: E_total",
)
_BY_HAND = (([[1.0, 2.0, -3.0]], [[1.5, 2.0, 0.0]]), "by hand: the errors are −½, 0 and −3")

half_squared_error.case(
    kind="product", inputs=_value_inputs, terms=3, smooth=True, differentiable=(0,), examples=(_MAZUR,), bad=_BAD
)
for _op, _attributes, _result, _smooth in (
    (mse, {}, 9.25 / 3, True),
    (mae, {}, 3.5 / 3, False),
    (huber, {"delta": 1.0}, (0.125 + 2.5) / 3, False),
    (quantile, {"q": 0.75}, 2.625 / 3, False),
):
    _op.case(
        kind="product",
        inputs=_value_inputs,
        attributes=_attributes,
        terms=3,
        smooth=_smooth,
        differentiable=(0,),
        examples=(Example(inputs=_BY_HAND[0], result=[_result], source=_BY_HAND[1], attributes=_attributes),),
        bad=_BAD,
    )
