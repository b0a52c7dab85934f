"""An exponential moving average of the parameters, which often predicts better than the last of them."""

from __future__ import annotations

import math

from mlpx.namespace import namespace_of
from mlpx.ops.definition import update_rule
from mlpx.typing import Array


@update_rule("ema")
def ema_update(average: Array, params: Array, *, decay: float) -> Array:
    """The average after one more step.

        a ← ρ a + (1 − ρ) p

    Parameters
    ----------
    average : (P,) floating
        Zeros before the first step; then what this function returned.
    params : (P,) of average's dtype and device
    decay : float
        ρ in [0, 1): about the last 1 / (1 − ρ) steps count.

    Returns
    -------
    average : (P,)
        Too small by the factor 1 − ρᵗ after t steps, because it began at zero; `ema_read` corrects that.
    """
    namespace_of(average, params)
    return decay * average + (1 - decay) * params


def ema_read(average: Array, count: Array, *, decay: float) -> Array:
    """The average as a weighted mean of the parameters seen: the weights sum to one.

        p̄ = a / (1 − ρᵗ)

    Parameters
    ----------
    average : (P,) floating
        From `ema_update`, begun at zeros.
    count : () int32
        t ≥ 1, the number of updates made.
    decay : float
        ρ, as in the updates.

    Returns
    -------
    params : (P,)

    References
    ----------
    Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", sections 3 and 7.2.
    """
    return average / _weight(count, decay, average)


def ema_written(params: Array, count: Array, *, decay: float) -> Array:
    """The average that `ema_read` reads as these parameters: for an average that is to go on from them.

        a = (1 − ρᵗ) p

    Parameters
    ----------
    params : (P,) floating
    count : () int32
        t, the number of updates made.
    decay : float
        ρ, as in the updates.

    Returns
    -------
    average : (P,)
    """
    return params * _weight(count, decay, params)


def _weight(count: Array, decay: float, like: Array) -> Array:
    """1 − ρᵗ: how much of the average is parameters, and not the zeros it began at."""
    xp = namespace_of(like, count)
    log_decay = math.log(decay) if decay > 0 else -math.inf
    return -xp.expm1(xp.astype(count, like.dtype) * log_decay)
