"""scikit-learn's update rules on the flat parameter vector: like mlpx's, but rounded, and scaled by the rate, elsewhere."""

from __future__ import annotations

import math
from typing import NamedTuple

from mlpx.namespace import constant, namespace_of, placed_as
from mlpx.optim import Optimizer
from mlpx.optim.adam import AdamState
from mlpx.optim.base import zeros
from mlpx.typing import Array


class VelocityState(NamedTuple):
    """The last step, Δp without Nesterov's look ahead: (P,)."""

    velocity: Array


class MomentumSGD(Optimizer, listed=False):
    """Gradient descent whose velocity has the rate in it: a change of the rate acts on new gradients only.

        v ← μ v − η g
        p ← p + v                 or, with Nesterov's look ahead,
        p ← p + μ v − η g

    Parameters
    ----------
    learning_rate : float
        η > 0.
    momentum : float
        μ in [0, 1].
    nesterov : bool

    References
    ----------
    Sutskever, Martens, Dahl & Hinton (2013), "On the importance of initialization and momentum in deep learning", eq. 1-4.
    """

    name = "momentum_sgd"

    def __init__(self, learning_rate: float, momentum: float = 0.9, nesterov: bool = True) -> None:
        super().__init__(learning_rate)
        self.momentum = momentum
        self.nesterov = nesterov

    def init(self, params: Array) -> VelocityState:
        """At rest."""
        return VelocityState(zeros(params))

    def update(self, params: Array, grads: Array, state: VelocityState, learning_rate: Array) -> tuple[Array, VelocityState]:
        """Parameters and velocity after one step."""
        descent = learning_rate * grads
        if self.momentum == 0:
            return params - descent, VelocityState(-descent)
        velocity = self.momentum * state.velocity - descent
        step = self.momentum * velocity - descent if self.nesterov else velocity
        return params + step, VelocityState(velocity)


class FoldedAdam(Optimizer, listed=False):
    """Adam with both bias corrections folded into the rate, so that ε stands beside √v and not beside √v̂.

        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        p ← p − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)

    Parameters
    ----------
    learning_rate : float
        η > 0.
    beta1, beta2 : float
        In [0, 1).
    eps : float
        ε > 0.

    References
    ----------
    Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", the more efficient form at the end of section 2.
    """

    name = "folded_adam"

    def __init__(self, learning_rate: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__(learning_rate)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps

    def init(self, params: Array) -> AdamState:
        """Zero means, no update made."""
        xp = namespace_of(params)
        return AdamState(zeros(params), zeros(params), xp.zeros((), dtype=xp.int32, **placed_as(params)))

    def update(self, params: Array, grads: Array, state: AdamState, learning_rate: Array) -> tuple[Array, AdamState]:
        """Parameters and state after one step."""
        xp = namespace_of(params)
        m = self.beta1 * state.m + (1 - self.beta1) * grads
        v = self.beta2 * state.v + (1 - self.beta2) * (grads * grads)
        t = state.t + 1
        rate = learning_rate * xp.sqrt(_missing(t, self.beta2, params)) / _missing(t, self.beta1, params)
        return params - rate * m / (xp.sqrt(v) + self.eps), AdamState(m, v, t)


def _missing(t: Array, beta: float, like: Array) -> Array:
    """1 − βᵗ, through expm1: what t steps have of a mean's full weight."""
    xp = namespace_of(like)
    if beta == 0:
        return constant(1.0, like)
    return -xp.expm1(xp.astype(t, like.dtype) * math.log(beta))
