"""The net input of a layer of neurons: an affine map of the rows of a batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.namespace import namespace_of
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.typing import Array


class Residuals(NamedTuple):
    """What the backward pass of `affine` needs."""

    a: Array
    weight: Array


@op
def affine(a: Array, weight: Array, bias: Array) -> tuple[Array, Residuals]:
    """Net input of a layer.

        Z = A Wᵀ + b

    Parameters
    ----------
    a : (n, d) floating
        Activations of the layer before, one row a sample.
    weight : (k, d) of a's dtype and device
    bias : (k,) of a's dtype and device

    Returns
    -------
    z : (n, k)
    residuals : Residuals

    Raises
    ------
    InvalidInputError
        If the widths of `a` and `weight` differ.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Lecture, feedforward networks: z⁽ˡ⁾ = W⁽ˡ⁾ a⁽ˡ⁻¹⁾ + b⁽ˡ⁾.
    """
    namespace_of(a, weight, bias)
    if a.shape[-1] != weight.shape[1]:
        raise InvalidInputError(f"affine: a has {a.shape[-1]} columns, weight of shape {weight.shape} takes {weight.shape[1]}")
    return a @ weight.T + bias, Residuals(a, weight)


@affine.backward
def affine_backward(delta: Array, residuals: Residuals) -> tuple[Array, Array, Array]:
    """Gradients with respect to a, weight and bias, from δ = ∂E/∂Z.

    da      = δ W              (BP-2, before ⊙ f')
    dweight = δᵀ A             (BP-3)
    dbias   = Σ_rows δ         (BP-4)
    """
    return (delta @ residuals.weight, *affine_parameter_gradients(delta, residuals))


def affine_parameter_gradients(delta: Array, residuals: Residuals) -> tuple[Array, Array]:
    """Gradients with respect to weight and bias alone (BP-3, BP-4): all that a network's first layer needs."""
    xp = namespace_of(delta)
    return delta.T @ residuals.a, xp.sum(delta, axis=0)


def _inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return draw.normal(7, 5), draw.normal(3, 5), draw.normal(3)


affine.case(
    kind="product",
    inputs=_inputs,
    terms=7,
    smooth=True,
    examples=(
        Example(
            inputs=([[0.05, 0.10]], [[0.15, 0.20], [0.25, 0.30]], [0.35, 0.35]),
            result=[[0.3775, 0.3925]],
            source="Mazur, A Step by Step Backpropagation Example: net_h1, net_h2",
        ),
    ),
    bad=(
        BadInput(
            inputs=lambda draw: (draw.normal(7, 4), draw.normal(3, 5), draw.normal(3)),
            error=InvalidInputError,
            match="4 columns",
        ),
    ),
)
