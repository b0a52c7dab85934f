"""RMSprop: steps divided by a running root-mean-square of the gradient."""

from __future__ import annotations

from typing import NamedTuple

from mlpx.arguments import real_number
from mlpx.errors import checked_keywords
from mlpx.namespace import namespace_of
from mlpx.ops.definition import update_rule
from mlpx.optim.base import Optimizer, zeros
from mlpx.optim.schedules import Rate
from mlpx.typing import Array


class RMSpropState(NamedTuple):
    """The running mean v of g², and the velocity u; no velocity without momentum."""

    v: Array
    velocity: Array | tuple[()]


@update_rule("rmsprop")
def rmsprop_update(
    params: Array, grads: Array, v: Array, learning_rate: Array, *, decay: float, eps: float
) -> tuple[Array, Array]:
    """One step of RMSprop.

        v ← α v + (1 − α) g²
        p ← p − η g / (√v + ε)

    Parameters
    ----------
    params, grads, v : (P,) floating
    learning_rate : ()
        η, of params' dtype.
    decay : float
        α in [0, 1).
    eps : float
        Added to √v: in units of the gradient.

    Returns
    -------
    params, v : (P,)

    References
    ----------
    Tieleman & Hinton (2012), "Neural Networks for Machine Learning", lecture 6e, with ε outside the root as in
    torch.optim.RMSprop.
    """
    namespace_of(params, grads, v, learning_rate)
    scaled, v = _scaled(grads, v, decay, eps)
    return params - learning_rate * scaled, v


@update_rule("rmsprop_momentum")
def rmsprop_momentum_update(
    params: Array, grads: Array, v: Array, velocity: Array, learning_rate: Array, *, decay: float, eps: float, momentum: float
) -> tuple[Array, Array, Array]:
    """One step of RMSprop with momentum.

        v ← α v + (1 − α) g²
        u ← μ u + g / (√v + ε)
        p ← p − η u

    Parameters
    ----------
    params, grads, v, velocity : (P,) floating
    learning_rate : ()
        η, of params' dtype.
    decay, eps : float
        As in `rmsprop`.
    momentum : float
        μ in [0, 1).

    Returns
    -------
    params, v, velocity : (P,)
    """
    namespace_of(params, grads, v, velocity, learning_rate)
    scaled, v = _scaled(grads, v, decay, eps)
    velocity = momentum * velocity + scaled
    return params - learning_rate * velocity, v, velocity


def _scaled(grads: Array, v: Array, decay: float, eps: float) -> tuple[Array, Array]:
    """The gradient over its root-mean-square, and the mean square it was taken from."""
    v = decay * v + (1 - decay) * (grads * grads)
    return grads / (namespace_of(grads).sqrt(v) + eps), v


class RMSprop(Optimizer):
    """Steps divided by a running root-mean-square of the gradient.

        v ← α v + (1 − α) g²,   u ← μ u + g / (√v + ε),   p ← p − η u

    Parameters
    ----------
    learning_rate : float or Schedule or callable
        η > 0.
    decay : float
        α in [0, 1); Hinton's 0.9 (torch.optim.RMSprop calls it alpha and takes 0.99).
    eps : float
        ε > 0, added to √v.
    momentum : float
        μ in [0, 1); 0 keeps no velocity.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    References
    ----------
    Tieleman & Hinton (2012), "Neural Networks for Machine Learning", lecture 6e.
    """

    name = "rmsprop"

    @checked_keywords
    def __init__(self, learning_rate: Rate = 1e-3, decay: float = 0.9, eps: float = 1e-8, momentum: float = 0.0) -> None:
        super().__init__(learning_rate)
        self.decay = real_number("decay", decay, 0, 1, open_high=True)
        self.eps = real_number("eps", eps, 0, open_low=True)
        self.momentum = real_number("momentum", momentum, 0, 1, open_high=True)

    def init(self, params: Array) -> RMSpropState:
        """Zero mean square, no velocity."""
        return RMSpropState(zeros(params), zeros(params) if self.momentum else ())

    def update(self, params: Array, grads: Array, state: RMSpropState, learning_rate: Array) -> tuple[Array, RMSpropState]:
        """Parameters and state after one step."""
        settings = {"decay": self.decay, "eps": self.eps}
        if not self.momentum:
            params, v = rmsprop_update(params, grads, state.v, learning_rate, **settings)
            return params, RMSpropState(v, ())
        params, v, velocity = rmsprop_momentum_update(
            params, grads, state.v, state.velocity, learning_rate, momentum=self.momentum, **settings
        )
        return params, RMSpropState(v, velocity)
