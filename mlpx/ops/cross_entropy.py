"""Negative log-likelihoods, row by row, of what goes into a link: logits of softmax and sigmoid, the log of a Poisson rate."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.namespace import constant, namespace_of, placed_as
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.ops.sigmoids import decay, sigma
from mlpx.ops.targets import expect_labels, expect_values
from mlpx.typing import Array


class Residuals(NamedTuple):
    """What the backward pass of a cross entropy needs."""

    probabilities: Array
    targets: Array


class PoissonResiduals(NamedTuple):
    """What the backward pass of `poisson` needs."""

    rate: Array
    targets: Array


@op
def softmax_cross_entropy(logits: Array, targets: Array) -> tuple[Array, Residuals]:
    """Cross entropy of each row between target classes and softmax of the logits.

        ŷ = softmax(z)
        L = −yᵀ log ŷ = log Σ_j exp(z_j) − yᵀ z

    The largest logit of a row is subtracted first, so that no exponential overflows.

    Parameters
    ----------
    logits : (n, k) floating
        Net inputs z of the output layer; up to half the largest number nothing overflows. A logit of −inf rules a class out:
        it counts as minus half the largest number, so the loss of such a class is huge but finite, and in a row of nothing
        else all are equal. +inf gives NaN.
    targets : (n,) int32 or int64, or (n, k) of the logits' dtype
        Labels 0 … k−1, or rows y of probabilities that sum to 1. A label outside matches no class: its y is zero.

    Returns
    -------
    rows : (n,)
    residuals : Residuals

    Raises
    ------
    InvalidInputError
        If the shapes do not fit.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Lecture, application to machine learning: L(y, ŷ) = −yᵀ log ŷ.
    """
    xp = namespace_of(logits, targets)
    expect_labels(logits, targets)
    y = targets if targets.ndim == 2 else _one_hot(targets, logits)
    # −inf becomes a number that can be multiplied by zero and subtracted from: 0 · (−inf) and −inf + inf would be NaN.
    z = xp.maximum(logits, constant(-0.5 * float(xp.finfo(logits.dtype).max), logits))
    z = z - xp.max(z, axis=1, keepdims=True)
    exp_z = xp.exp(z)
    normaliser = xp.sum(exp_z, axis=1, keepdims=True)
    rows = xp.log(normaliser[:, 0]) - xp.sum(y * z, axis=1)
    return rows, Residuals(exp_z / normaliser, y)


@softmax_cross_entropy.backward
def softmax_cross_entropy_backward(drows: Array, residuals: Residuals) -> Array:
    """Gradient with respect to the logits: δ = ŷ − y, times drows of the row."""
    probabilities, targets = residuals
    return drows[:, None] * (probabilities - targets)


@op
def sigmoid_cross_entropy(logits: Array, targets: Array) -> tuple[Array, Residuals]:
    """Cross entropy of each output between a target probability and sigmoid of the logit, averaged over the outputs of a row.

        ŷ = σ(z) = 1 / (1 + exp(−z))
        L = mean over outputs of −t log ŷ − (1 − t) log(1 − ŷ)
          = mean over outputs of max(z, 0) − z t + log(1 + exp(−|z|))

    Parameters
    ----------
    logits : (n, k) floating
        Net inputs z of the output layer; finite (an infinite one gives NaN or infinity).
    targets : (n, k) of the logits' dtype
        Probabilities t, in [0, 1].

    Returns
    -------
    rows : (n,)
    residuals : Residuals

    Raises
    ------
    InvalidInputError
        If the shapes differ.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Bishop (2006), "Pattern Recognition and Machine Learning", eq. 4.90; the last form keeps every exponent at or below 0.
    """
    xp = namespace_of(logits, targets)
    expect_values(logits, targets)
    e = decay(logits)
    elements = xp.maximum(logits, constant(0.0, logits)) - logits * targets + xp.log1p(e)
    return xp.mean(elements, axis=1), Residuals(sigma(logits, e), targets)


@sigmoid_cross_entropy.backward
def sigmoid_cross_entropy_backward(drows: Array, residuals: Residuals) -> Array:
    """Gradient with respect to the logits: δ = (ŷ − t) / k, times drows of the row."""
    probabilities, targets = residuals
    return (drows / probabilities.shape[1])[:, None] * (probabilities - targets)


def poisson_rate(log_rate: Array) -> Array:
    """exp(o), standing still above 90 % of the largest exponent, so that no batch of rates overflows when summed."""
    xp = namespace_of(log_rate)
    largest = 0.9 * math.log(xp.finfo(log_rate.dtype).max)
    return xp.exp(xp.minimum(log_rate, constant(largest, log_rate)))


@op
def poisson(output: Array, targets: Array) -> tuple[Array, PoissonResiduals]:
    """Negative log-likelihood of counts, averaged over the outputs of each row; the output is the log of the rate.

        L = mean_k exp(o_k) − y_k o_k

    The term log(y!) is left out: no output changes it. So that nothing overflows, exp(o) stands still above 90 % of the
    largest exponent (o = 79 in float32, 638 in float64); its slope exp(o) − y is kept there, and still pulls o back.

    Parameters
    ----------
    output : (n, k) floating
        The log o of the expected count.
    targets : (n, k) of output's dtype and device
        Counts y ≥ 0.

    Returns
    -------
    rows : (n,)
        In nats.
    residuals : PoissonResiduals

    Raises
    ------
    InvalidInputError
        If the shapes differ.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    McCullagh & Nelder (1989), "Generalized Linear Models", chapter 6: the Poisson family with log link.
    """
    xp = namespace_of(output, targets)
    expect_values(output, targets)
    rate = poisson_rate(output)
    return xp.mean(rate - targets * output, axis=1), PoissonResiduals(rate, targets)


@poisson.backward
def poisson_backward(drows: Array, residuals: PoissonResiduals) -> Array:
    """Gradient with respect to the output: (exp(o) − y) / k, times drows of the row."""
    rate, targets = residuals
    return (drows / rate.shape[1])[:, None] * (rate - targets)


def _one_hot(labels: Array, like: Array) -> Array:
    """Rows (n, k) with a one in the column of each label, shaped and typed like the logits."""
    xp = namespace_of(labels)
    classes = xp.arange(like.shape[1], dtype=labels.dtype, **placed_as(labels))
    return xp.astype(labels[:, None] == classes, like.dtype)


def _label_inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    return draw.normal(7, 4), draw.integers(7, below=4)


def _row_inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    weights = draw.uniform(7, 4, low=0.1)
    return draw.normal(7, 4), weights / weights.sum(axis=1, keepdims=True)


def _bit_inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    return draw.away_from(7, 3), draw.uniform(7, 3)


def _count_inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    return draw.normal(7, 3), draw.integers(7, 3, below=5).astype(np.float64)


_BAD = (
    BadInput(inputs=lambda draw: (draw.normal(7, 1), draw.uniform(7)), error=InvalidInputError, match=r"targets\[:, None\]"),
    BadInput(inputs=lambda draw: (draw.normal(7, 3), draw.uniform(6, 3)), error=InvalidInputError, match="7 rows of output"),
)

softmax_cross_entropy.case(
    kind="normalising",
    label="labels",
    inputs=_label_inputs,
    terms=4,
    differentiable=(0,),
    examples=(
        Example(
            inputs=([[0.0, math.log(2), math.log(3)], [5.0, 5.0, 5.0]], [2, 1]),
            result=[math.log(2), math.log(3)],
            source="by hand: ŷ = (1, 2, 3)/6, label 2, so −log ½; ŷ = (1, 1, 1)/3, so −log ⅓",
        ),
    ),
    bad=(
        BadInput(
            inputs=lambda draw: (draw.normal(7, 4), draw.integers(6, below=4)),
            error=InvalidInputError,
            match="7 rows of output",
        ),
        BadInput(
            inputs=lambda draw: (draw.normal(7, 4), draw.integers(7, 1, below=4)),
            error=InvalidInputError,
            match=r"targets\[:, 0\]",
        ),
    ),
)
softmax_cross_entropy.case(
    kind="normalising",
    label="rows",
    inputs=_row_inputs,
    terms=4,
    differentiable=(0,),
    examples=(
        Example(
            inputs=([[0.0, math.log(3)]], [[0.5, 0.5]]),
            result=[0.5 * math.log(16 / 3)],
            source="by hand: ŷ = (1, 3)/4, so ½ log 4 + ½ log 4/3",
        ),
    ),
)
sigmoid_cross_entropy.case(
    kind="normalising",
    inputs=_bit_inputs,
    terms=3,
    differentiable=(0,),
    examples=(
        Example(
            inputs=([[math.log(3), 0.0]], [[1.0, 0.0]]),
            result=[0.5 * math.log(8 / 3)],
            source="by hand: ŷ = (¾, ½), so the mean of log 4/3 and log 2",
        ),
    ),
    bad=_BAD,
)
poisson.case(
    kind="product",
    inputs=_count_inputs,
    terms=3,
    differentiable=(0,),
    examples=(
        Example(
            inputs=([[math.log(2), 0.0]], [[3.0, 0.0]]),
            result=[(3 - 3 * math.log(2)) / 2],
            source="by hand: 2 − 3 log 2 and 1, averaged",
        ),
    ),
    bad=_BAD,
)
