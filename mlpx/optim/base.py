"""What an optimizer is: one update equation on the flat parameter vector, and its learning rate."""

from __future__ import annotations

from typing import Any

from mlpx.namespace import namespace_of
from mlpx.optim import schedules
from mlpx.optim.schedules import Rate, Schedule
from mlpx.optim.settings import Configured
from mlpx.typing import Array

State = Any
OPTIMIZERS: dict[str, type[Configured]] = {}


class Optimizer(Configured):
    """An update rule. Subclass it, give it a `name`, keep each constructor argument under its name, write `init` and `update`.

    Nothing here changes while training: whatever does is an array in the state.

    Parameters
    ----------
    learning_rate : float or Schedule or callable
        A number is a constant rate, > 0 and finite.

    Attributes
    ----------
    learning_rate : Schedule
        The training step evaluates it and passes its value to `update`.
    """

    def __init_subclass__(cls, *, listed: bool = True, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if listed:  # else it is a part of something else, not to be found by its name
            OPTIMIZERS[cls.name] = cls

    def __init__(self, learning_rate: Rate) -> None:
        self.learning_rate: Schedule = schedules.get(learning_rate, "learning_rate")

    def init(self, params: Array) -> State:
        """The state before the first update: a NamedTuple of arrays of params' dtype, on its device."""
        raise NotImplementedError

    def update(self, params: Array, grads: Array, state: State, learning_rate: Array) -> tuple[Array, State]:
        """Parameters and state after one update; what is given is not modified.

        Parameters
        ----------
        params, grads : (P,) floating
            All parameters as one vector, and the gradient of the loss, of one dtype on one device.
        state : State
            Of `init`, or of the update before.
        learning_rate : () of params' dtype
            What `self.learning_rate` gives for this step.

        Returns
        -------
        params : (P,)
        state : State

        Raises
        ------
        DeviceMismatchError
            If the arrays come from different libraries or devices.
        """
        raise NotImplementedError


def zeros(params: Array) -> Array:
    """A vector of zeros like `params`."""
    return namespace_of(params).zeros_like(params)
