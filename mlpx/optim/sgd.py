"""Stochastic gradient descent, plain, with momentum, or with Nesterov's."""

from __future__ import annotations

from typing import NamedTuple

from mlpx.arguments import real_number
from mlpx.errors import ConfigError, checked_keywords
from mlpx.namespace import namespace_of
from mlpx.ops.definition import update_rule
from mlpx.optim.base import Optimizer, zeros
from mlpx.optim.schedules import Rate
from mlpx.typing import Array


class SGDState(NamedTuple):
    """The velocity v; nothing without momentum."""

    velocity: Array | tuple[()]


@update_rule("sgd")
def sgd_update(params: Array, grads: Array, learning_rate: Array) -> Array:
    """One step down the gradient.

        p ← p − η g

    Parameters
    ----------
    params, grads : (P,) floating
    learning_rate : ()
        η, of params' dtype.

    Returns
    -------
    params : (P,)
    """
    namespace_of(params, grads, learning_rate)
    return params - learning_rate * grads


@update_rule("sgd_momentum")
def sgd_momentum_update(
    params: Array, grads: Array, velocity: Array, learning_rate: Array, *, momentum: float, nesterov: bool
) -> tuple[Array, Array]:
    """One step along an accumulated gradient.

        v ← μ v + g
        p ← p − η v               or, with Nesterov's look ahead,
        p ← p − η (g + μ v)

    The rate multiplies the velocity when it is used, not when it is accumulated (PyTorch's convention): a change of η acts
    at once on the whole velocity.

    Parameters
    ----------
    params, grads, velocity : (P,) floating
    learning_rate : ()
        η, of params' dtype.
    momentum : float
        μ in [0, 1).
    nesterov : bool

    Returns
    -------
    params, velocity : (P,)

    References
    ----------
    Sutskever, Martens, Dahl & Hinton (2013), "On the importance of initialization and momentum in deep learning", eq. 1-4,
    in the form of torch.optim.SGD.
    """
    namespace_of(params, grads, velocity, learning_rate)
    velocity = momentum * velocity + grads
    direction = grads + momentum * velocity if nesterov else velocity
    return params - learning_rate * direction, velocity


class SGD(Optimizer):
    """Gradient descent: with the whole data set as one batch, with one row at a time, or anything between.

        v ← μ v + g,   p ← p − η v   (Nesterov: p ← p − η (g + μ v))

    Parameters
    ----------
    learning_rate : float or Schedule or callable
        η > 0.
    momentum : float
        μ in [0, 1); 0 is plain gradient descent, which keeps no velocity.
    nesterov : bool
        Look ahead along the velocity; needs momentum > 0.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    """

    name = "sgd"

    @checked_keywords
    def __init__(self, learning_rate: Rate = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(learning_rate)
        self.momentum = real_number("momentum", momentum, 0, 1, open_high=True)
        self.nesterov = bool(nesterov)
        if self.nesterov and self.momentum == 0:
            raise ConfigError("nesterov=True with momentum=0.0: Nesterov's method needs a momentum in (0, 1), such as 0.9")

    def init(self, params: Array) -> SGDState:
        """No velocity yet."""
        return SGDState(zeros(params) if self.momentum else ())

    def update(self, params: Array, grads: Array, state: SGDState, learning_rate: Array) -> tuple[Array, SGDState]:
        """Parameters and state after one step down the gradient."""
        if not self.momentum:
            return sgd_update(params, grads, learning_rate), state
        params, velocity = sgd_momentum_update(
            params, grads, state.velocity, learning_rate, momentum=self.momentum, nesterov=self.nesterov
        )
        return params, SGDState(velocity)
