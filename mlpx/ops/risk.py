"""Structural risk: what large weights add to the loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpx.errors import ConfigError
from mlpx.namespace import namespace_of
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.typing import Array


class Residuals(NamedTuple):
    """What the backward pass of `l2` needs: λW."""

    slope: Array


@op
def l2(weight: Array, *, strength: float) -> tuple[Array, Residuals]:
    """Structural risk of a weight matrix.

        R(W) = ½ λ ‖W‖²_F

    Parameters
    ----------
    weight : any shape, floating
    strength : float
        λ, not negative; in units of the loss over weight squared.

    Returns
    -------
    risk : 0-d, of weight's dtype
    residuals : Residuals

    Raises
    ------
    ConfigError
        If `strength` is negative.

    References
    ----------
    Lecture, structural risk: R(W, b) = (1/N) Σₙ L(y⁽ⁿ⁾, ŷ⁽ⁿ⁾) + ½ λ ‖W‖²_F.
    """
    xp = namespace_of(weight)
    if not strength >= 0:
        raise ConfigError(f"l2: strength={strength} is negative; λ >= 0, and 0 switches the term off")
    slope = strength * weight
    return 0.5 * xp.sum(weight * slope), Residuals(slope)


@l2.backward
def l2_backward(drisk: Array, residuals: Residuals) -> Array:
    """Gradient with respect to the weights.

    dweight = drisk * λ W
    """
    return drisk * residuals.slope


def _inputs(draw: Draw) -> tuple[np.ndarray]:
    return (draw.normal(7, 5),)


l2.case(
    kind="product",
    terms=35,
    inputs=_inputs,
    attributes={"strength": 0.1},
    smooth=True,
    examples=(
        Example(
            inputs=([[3.0, 0.0], [0.0, -4.0]],),
            result=1.25,
            source="by hand: ½ · 0.1 · (9 + 16)",
            attributes={"strength": 0.1},
        ),
    ),
    bad=(BadInput(inputs=_inputs, error=ConfigError, match=r"strength=-0\.1", attributes={"strength": -0.1}),),
)
