"""Activations of sigmoid shape, and softplus, whose derivative is one: each from exp(−|z|), which never overflows."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np

from mlpx.namespace import constant, namespace_of
from mlpx.ops.definition import Draw, Example, op
from mlpx.typing import Array


def decay(z: Array) -> Array:
    """exp(−|z|), in (0, 1]: the one exponential that σ(z), 1 − σ(z) and their product are made of."""
    xp = namespace_of(z)
    return xp.exp(-xp.abs(z))


def sigma(z: Array, e: Array) -> Array:
    """σ(z), given e = exp(−|z|): 1/(1 + e) for z >= 0 and e/(1 + e) for z < 0, each to full relative accuracy."""
    xp = namespace_of(z)
    return xp.maximum(e, xp.astype(z >= 0, z.dtype)) / (1 + e)


def sigma_derivative(e: Array) -> Array:
    """σ(z)(1 − σ(z)), given e = exp(−|z|): the factors are 1/(1 + e) and e/(1 + e), in one order or the other."""
    one_plus_e = 1 + e
    return e / (one_plus_e * one_plus_e)


class LogisticResiduals(NamedTuple):
    """What the backward pass of `logistic` needs: e = exp(−|z|)."""

    e: Array


@op
def logistic(z: Array) -> tuple[Array, LogisticResiduals]:
    """Logistic function, also called sigmoid.

        f(z) = 1 / (1 + exp(−z))

    computed as max(e, I(z >= 0)) / (1 + e) with e = exp(−|z|), which neither overflows nor loses the lower tail.

    Parameters
    ----------
    z : (*n, d) floating

    Returns
    -------
    a : (*n, d)
        In [0, 1].
    residuals : LogisticResiduals

    References
    ----------
    Lecture, table of activation functions and their derivatives: Logistic.
    """
    e = decay(z)
    return sigma(z, e), LogisticResiduals(e)


@logistic.backward
def logistic_backward(da: Array, residuals: LogisticResiduals) -> Array:
    """Gradient with respect to z.

    dz = da * f(z)(1 − f(z)) = da * e / (1 + e)²,   e = exp(−|z|)
    """
    return da * sigma_derivative(residuals.e)


class TanhResiduals(NamedTuple):
    """What the backward pass of `tanh` needs: a = tanh(z)."""

    a: Array


@op
def tanh(z: Array) -> tuple[Array, TanhResiduals]:
    """Hyperbolic tangent.

        f(z) = (exp(z) − exp(−z)) / (exp(z) + exp(−z))

    Parameters
    ----------
    z : (*n, d) floating

    Returns
    -------
    a : (*n, d)
        In [−1, 1].
    residuals : TanhResiduals

    References
    ----------
    Lecture, table of activation functions and their derivatives: Tanh.
    """
    a = namespace_of(z).tanh(z)
    return a, TanhResiduals(a)


@tanh.backward
def tanh_backward(da: Array, residuals: TanhResiduals) -> Array:
    """Gradient with respect to z; its error is a few eps of 1, not of the vanishing derivative in the tails.

    dz = da * (1 − f(z)²)
    """
    return da * (1 - residuals.a * residuals.a)


class SoftplusResiduals(NamedTuple):
    """What the backward pass of `softplus` needs: z and e = exp(−|z|)."""

    z: Array
    e: Array


@op
def softplus(z: Array) -> tuple[Array, SoftplusResiduals]:
    """Softplus, a smooth rectifier.

        f(z) = log(1 + exp(z))

    computed as max(0, z) + log1p(exp(−|z|)).

    Parameters
    ----------
    z : (*n, d) floating

    Returns
    -------
    a : (*n, d)
        Not negative.
    residuals : SoftplusResiduals

    References
    ----------
    Lecture, table of activation functions and their derivatives: SoftPlus.
    Dugas et al. (2000), "Incorporating Second-Order Functional Knowledge for Better Option Pricing".
    """
    xp = namespace_of(z)
    e = decay(z)
    return xp.maximum(z, constant(0.0, z)) + xp.log1p(e), SoftplusResiduals(z, e)


@softplus.backward
def softplus_backward(da: Array, residuals: SoftplusResiduals) -> Array:
    """Gradient with respect to z: the derivative of softplus is the logistic function.

    dz = da / (1 + exp(−z))
    """
    return da * sigma(residuals.z, residuals.e)


def _inputs(draw: Draw) -> tuple[np.ndarray]:
    return (draw.normal(7, 5, scale=3.0),)


logistic.case(
    kind="elementwise",
    inputs=_inputs,
    examples=(
        Example(
            inputs=([[0.0, log(3.0), -log(3.0)]],),
            result=[[0.5, 0.75, 0.25]],
            source="by hand: 1/(1 + 1/3) = 3/4 and 1/(1 + 3) = 1/4",
        ),
        Example(
            inputs=([[0.3775, 0.3925]],),
            result=[[0.5932699921071872, 0.596884378259767]],
            source="Mazur, A Step by Step Backpropagation Example: out_h1 = 0.593269992, out_h2 = 0.596884378",
        ),
    ),
)
tanh.case(
    kind="elementwise",
    inputs=_inputs,
    smooth=True,
    examples=(
        Example(
            inputs=([[0.0, log(2.0), -log(3.0)]],),
            result=[[0.0, 0.6, -0.8]],
            source="by hand: (2 − 1/2)/(2 + 1/2) = 3/5 and (1/3 − 3)/(1/3 + 3) = −4/5",
        ),
    ),
)
softplus.case(
    kind="elementwise",
    inputs=_inputs,
    examples=(
        Example(
            inputs=([[0.0, log(3.0), -log(3.0)]],),
            result=[[log(2.0), log(4.0), log(4.0 / 3.0)]],
            source="by hand: log(1 + 1), log(1 + 3), log(1 + 1/3)",
        ),
    ),
)
