"""L-BFGS: Newton-like steps on the whole data set, from the differences of the last few gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mlpx.arguments import real_number, whole_number
from mlpx.errors import InvalidTypeError, checked_keywords
from mlpx.namespace import constant, describe, is_floating, namespace_of, placed_as
from mlpx.optim.base import OPTIMIZERS
from mlpx.optim.line_search import StrongWolfe, Trial
from mlpx.optim.settings import Configured
from mlpx.typing import Array

RUNNING, GRADIENT, CHANGE, LINE_SEARCH, NOT_FINITE = range(5)
REASONS = {
    RUNNING: "",
    GRADIENT: "the largest component of the gradient is within tolerance_gradient",
    CHANGE: "the value changed by no more than tolerance_change",
    LINE_SEARCH: "no lower value was found along the gradient: the limit of the dtype's precision, or a gradient that is not "
    "the value's",
    NOT_FINITE: "value or gradient is not finite where the search began",
}
ROUNDING = 10.0  # in eps of the value: two equal losses, summed in different order, differ by about this


class LBFGSState(NamedTuple):
    """Everything an iteration needs: arrays only, so that a saved and reloaded state goes on with the same bits.

    Attributes
    ----------
    params, gradient : (P,)
    value : ()
    s, y : (history, P)
        The last steps and gradient differences, newest in the last row.
    rho : (history,)
        1 / yᵀs of each pair.
    count, iteration, evaluations, status : () int32
        Pairs held; iterations made; calls of `evaluate` made in them; why the search ended, 0 while it goes on.
    """

    params: Array
    value: Array
    gradient: Array
    s: Array
    y: Array
    rho: Array
    count: Array
    iteration: Array
    evaluations: Array
    status: Array

    @property
    def finished(self) -> bool:
        """Whether another iteration would change nothing."""
        return int(self.status) != RUNNING

    @property
    def converged(self) -> bool:
        """Whether it ended because a tolerance was met."""
        return int(self.status) in (GRADIENT, CHANGE)

    @property
    def reason(self) -> str:
        """Why it ended, in words; empty while it goes on."""
        return REASONS[int(self.status)]


class LBFGS(Configured):
    """Minimise a smooth function of the whole parameter vector: for small data, and for a deterministic loss.

        x ← x − α H g,   H from the last `history` pairs s = Δx, y = Δg

    α comes from a strong Wolfe line search, so there is no learning rate. Vectors stay where they are; per evaluation two
    numbers are read from the device.

    Parameters
    ----------
    history : int
        Pairs kept; memory is 2 history P numbers.
    tolerance_gradient : float
        Stop when max|g| is no larger; ≥ 0.
    tolerance_change : float
        Stop when an iteration lowers the value f by no more than this times max(|f|, 1); ≥ 0.
    max_evaluations : int
        Evaluations that one line search may take.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    References
    ----------
    Nocedal & Wright (2006), "Numerical Optimization", 2nd ed., algorithms 7.4 and 7.5.
    """

    name = "lbfgs"

    @checked_keywords
    def __init__(
        self,
        history: int = 10,
        tolerance_gradient: float = 1e-5,
        tolerance_change: float = 1e-9,
        max_evaluations: int = 20,
    ) -> None:
        self.history = whole_number("history", history)
        self.tolerance_gradient = real_number("tolerance_gradient", tolerance_gradient, 0)
        self.tolerance_change = real_number("tolerance_change", tolerance_change, 0)
        self.max_evaluations = whole_number("max_evaluations", max_evaluations)

    def init(self, params: Array, value: Array, gradient: Array) -> LBFGSState:
        """The state before the first iteration.

        Parameters
        ----------
        params : (P,) floating
        value : () of params' dtype
            f(params).
        gradient : (P,)
            ∂f/∂params.

        Returns
        -------
        state : LBFGSState

        Raises
        ------
        InvalidTypeError
            If `params` is not floating.
        DeviceMismatchError
            If the arrays come from different libraries or devices.
        """
        xp = namespace_of(params, value, gradient)
        if not is_floating(params):
            raise InvalidTypeError(f"params: expected a floating vector, got {describe(params)}")
        rows = xp.zeros((self.history, params.shape[0]), dtype=params.dtype, **placed_as(params))
        rho = xp.zeros((self.history,), dtype=params.dtype, **placed_as(params))
        zero = _count(0, params)
        status = self._status_at(float(value), gradient)
        return LBFGSState(params, value, gradient, rows, rows, rho, zero, zero, zero, _count(status, params))

    def iterate(self, evaluate: Callable[[Array], tuple[Array, Array]], state: LBFGSState) -> LBFGSState:
        """One iteration: a direction, a line search along it, and the pair that is learned from it.

        If the search along the quasi-Newton direction fails, it is made once more along the gradient, with the history
        forgotten; if that fails too, the state ends with params as they were. An iteration of a finished state returns it.

        Parameters
        ----------
        evaluate : callable
            x (P,) ↦ (f(x) of shape (), ∂f/∂x of shape (P,)). Where f overflows, a value that is not finite is fine: the step is
            shortened.
        state : LBFGSState

        Returns
        -------
        state : LBFGSState
        """
        if state.finished:
            return state
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a trial may overshoot; that is an answer
            found, calls = self._search(evaluate, state)
            if found is None and int(state.count) > 0:
                state = state._replace(count=_count(0, state.params))
                found, more = self._search(evaluate, state)
                calls += more
            made = {"iteration": state.iteration + 1, "evaluations": state.evaluations + calls}
            if found is None:
                return state._replace(status=_count(LINE_SEARCH, state.params), **made)
            return self._learned(state, found)._replace(
                params=found.params,
                value=found.value_array,
                gradient=found.gradient,
                status=_count(self._status_after(float(state.value), found), state.params),
                **made,
            )

    def _search(self, evaluate: Callable[[Array], tuple[Array, Array]], state: LBFGSState) -> tuple[Trial | None, int]:
        direction = _direction(state)

        def at(step: float) -> Trial:
            params = state.params + step * direction
            value, gradient = evaluate(params)
            return Trial(step, float(value), float(gradient @ direction), params, value, gradient)

        start = Trial(0.0, float(state.value), float(state.gradient @ direction), state.params, state.value, state.gradient)
        if not (start.finite and start.slope < 0):
            return None, 0
        # With no pair yet nothing is known of the scale: try a step of length one (SciPy's choice).
        first = 1.0 if int(state.count) > 0 else 1 / math.sqrt(float(direction @ direction))
        rounding = ROUNDING * _eps(state.params) * abs(start.value)
        return StrongWolfe(at, start, rounding, self.max_evaluations).search(first)

    def _learned(self, state: LBFGSState, found: Trial) -> LBFGSState:
        """The history with the pair of this step, unless rounding has spoilt its curvature yᵀs > 0."""
        s, y = found.params - state.params, found.gradient - state.gradient
        curvature = y @ s
        if not float(curvature) > _eps(s) * math.sqrt(float(s @ s)) * math.sqrt(float(y @ y)):
            return state
        return state._replace(
            s=_appended(state.s, s),
            y=_appended(state.y, y),
            rho=_appended(state.rho, 1 / curvature),
            count=_count(min(int(state.count) + 1, self.history), s),
        )

    def _status_at(self, value: float, gradient: Array) -> int:
        xp = namespace_of(gradient)
        largest = float(xp.max(xp.abs(gradient)))
        if not (math.isfinite(value) and math.isfinite(largest)):
            return NOT_FINITE
        return GRADIENT if largest <= self.tolerance_gradient else RUNNING

    def _status_after(self, before: float, found: Trial) -> int:
        status = self._status_at(found.value, found.gradient)
        change = before - found.value
        if status == RUNNING and change <= self.tolerance_change * max(abs(before), abs(found.value), 1.0):
            return CHANGE
        return status


OPTIMIZERS[LBFGS.name] = LBFGS


def _direction(state: LBFGSState) -> Array:
    """−H g by the two-loop recursion (algorithm 7.4), H₀ = yᵀs / yᵀy of the newest pair (eq. 7.20).

    Without a pair, −g / max|g|: its products overflow no sooner than g.
    """
    s, y, rho, q = state.s, state.y, state.rho, state.gradient
    count, newest = int(state.count), s.shape[0] - 1
    if count == 0:
        xp = namespace_of(q)
        return -q / xp.max(xp.abs(q))
    pairs = range(newest, newest - count, -1)
    alphas: dict[int, Any] = {}
    for i in pairs:
        alphas[i] = rho[i] * (s[i, :] @ q)
        q = q - alphas[i] * y[i, :]
    q = q / (rho[newest] * (y[newest, :] @ y[newest, :]))
    for i in reversed(pairs):
        beta = rho[i] * (y[i, :] @ q)
        q = q + (alphas[i] - beta) * s[i, :]
    return -q


def _appended(rows: Array, newest: Array) -> Array:
    """`rows` without its oldest row and with one more at the end."""
    xp = namespace_of(rows, newest)
    return xp.concat([rows[1:, ...], xp.reshape(newest, (1, *rows.shape[1:]))])


def _count(value: int, like: Array) -> Array:
    return constant(value, like, namespace_of(like).int32)


def _eps(array: Array) -> float:
    return float(namespace_of(array).finfo(array.dtype).eps)
