"""Softmax and log-sum-exp of rows, without overflow anywhere in the float range."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.namespace import constant, namespace_of
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.typing import Array


class SoftmaxResiduals(NamedTuple):
    """What the backward pass of `softmax` needs: p, its result."""

    p: Array


@op
def softmax(logits: Array) -> tuple[Array, SoftmaxResiduals]:
    """Probabilities of k classes from their logits, along the last axis.

        pᵢ = exp(zᵢ − m) / Σⱼ exp(zⱼ − m),   m = maxⱼ zⱼ

    Parameters
    ----------
    logits : (*n, k) floating
        −inf rules a class out; a row of nothing else gives equal probabilities. A row with +inf gives NaN.

    Returns
    -------
    p : (*n, k)
        In [0, 1], each row with sum 1.
    residuals : SoftmaxResiduals

    Raises
    ------
    InvalidInputError
        If there is no class axis, or no class.

    References
    ----------
    Bridle (1990), "Probabilistic Interpretation of Feedforward Classification Network Outputs".
    """
    xp = namespace_of(logits)
    _, e = _largest_and_exponentials("softmax", logits)
    p = e / xp.sum(e, axis=-1, keepdims=True)
    return p, SoftmaxResiduals(p)


@softmax.backward
def softmax_backward(dp: Array, residuals: SoftmaxResiduals) -> Array:
    """Gradient with respect to the logits.

    dz = p * (dp − Σⱼ dpⱼ pⱼ)
    """
    p = residuals.p
    return p * (dp - namespace_of(dp).sum(dp * p, axis=-1, keepdims=True))


class LogsumexpResiduals(NamedTuple):
    """What the backward pass of `logsumexp` needs: the shifted exponentials and their sum."""

    e: Array
    total: Array


@op
def logsumexp(logits: Array) -> tuple[Array, LogsumexpResiduals]:
    """Logarithm of the sum of exponentials, along the last axis.

        y = m + log Σⱼ exp(zⱼ − m),   m = maxⱼ zⱼ

    Parameters
    ----------
    logits : (*n, k) floating

    Returns
    -------
    y : (*n,)
        −inf where all of a row is −inf, +inf where one of it is +inf.
    residuals : LogsumexpResiduals

    Raises
    ------
    InvalidInputError
        If there is no class axis, or no class.

    References
    ----------
    Blanchard, Higham & Higham (2021), "Accurately computing the log-sum-exp and softmax functions", eq. 1.4.
    """
    xp = namespace_of(logits)
    m, e = _largest_and_exponentials("logsumexp", logits)
    total = xp.sum(e, axis=-1, keepdims=True)
    return xp.squeeze(m + xp.log(total), axis=-1), LogsumexpResiduals(e, total)


@logsumexp.backward
def logsumexp_backward(dy: Array, residuals: LogsumexpResiduals) -> Array:
    """Gradient with respect to the logits: dy shared out as softmax says.

    dz = dy * e / Σⱼ eⱼ,   e = exp(z − m)
    """
    e, total = residuals
    return namespace_of(dy).expand_dims(dy, axis=-1) / total * e


def _largest_and_exponentials(name: str, z: Array) -> tuple[Array, Array]:
    """Of each row m = max z, and exp(z − m), which is 1 at the maximum.

    What is subtracted is kept finite, so that a row of −inf does not give −inf + inf; and no z is taken below
    max(0, m) − largest, where exp(z − m) is 0 anyway (unless m is the lowest float itself), so that the difference cannot
    overflow.
    """
    if z.ndim == 0 or z.shape[-1] == 0:
        raise InvalidInputError(f"{name}: logits of shape {tuple(z.shape)} have no classes; it takes (*n, k) with k >= 1")
    xp = namespace_of(z)
    largest = float(xp.finfo(z.dtype).max)
    m = xp.max(z, axis=-1, keepdims=True)
    finite_m = xp.minimum(xp.maximum(m, constant(-largest, z)), constant(largest, z))
    floor = xp.maximum(finite_m, constant(0.0, z)) - largest
    return m, xp.exp(xp.maximum(z, floor) - finite_m)


def _inputs(draw: Draw) -> tuple[np.ndarray]:
    return (draw.normal(7, 5, scale=2.0),)


def _no_class(draw: Draw) -> tuple[np.ndarray]:
    return (draw.normal(7, 0),)


softmax.case(
    kind="normalising",
    terms=5,
    inputs=_inputs,
    examples=(
        Example(
            inputs=([[0.0, log(2.0), log(5.0)], [1e4, 1e4, -1e4]],),
            result=[[0.125, 0.25, 0.625], [0.5, 0.5, 0.0]],
            source="by hand: (1, 2, 5)/8 and (1, 1, 0)/2",
        ),
    ),
    bad=(BadInput(inputs=_no_class, error=InvalidInputError, match="have no classes"),),
)
logsumexp.case(
    kind="normalising",
    terms=5,
    inputs=_inputs,
    examples=(
        Example(
            inputs=([[0.0, log(2.0), log(5.0)], [1e4, 1e4, -1e4]],),
            result=[log(8.0), 1e4 + log(2.0)],
            source="by hand: log(1 + 2 + 5) and 10⁴ + log(1 + 1 + 0)",
        ),
    ),
    bad=(BadInput(inputs=_no_class, error=InvalidInputError, match="have no classes"),),
)
