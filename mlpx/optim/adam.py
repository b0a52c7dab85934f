"""Adam, and AdamW with its decoupled weight decay."""

from __future__ import annotations

import math
from typing import NamedTuple

from mlpx.arguments import real_number
from mlpx.errors import checked_keywords
from mlpx.namespace import namespace_of, placed_as
from mlpx.ops.definition import update_rule
from mlpx.optim.base import Optimizer, zeros
from mlpx.optim.schedules import Rate
from mlpx.typing import Array


class AdamState(NamedTuple):
    """Running means of g and g², and the number of updates made: m and v of shape (P,), t an int32 of shape ()."""

    m: Array
    v: Array
    t: Array


class Updated(NamedTuple):
    """What an update of Adam gives."""

    params: Array
    m: Array
    v: Array
    t: Array


@update_rule("adam")
def adam_update(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    t: Array,
    learning_rate: Array,
    *,
    beta1: float,
    beta2: float,
    eps: float,
) -> Updated:
    """One step of Adam.

        t ← t + 1
        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        p ← p − η m̂ / (√v̂ + ε),   m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)

    Parameters
    ----------
    params, grads, m, v : (P,) floating
    t : () int32
        Updates made before this one.
    learning_rate : ()
        η, of params' dtype.
    beta1, beta2 : float
        In [0, 1).
    eps : float
        Added to √v̂: in units of the gradient.

    Returns
    -------
    params, m, v, t : as given, after the update

    References
    ----------
    Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", algorithm 1.
    """
    xp = namespace_of(params, grads, m, v, t, learning_rate)
    m, v, t = _moments(grads, m, v, t, beta1, beta2)
    rate = learning_rate / _correction(t, beta1, params)
    return Updated(params - rate * m / (xp.sqrt(v / _correction(t, beta2, params)) + eps), m, v, t)


@update_rule("adamw")
def adamw_update(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    t: Array,
    learning_rate: Array,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Updated:
    """One step of AdamW: Adam's, and a decay of the parameters that does not pass through the moments.

        p ← p − η (m̂ / (√v̂ + ε) + λ p)

    Parameters
    ----------
    params, grads, m, v : (P,) floating
    t : () int32
        Updates made before this one.
    learning_rate : ()
        η, of params' dtype.
    beta1, beta2, eps : float
        As in `adam`.
    weight_decay : float
        λ ≥ 0.

    Returns
    -------
    params, m, v, t : as given, after the update

    References
    ----------
    Loshchilov & Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2 with the schedule multiplier inside η.
    """
    xp = namespace_of(params, grads, m, v, t, learning_rate)
    m, v, t = _moments(grads, m, v, t, beta1, beta2)
    rate = learning_rate / _correction(t, beta1, params)
    step = rate * m / (xp.sqrt(v / _correction(t, beta2, params)) + eps)
    return Updated(params - (step + learning_rate * weight_decay * params), m, v, t)


def _moments(grads: Array, m: Array, v: Array, t: Array, beta1: float, beta2: float) -> tuple[Array, Array, Array]:
    return beta1 * m + (1 - beta1) * grads, beta2 * v + (1 - beta2) * (grads * grads), t + 1


def _correction(t: Array, beta: float, like: Array) -> Array:
    """1 − βᵗ; in float32 through expm1, because the difference itself is wrong by 1e-5 for β = 0.999."""
    xp = namespace_of(like)
    log_beta = math.log(beta) if beta > 0 else -math.inf
    return -xp.expm1(xp.astype(t, like.dtype) * log_beta)


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

        p ← p − η m̂ / (√v̂ + ε)

    Parameters
    ----------
    learning_rate : float or Schedule or callable
        η > 0.
    beta1, beta2 : float
        Decay of the two means, in [0, 1).
    eps : float
        ε > 0, added to √v̂.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    References
    ----------
    Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", algorithm 1.
    """

    name = "adam"

    @checked_keywords
    def __init__(self, learning_rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__(learning_rate)
        self.beta1 = real_number("beta1", beta1, 0, 1, open_high=True)
        self.beta2 = real_number("beta2", beta2, 0, 1, open_high=True)
        self.eps = real_number("eps", eps, 0, open_low=True)

    def init(self, params: Array) -> AdamState:
        """Zero means, no update made."""
        xp = namespace_of(params)
        return AdamState(zeros(params), zeros(params), xp.zeros((), dtype=xp.int32, **placed_as(params)))

    def update(self, params: Array, grads: Array, state: AdamState, learning_rate: Array) -> tuple[Array, AdamState]:
        """Parameters and state after one step."""
        params, *moments = adam_update(params, grads, *state, learning_rate, beta1=self.beta1, beta2=self.beta2, eps=self.eps)
        return params, AdamState(*moments)


class AdamW(Adam):
    """Adam with decoupled weight decay.

        p ← p − η (m̂ / (√v̂ + ε) + λ p)

    The whole vector it is given decays, biases and gains too; to spare them, use `l2=` of the Trainer with Adam, or another
    optimizer for their part of the vector.

    Parameters
    ----------
    learning_rate : float or Schedule or callable
        η > 0.
    beta1, beta2 : float
        Decay of the two means, in [0, 1).
    eps : float
        ε > 0, added to √v̂.
    weight_decay : float
        λ ≥ 0; the share of a parameter that a step takes away is η λ.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    References
    ----------
    Loshchilov & Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2.
    """

    name = "adamw"

    @checked_keywords
    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, eps)
        self.weight_decay = real_number("weight_decay", weight_decay, 0)

    def update(self, params: Array, grads: Array, state: AdamState, learning_rate: Array) -> tuple[Array, AdamState]:
        """Parameters and state after one step."""
        params, *moments = adamw_update(
            params,
            grads,
            *state,
            learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )
        return params, AdamState(*moments)
