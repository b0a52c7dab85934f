"""Learning rates that follow the step count, evaluated on the device without looking at a value.

A schedule is called as `schedule(step, dtype)`: step is a 0-d int32 array counted from 0, the result a 0-d array of that
dtype on the step's device. So it runs inside a traced step, and a resumed run goes on with the rate it stopped at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from mlpx.arguments import real_number, whole_number
from mlpx.errors import ConfigError, checked_keywords
from mlpx.namespace import constant, namespace_of
from mlpx.optim.settings import Configured, build
from mlpx.typing import Array, DType

SCHEDULES: dict[str, type[Schedule]] = {}


class Schedule(Configured):
    """A rate η as a function of the step. Subclass it, give it a `name`, write `__call__` in Array API functions.

    Attributes
    ----------
    monitor : str or None
        The metric whose history `scale` wants to see; None if it wants none.
    """

    monitor: str | None = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        SCHEDULES[cls.name] = cls

    def __call__(self, step: Array, dtype: DType) -> Array:
        """The rate for a step.

        Parameters
        ----------
        step : () int32
            Counted from 0.
        dtype : floating dtype
            Of step's library.

        Returns
        -------
        rate : () of dtype, on step's device
        """
        raise NotImplementedError

    def scale(self, values: Sequence[float]) -> float:
        """What the rate is to be multiplied by after an epoch, given the monitored metric of every epoch so far."""
        del values
        return 1.0


class Constant(Schedule):
    """The same rate for every step: η.

    Parameters
    ----------
    rate : float
        > 0 and finite.
    """

    name = "constant"

    @checked_keywords
    def __init__(self, rate: float) -> None:
        self.rate = positive_rate(rate)

    def __call__(self, step: Array, dtype: DType) -> Array:
        """η."""
        return constant(self.rate, step, dtype)


class StepDecay(Schedule):
    """η factor^⌊t / every⌋: a stair.

    Parameters
    ----------
    rate : float
        η, the rate of the first stair, > 0.
    every : int
        Steps a stair is long.
    factor : float
        What the rate is multiplied by at each stair, in (0, 1].
    """

    name = "step_decay"

    @checked_keywords
    def __init__(self, rate: float, every: int, factor: float = 0.1) -> None:
        self.rate = positive_rate(rate)
        self.every = whole_number("every", every)
        self.factor = real_number("factor", factor, 0, 1, open_low=True)

    def __call__(self, step: Array, dtype: DType) -> Array:
        """η factor^⌊t / every⌋."""
        return self.rate * _power(self.factor, _as_float(step // self.every, dtype))


class Exponential(Schedule):
    """η decay^(t / every): a smooth decay.

    Parameters
    ----------
    rate : float
        η, the rate of step 0, > 0.
    decay : float
        What the rate is multiplied by in `every` steps, > 0; above 1 it grows, as a search for a rate wants it.
    every : int
        Steps.
    """

    name = "exponential"

    @checked_keywords
    def __init__(self, rate: float, decay: float, every: int = 1) -> None:
        self.rate = positive_rate(rate)
        self.decay = real_number("decay", decay, 0, open_low=True)
        self.every = whole_number("every", every)

    def __call__(self, step: Array, dtype: DType) -> Array:
        """η decay^(t / every)."""
        return self.rate * _power(self.decay, _as_float(step, dtype) / self.every)


class Cosine(Schedule):
    """Half a period of a cosine from `rate` at step 0 to `final` at step `steps`, and `final` from there on.

        η_T + ½ (η − η_T) (1 + cos(π t / T))

    Parameters
    ----------
    rate : float
        η > 0.
    steps : int
        T.
    final : float
        η_T ≥ 0.

    References
    ----------
    Loshchilov & Hutter (2017), "SGDR: Stochastic Gradient Descent with Warm Restarts", eq. 5, one period.
    """

    name = "cosine"

    @checked_keywords
    def __init__(self, rate: float, steps: int, final: float = 0.0) -> None:
        self.rate = positive_rate(rate)
        self.steps = whole_number("steps", steps)
        self.final = real_number("final", final, 0)

    def __call__(self, step: Array, dtype: DType) -> Array:
        """η_T + ½ (η − η_T) (1 + cos(π t / T))."""
        xp = namespace_of(step)
        t = _as_float(xp.minimum(step, constant(self.steps, step)), dtype)
        return self.final + 0.5 * (self.rate - self.final) * (1 + xp.cos(t * (math.pi / self.steps)))


class WarmUp(Schedule):
    """A linear rise to another schedule: min((t + 1) / steps, 1) · schedule(t).

    Step 0 gets 1/steps of the schedule's value, step `steps` − 1 and all later ones the whole of it. The schedule inside
    counts the same steps, from 0.

    Parameters
    ----------
    schedule : float or Schedule or callable
    steps : int
        Length of the rise.
    """

    name = "warm_up"

    @checked_keywords
    def __init__(self, schedule: Rate, steps: int) -> None:
        self.schedule = get(schedule, "schedule")
        self.steps = whole_number("steps", steps)
        self.monitor = self.schedule.monitor

    def __call__(self, step: Array, dtype: DType) -> Array:
        """min((t + 1) / steps, 1) · schedule(t)."""
        risen = namespace_of(step).minimum(step + 1, constant(self.steps, step))
        return _as_float(risen, dtype) / self.steps * self.schedule(step, dtype)

    def scale(self, values: Sequence[float]) -> float:
        """What the schedule inside says."""
        return self.schedule.scale(values)


class FunctionOfStep(Schedule):
    """A user's own function of the step, written in Array API functions and operators.

    Parameters
    ----------
    function : callable
        Takes the 0-d int32 step, counted from 0, and returns the rate as a 0-d array of any dtype on the same device (or a
        number). It may be traced: no `if` and no `float()` on what it is given.
    """

    name = "function"

    @checked_keywords
    def __init__(self, function: Callable[[Array], Any]) -> None:
        self.function = function

    def __call__(self, step: Array, dtype: DType) -> Array:
        """What the function returns, in `dtype`."""
        rate = self.function(step)
        return constant(rate, step, dtype) if isinstance(rate, int | float) else _as_float(rate, dtype)

    def config(self) -> dict[str, Any]:
        """The name of the function: a record, from which it cannot be made again."""
        qualname = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return {"name": self.name, "function": f"{self.function.__module__}.{qualname}"}

    def __repr__(self) -> str:
        return f"FunctionOfStep({self.config()['function']})"


Rate: TypeAlias = float | Schedule | Mapping[str, Any] | Callable[[Array], Any]


def get(given: Rate, argument: str = "schedule") -> Schedule:
    """The schedule that a number, a configuration, a function or a schedule stands for.

    Parameters
    ----------
    given : float, mapping, callable or Schedule
        A number is a constant rate, a mapping what `config()` returned, a callable a function of the step.
    argument : str
        What the caller calls it, for messages.

    Raises
    ------
    ConfigError
        If the number is not > 0 and finite, or the name is unknown.
    """
    if isinstance(given, Schedule):
        return given
    if isinstance(given, Mapping):
        if given.get("name") == FunctionOfStep.name and isinstance(given.get("function"), str):
            raise ConfigError(
                f"the schedule was the function {given['function']}, which no file keeps: pass the function itself"
            )
        return build("schedule", given, SCHEDULES)
    if callable(given):
        return FunctionOfStep(given)
    return Constant(positive_rate(given, argument))


def validate(schedule: Schedule, total_steps: int) -> None:
    """Raise ConfigError, with step and value, if the rate is negative or not finite at the first, middle or last step."""
    for step in sorted({0, min(1, total_steps - 1), total_steps // 2, max(total_steps - 1, 0)}):
        counted: Any = np.asarray(step, dtype=np.int32)
        rate = schedule(counted, np.float64)
        shape = tuple(getattr(rate, "shape", ()))
        if shape != ():
            raise ConfigError(f"{schedule!r} returns an array of shape {shape} for step {step}: expected shape ()")
        if not (math.isfinite(rate) and rate >= 0):
            raise ConfigError(f"{schedule!r} gives a learning rate of {float(rate)} at step {step}: expected ≥ 0 and finite")


def positive_rate(value: Any, argument: str = "rate") -> float:
    """`value` as a float; ConfigError unless it is > 0 and finite."""
    return real_number(argument, value, 0, open_low=True)


def _as_float(array: Array, dtype: DType) -> Array:
    return namespace_of(array).astype(array, dtype)


def _power(base: float, exponent: Array) -> Array:
    """base^exponent through exp, because a rounded base would multiply its error by the exponent."""
    return namespace_of(exponent).exp(exponent * math.log(base))
