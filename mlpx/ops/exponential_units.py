"""Rectifiers with an exponential lower branch: elu, and selu, whose two constants make activations normalise themselves."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np

from mlpx.namespace import constant, namespace_of
from mlpx.ops.definition import Draw, Example, op
from mlpx.typing import Array

# Klambauer et al. (2017), section 2: the fixed point (mean 0, variance 1) of the map of moments, to double precision.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


class EluResiduals(NamedTuple):
    """What the backward pass of `elu` needs: z, and γ as a 0-d array."""

    z: Array
    alpha: Array


@op
def elu(z: Array, *, alpha: float = 1.0) -> tuple[Array, EluResiduals]:
    """Exponential linear unit.

        f(z) = max(0, z) + γ (exp(min(0, z)) − 1)

    which is z for z > 0 and γ (exp(z) − 1) for z <= 0; expm1 keeps small |z| exact.

    Parameters
    ----------
    z : (*n, d) floating
    alpha : float
        γ, dimensionless: f falls to −γ.

    Returns
    -------
    a : (*n, d)
    residuals : EluResiduals

    Notes
    -----
    At zero f'(0) = γ: a kink unless γ = 1.

    References
    ----------
    Lecture, table of activation functions and their derivatives: ELU.
    Clevert, Unterthiner & Hochreiter (2016), "Fast and Accurate Deep Network Learning by Exponential Linear Units".
    """
    xp = namespace_of(z)
    zero, gamma = constant(0.0, z), constant(alpha, z)
    return xp.maximum(z, zero) + gamma * xp.expm1(xp.minimum(z, zero)), EluResiduals(z, gamma)


@elu.backward
def elu_backward(da: Array, residuals: EluResiduals) -> Array:
    """Gradient with respect to z.

    dz = da * (I(z > 0) + I(z <= 0) γ exp(z))
    """
    z, alpha = residuals
    positive, lower_slope = _branches(z, alpha)
    return da * (positive + lower_slope)


class SeluResiduals(NamedTuple):
    """What the backward pass of `selu` needs."""

    z: Array


@op
def selu(z: Array) -> tuple[Array, SeluResiduals]:
    """Scaled exponential linear unit.

        f(z) = λ (max(0, z) + α (exp(min(0, z)) − 1)),   λ ≈ 1.0507, α ≈ 1.6733

    Parameters
    ----------
    z : (*n, d) floating
        Above the largest float divided by λ the result is infinite.

    Returns
    -------
    a : (*n, d)
    residuals : SeluResiduals

    Notes
    -----
    At the kink f'(0) = λα.

    References
    ----------
    Klambauer et al. (2017), "Self-Normalizing Neural Networks", eq. 2 and section 2.
    """
    xp = namespace_of(z)
    zero = constant(0.0, z)
    lower = (SELU_SCALE * SELU_ALPHA) * xp.expm1(xp.minimum(z, zero))
    return SELU_SCALE * xp.maximum(z, zero) + lower, SeluResiduals(z)


@selu.backward
def selu_backward(da: Array, residuals: SeluResiduals) -> Array:
    """Gradient with respect to z.

    dz = da * (λ I(z > 0) + I(z <= 0) λα exp(z))
    """
    positive, lower_slope = _branches(residuals.z, SELU_SCALE * SELU_ALPHA)
    return da * (SELU_SCALE * positive + lower_slope)


def _branches(z: Array, alpha: Array | float) -> tuple[Array, Array]:
    """I(z > 0), and I(z <= 0) γ exp(z) without overflow above zero."""
    xp = namespace_of(z)
    positive = xp.astype(z > 0, z.dtype)
    return positive, alpha * (xp.exp(xp.minimum(z, constant(0.0, z))) * (1 - positive))


def _inputs(draw: Draw) -> tuple[np.ndarray]:
    return (draw.away_from(7, 5),)


elu.case(
    kind="elementwise",
    inputs=_inputs,
    examples=(
        Example(
            inputs=([[-log(2.0), 0.0, 3.0]],),
            result=[[-0.5, 0.0, 3.0]],
            source="by hand: exp(−log 2) − 1 = −1/2",
        ),
    ),
)
elu.case(
    kind="elementwise",
    label="alpha",
    inputs=_inputs,
    attributes={"alpha": 0.4},
    examples=(
        Example(
            inputs=([[-log(2.0), 0.0, 3.0]],),
            result=[[-0.2, 0.0, 3.0]],
            source="by hand: 0.4 · (exp(−log 2) − 1) = −1/5",
            attributes={"alpha": 0.4},
        ),
    ),
)
selu.case(
    kind="elementwise",
    inputs=_inputs,
    examples=(
        Example(
            inputs=([[-log(2.0), 0.0, 1.0]],),
            result=[[-0.8790496704236884, 0.0, 1.0507009873554805]],
            source="Klambauer et al. (2017): λα = 1.7580993408473769, so f(−log 2) = −λα/2 and f(1) = λ",
        ),
    ),
)
