"""Dropout: activations thinned by a mask that the caller draws."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpx.errors import ConfigError, InvalidInputError, InvalidTypeError
from mlpx.namespace import namespace_of
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.typing import Array


class Residuals(NamedTuple):
    """What the backward pass of `dropout` needs: gate = keep / (1 − rate)."""

    gate: Array


@op
def dropout(x: Array, keep: Array, *, rate: float) -> tuple[Array, Residuals]:
    """Drop activations, and scale the rest up so that the expectation stays (inverted dropout).

        y = x * gate,   gate = keep / (1 − rate)

    Parameters
    ----------
    x : (*n, d) floating
    keep : (*n, d) bool, on x's device
        The mask: true with probability 1 − rate. It is drawn by the caller and is not differentiated.
    rate : float
        Probability of being dropped, in [0, 1).

    Returns
    -------
    y : (*n, d)
    residuals : Residuals

    Raises
    ------
    ConfigError
        If `rate` is not in [0, 1).
    InvalidInputError
        If `keep` and x differ in shape.
    InvalidTypeError
        If `keep` is not bool.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", section 10.
    """
    xp = namespace_of(x, keep)
    if not 0 <= rate < 1:
        raise ConfigError(f"dropout: rate={rate} is not in [0, 1); it is the probability of being dropped")
    if keep.shape != x.shape:
        raise InvalidInputError(f"dropout: keep has shape {tuple(keep.shape)}, x has {tuple(x.shape)}; draw one bit for each")
    if keep.dtype != xp.bool:
        raise InvalidTypeError(f"dropout: keep has dtype {keep.dtype}; it takes a bool mask")
    gate = xp.astype(keep, x.dtype) / (1 - rate)
    return x * gate, Residuals(gate)


@dropout.backward
def dropout_backward(dy: Array, residuals: Residuals) -> Array:
    """Gradient with respect to x; the mask has none.

    dx = dy * gate
    """
    return dy * residuals.gate


def _inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    return draw.normal(7, 5), draw.uniform(7, 5) >= 0.25


_RATE = {"rate": 0.25}

dropout.case(
    kind="elementwise",
    inputs=_inputs,
    attributes=_RATE,
    smooth=True,
    examples=(
        Example(
            inputs=([[1.0, 2.0, 3.0, 4.0]], [[True, False, False, True]]),
            result=[[2.0, 0.0, 0.0, 8.0]],
            source="by hand: 1/(1 − 1/2) = 2",
            attributes={"rate": 0.5},
        ),
    ),
    bad=(
        BadInput(inputs=_inputs, error=ConfigError, match=r"rate=1\.0 is not in", attributes={"rate": 1.0}),
        BadInput(
            inputs=lambda draw: (draw.normal(7, 5), draw.uniform(7, 4) >= 0.25),
            error=InvalidInputError,
            match=r"keep has shape \(7, 4\)",
            attributes=_RATE,
        ),
        BadInput(
            inputs=lambda draw: (draw.normal(7, 5), draw.uniform(7, 5)),
            error=InvalidTypeError,
            match="takes a bool mask",
            attributes=_RATE,
        ),
    ),
)
