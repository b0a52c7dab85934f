"""Keeping gradients from growing out of hand."""

from __future__ import annotations

from mlpx.arguments import real_number
from mlpx.namespace import constant, namespace_of
from mlpx.typing import Array


def clip_by_global_norm(grads: Array, max_norm: float) -> tuple[Array, Array]:
    """Shorten the gradient of all parameters together, if it is longer than `max_norm`; its direction stays.

        g ← g · c / max(‖g‖₂, c)

    A gradient that is short enough is multiplied by exactly 1. The norm is taken as s ‖g / s‖₂ with s = max|g|, so it is right
    wherever it can be represented: squares neither overflow nor vanish. A gradient that is not finite gives norm and
    gradients that are not finite: divergence stays visible.

    Parameters
    ----------
    grads : (P,) floating, P ≥ 1
    max_norm : float
        c > 0, in units of the gradient.

    Returns
    -------
    grads : (P,)
    norm : ()
        ‖g‖₂ before clipping, of grads' dtype.

    Raises
    ------
    ConfigError
        If `max_norm` is not > 0 and finite.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent neural networks", algorithm 1.
    """
    xp = namespace_of(grads)
    limit = constant(real_number("max_norm", max_norm, 0, open_low=True), grads)
    largest = xp.max(xp.abs(grads))
    largest = xp.maximum(largest, constant(float(xp.finfo(grads.dtype).smallest_normal), grads))
    unit = grads / largest
    norm = largest * xp.sqrt(xp.sum(unit * unit))
    return grads * (limit / xp.maximum(norm, limit)), norm


def clip_by_value(grads: Array, limit: float) -> Array:
    """Every component of the gradient brought into [−limit, limit]; its direction may change.

    Parameters
    ----------
    grads : (P,) floating
    limit : float
        > 0, in units of the gradient.

    Returns
    -------
    grads : (P,)

    Raises
    ------
    ConfigError
        If `limit` is not > 0 and finite.
    """
    xp = namespace_of(grads)
    bound = constant(real_number("limit", limit, 0, open_low=True), grads)
    return xp.minimum(xp.maximum(grads, -bound), bound)
