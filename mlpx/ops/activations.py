"""All activation functions by their public names, and the two that need no arithmetic: identity and step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpx.namespace import constant, namespace_of
from mlpx.ops.definition import Draw, Example, Op, op
from mlpx.ops.exponential_units import elu, selu
from mlpx.ops.gated import gelu, swish
from mlpx.ops.rectifiers import leaky_relu, prelu, relu
from mlpx.ops.sigmoids import logistic, softplus, tanh
from mlpx.typing import Array


class NoResiduals(NamedTuple):
    """The backward pass needs nothing: the derivative is a constant."""


@op
def identity(z: Array) -> tuple[Array, NoResiduals]:
    """Linear unit.

        f(z) = z

    Parameters
    ----------
    z : (*n, d) floating

    Returns
    -------
    a : (*n, d)
        z itself, not a copy.
    residuals : NoResiduals

    References
    ----------
    Lecture, universal approximation: the linear output layer.
    """
    return z, NoResiduals()


@identity.backward
def identity_backward(da: Array, residuals: NoResiduals) -> Array:
    """Gradient with respect to z.

    dz = da
    """
    del residuals
    return da


@op
def step(z: Array) -> tuple[Array, NoResiduals]:
    """Threshold unit of McCulloch and Pitts.

        f(z) = I(z >= 0)

    Parameters
    ----------
    z : (*n, d) floating

    Returns
    -------
    a : (*n, d)
        0 or 1; NaN where z is, so that a network that has diverged does not look healthy.
    residuals : NoResiduals

    Notes
    -----
    Its derivative is 0 wherever it has one, and by convention 0 at the jump: nothing behind it learns.

    References
    ----------
    McCulloch & Pitts (1943), "A Logical Calculus of the Ideas Immanent in Nervous Activity".
    """
    xp = namespace_of(z)
    fires = xp.astype(z >= 0, z.dtype)
    # min(0, z) is never above I(z >= 0), so the maximum is the indicator; a NaN comes through both.
    return xp.maximum(fires, xp.minimum(z, constant(0.0, z))), NoResiduals()


@step.backward
def step_backward(da: Array, residuals: NoResiduals) -> Array:
    """Gradient with respect to z.

    dz = 0
    """
    del residuals
    return namespace_of(da).zeros_like(da)


identity.case(
    kind="exact",
    inputs=lambda draw: (draw.normal(7, 5),),
    smooth=True,
    examples=(Example(inputs=([[-2.0, 0.0, 3.0]],), result=[[-2.0, 0.0, 3.0]], source="by hand"),),
)


def _step_inputs(draw: Draw) -> tuple[np.ndarray]:
    return (draw.away_from(7, 5),)


step.case(
    kind="exact",
    inputs=_step_inputs,
    examples=(
        Example(
            inputs=([[0.0 + 0.0 - 1.5, 0.0 + 1.0 - 1.5, 1.0 + 0.0 - 1.5, 1.0 + 1.0 - 1.5]],),
            result=[[0.0, 0.0, 0.0, 1.0]],
            source="McCulloch & Pitts (1943): x₁ + x₂ − 3/2 makes the unit a logical AND of its two inputs",
        ),
        Example(inputs=([[-1.0, 0.0, 2.0]],), result=[[0.0, 1.0, 1.0]], source="by hand: fires at its threshold"),
    ),
)


ACTIVATIONS: dict[str, Op] = {
    "identity": identity,
    "step": step,
    "logistic": logistic,
    "sigmoid": logistic,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "elu": elu,
    "softplus": softplus,
    "swish": swish,
    "silu": swish,  # swish with its default, β = 1
    "gelu": gelu,
    "selu": selu,
}
