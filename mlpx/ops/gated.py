"""Activations that are net input times a soft gate, z σ(u): swish with u = βz, gelu with a cubic u."""

from __future__ import annotations

from math import log, pi, sqrt
from typing import NamedTuple

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.namespace import constant, namespace_of
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.ops.sigmoids import decay, sigma, sigma_derivative
from mlpx.typing import Array


class SwishResiduals(NamedTuple):
    """What the backward pass of `swish` needs: u = βz, s = σ(u), e = exp(−|u|); and z where β is learned, else None."""

    u: Array
    s: Array
    e: Array
    z: Array | None


@op
def swish(z: Array, beta: Array | float = 1.0) -> tuple[Array, SwishResiduals]:
    """Net input gated by its own logistic function.

        f(z) = z σ(βz)

    With β = 1 it is also called SiLU.

    Parameters
    ----------
    z : (*n, d) floating
        βz must be representable: with |β| > 1 the largest floats are out of range.
    beta : float, or (d,) of z's dtype and device
        β, dimensionless: given, or learned for each unit.

    Returns
    -------
    a : (*n, d)
        NaN where z is infinite and the gate is shut.
    residuals : SwishResiduals

    Raises
    ------
    InvalidInputError
        If `beta` is an array that is not one number for each unit.
    DeviceMismatchError
        If z and an array `beta` come from different libraries or devices.

    References
    ----------
    Lecture, common activation functions: Swish.
    Ramachandran, Zoph & Le (2017), "Searching for Activation Functions", section 4.
    """
    given = isinstance(beta, float | int)
    if not given:
        _expect_per_unit(z, beta)
    u = (float(beta) if given else beta) * z
    e = decay(u)
    s = sigma(u, e)
    return z * s, SwishResiduals(u, s, e, None if given else z)


@swish.backward
def swish_backward(da: Array, residuals: SwishResiduals) -> Array | tuple[Array, Array]:
    """Gradient with respect to z alone if β was a float; with respect to z and beta if it was an array.

    dz    = da * (σ(u) + u σ(u)(1 − σ(u))),   u = βz
    dbeta = sum over rows of da * z² σ(u)(1 − σ(u))
    """
    u, s, e, z = residuals
    xp = namespace_of(da)
    ds = sigma_derivative(e)
    dz = da * (s + u * ds)
    if z is None:
        return dz
    return dz, xp.sum(da * (z * (z * ds)), axis=tuple(range(da.ndim - 1)))


# u = z (GELU_LINEAR + GELU_CUBIC z²): twice the argument of tanh, as (1 + tanh v)/2 = σ(2v).
GELU_LINEAR = 2 * sqrt(2 / pi)
GELU_CUBIC = 0.044715 * GELU_LINEAR
# Beyond, |u| > 1974 and σ(u) is 0 or 1 in every dtype: clipping there changes no value and z³ cannot overflow.
GELU_SATURATED = 30.0


class GeluResiduals(NamedTuple):
    """What the backward pass of `gelu` needs: c = z clipped where the gate is saturated, s = σ(u), e = exp(−|u|)."""

    c: Array
    s: Array
    e: Array


@op
def gelu(z: Array) -> tuple[Array, GeluResiduals]:
    """Gaussian error linear unit, tanh form.

        f(z) = z/2 (1 + tanh(√(2/π) (z + 0.044715 z³))) = z σ(u),   u = 2 √(2/π) (z + 0.044715 z³)

    The second form is computed: it keeps the lower tail, which 1 + tanh cancels.

    Parameters
    ----------
    z : (*n, d) floating

    Returns
    -------
    a : (*n, d)
    residuals : GeluResiduals

    Notes
    -----
    It differs from the erf form z Φ(z) by at most 4.74e-4 (at |z| = 2.70).

    References
    ----------
    Hendrycks & Gimpel (2016), "Gaussian Error Linear Units (GELUs)", section 2.
    """
    xp = namespace_of(z)
    above = xp.maximum(z, constant(-GELU_SATURATED, z))
    c = xp.minimum(above, constant(GELU_SATURATED, z))
    u = c * (GELU_LINEAR + GELU_CUBIC * (c * c))
    e = decay(u)
    s = sigma(u, e)
    return above * s, GeluResiduals(c, s, e)


@gelu.backward
def gelu_backward(da: Array, residuals: GeluResiduals) -> Array:
    """Gradient with respect to z.

    du = 2 √(2/π) (1 + 3 · 0.044715 z²)
    dz = da * (σ(u) + z du σ(u)(1 − σ(u)))
    """
    c, s, e = residuals
    du = GELU_LINEAR + (3 * GELU_CUBIC) * (c * c)
    return da * (s + c * du * sigma_derivative(e))


def _expect_per_unit(z: Array, beta: Array) -> None:
    """Raise unless beta is one number for each unit, where z is."""
    namespace_of(z, beta)
    if beta.shape != z.shape[-1:]:
        raise InvalidInputError(
            f"swish: beta has shape {tuple(beta.shape)}, z of shape {tuple(z.shape)} takes {tuple(z.shape[-1:])}: "
            "one number a unit; or pass a float"
        )


def _inputs(draw: Draw) -> tuple[np.ndarray]:
    return (draw.normal(7, 5, scale=2.0),)


swish.case(
    kind="elementwise",
    inputs=_inputs,
    examples=(
        Example(
            inputs=([[0.0, log(3.0), -log(3.0)]],),
            result=[[0.0, 0.75 * log(3.0), -0.25 * log(3.0)]],
            source="by hand: σ(log 3) = 3/4, σ(−log 3) = 1/4",
        ),
    ),
)
swish.case(
    kind="elementwise",
    label="beta",
    inputs=_inputs,
    attributes={"beta": 1.7},
    examples=(
        Example(
            inputs=([[0.0, log(3.0), -log(3.0)]],),
            result=[[0.0, 0.9 * log(3.0), -0.1 * log(3.0)]],
            source="by hand: σ(2 log 3) = 9/10, σ(−2 log 3) = 1/10",
            attributes={"beta": 2.0},
        ),
    ),
)
swish.case(
    kind="product",
    terms=7,
    label="learned",
    inputs=lambda draw: (draw.normal(7, 5, scale=2.0), draw.normal(5)),
    examples=(
        Example(
            inputs=([[log(3.0), log(3.0), log(3.0)]], [2.0, 0.0, -1.0]),
            result=[[0.9 * log(3.0), 0.5 * log(3.0), 0.25 * log(3.0)]],
            source="by hand: σ(2 log 3) = 9/10, σ(0) = 1/2, σ(−log 3) = 1/4",
        ),
    ),
    bad=(
        BadInput(
            inputs=lambda draw: (draw.normal(7, 5), draw.normal(4)),
            error=InvalidInputError,
            match=r"beta has shape \(4,\)",
        ),
    ),
)
gelu.case(
    kind="elementwise",
    inputs=_inputs,
    examples=(
        Example(
            inputs=([[0.0, 1.0, -1.0, 2.0]],),
            result=[[0.0, 0.8411919906082767, -0.15880800939172330, 1.9545976940877750]],
            source="the equation of Hendrycks & Gimpel (2016) to 30 digits; f(1) + f(−1)·(−1) = 1",
        ),
    ),
)
