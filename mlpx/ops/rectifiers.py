"""Piecewise linear activations: relu, leaky_relu with a given slope, prelu with a learned slope for each unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.namespace import constant, namespace_of
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.typing import Array


class ReluResiduals(NamedTuple):
    """What the backward pass of `relu` needs: a = max(0, z), positive where z is."""

    a: Array


@op
def relu(z: Array) -> tuple[Array, ReluResiduals]:
    """Rectified linear unit.

        f(z) = max(0, z)

    Parameters
    ----------
    z : (*n, d) floating

    Returns
    -------
    a : (*n, d)
    residuals : ReluResiduals

    Notes
    -----
    At the kink f'(0) = 0, one of the subgradients in [0, 1].

    References
    ----------
    Lecture, table of activation functions and their derivatives: ReLU.
    Nair & Hinton (2010), "Rectified Linear Units Improve Restricted Boltzmann Machines".
    """
    a = namespace_of(z).maximum(z, constant(0.0, z))
    return a, ReluResiduals(a)


@relu.backward
def relu_backward(da: Array, residuals: ReluResiduals) -> Array:
    """Gradient with respect to z.

    dz = da * I(z > 0)
    """
    return da * namespace_of(da).astype(residuals.a > 0, da.dtype)


class LeakyReluResiduals(NamedTuple):
    """What the backward pass of `leaky_relu` needs: z, and γ as a 0-d array."""

    z: Array
    slope: Array


@op
def leaky_relu(z: Array, *, slope: float = 0.01) -> tuple[Array, LeakyReluResiduals]:
    """Rectified linear unit with a small slope γ for negative net input.

        f(z) = max(0, z) + γ min(0, z)

    which is max(z, γz) for γ <= 1, else min(z, γz).

    Parameters
    ----------
    z : (*n, d) floating
    slope : float
        γ, dimensionless.

    Returns
    -------
    a : (*n, d)
    residuals : LeakyReluResiduals

    Notes
    -----
    At the kink f'(0) = γ.

    References
    ----------
    Lecture, common activation functions: LeakyReLU.
    Maas, Hannun & Ng (2013), "Rectifier Nonlinearities Improve Neural Network Acoustic Models".
    """
    xp = namespace_of(z)
    outer = xp.maximum if slope <= 1 else xp.minimum
    gamma = constant(slope, z)
    return outer(z, gamma * z), LeakyReluResiduals(z, gamma)


@leaky_relu.backward
def leaky_relu_backward(da: Array, residuals: LeakyReluResiduals) -> Array:
    """Gradient with respect to z.

    dz = da * (I(z > 0) + γ I(z <= 0))
    """
    z, slope = residuals
    return da * _two_slopes(z, slope)


class PreluResiduals(NamedTuple):
    """What the backward pass of `prelu` needs."""

    z: Array
    slope: Array


@op
def prelu(z: Array, slope: Array) -> tuple[Array, PreluResiduals]:
    """Rectified linear unit with a learned slope γᵢ for negative net input of unit i.

        f(zᵢ) = max(0, zᵢ) + γᵢ min(0, zᵢ)

    Parameters
    ----------
    z : (*n, d) floating
    slope : (d,) of z's dtype and device
        γ, one for each unit, dimensionless.

    Returns
    -------
    a : (*n, d)
    residuals : PreluResiduals

    Raises
    ------
    InvalidInputError
        If `slope` is not one number for each unit.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    Notes
    -----
    At the kink f'(0) = γᵢ.

    References
    ----------
    Lecture, common activation functions: PReLU.
    He et al. (2015), "Delving Deep into Rectifiers", eqs 1 and 4.
    """
    xp = namespace_of(z, slope)
    if slope.shape != z.shape[-1:]:
        raise InvalidInputError(
            f"prelu: slope has shape {tuple(slope.shape)}, z of shape {tuple(z.shape)} takes {tuple(z.shape[-1:])}: "
            "one slope a unit"
        )
    zero = constant(0.0, z)
    return xp.maximum(z, zero) + slope * xp.minimum(z, zero), PreluResiduals(z, slope)


@prelu.backward
def prelu_backward(da: Array, residuals: PreluResiduals) -> tuple[Array, Array]:
    """Gradients with respect to z and slope.

    dz     = da * (I(z > 0) + γ I(z <= 0))
    dslope = sum over rows of da * min(0, z)
    """
    z, slope = residuals
    xp = namespace_of(da)
    negative_part = xp.minimum(z, constant(0.0, z))
    return da * _two_slopes(z, slope), xp.sum(da * negative_part, axis=tuple(range(da.ndim - 1)))


def _two_slopes(z: Array, slope: Array) -> Array:
    """I(z > 0) + γ I(z <= 0), exactly 1 or γ."""
    positive = namespace_of(z).astype(z > 0, z.dtype)
    return positive + slope * (1 - positive)


def _inputs(draw: Draw) -> tuple[np.ndarray]:
    return (draw.away_from(7, 5),)


def _sloped_inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    return draw.away_from(7, 5), draw.normal(5, scale=0.5)


relu.case(
    kind="exact",
    inputs=_inputs,
    examples=(Example(inputs=([[-2.0, 0.0, 3.0]],), result=[[0.0, 0.0, 3.0]], source="by hand"),),
)
leaky_relu.case(
    kind="elementwise",
    inputs=_inputs,
    examples=(Example(inputs=([[-2.0, 0.0, 3.0]],), result=[[-0.02, 0.0, 3.0]], source="by hand: 0.01 · (−2)"),),
)
leaky_relu.case(
    kind="elementwise",
    label="steep",
    inputs=_inputs,
    attributes={"slope": 1.5},
    examples=(
        Example(
            inputs=([[-2.0, 0.0, 3.0]],), result=[[-3.0, 0.0, 3.0]], source="by hand: 1.5 · (−2)", attributes={"slope": 1.5}
        ),
    ),
)
prelu.case(
    kind="product",
    terms=7,
    inputs=_sloped_inputs,
    examples=(
        Example(
            inputs=([[-2.0, -2.0, 3.0], [4.0, -4.0, 0.0]], [0.25, -1.0, 0.5]),
            result=[[-0.5, 2.0, 3.0], [4.0, 4.0, 0.0]],
            source="by hand: 0.25 · (−2), −1 · (−2), −1 · (−4)",
        ),
    ),
    bad=(
        BadInput(
            inputs=lambda draw: (draw.normal(7, 5), draw.normal(4)),
            error=InvalidInputError,
            match=r"slope has shape \(4,\)",
        ),
    ),
)
