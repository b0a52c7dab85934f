"""Epochs of an optimizer that minimises over all rows at once: L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from mlpx import random
from mlpx.namespace import constant, namespace_of
from mlpx.optim import LBFGS, LBFGSState
from mlpx.parameters import Parameters
from mlpx.step import Batch, State, Totals
from mlpx.typing import Array

if TYPE_CHECKING:
    from mlpx.train.fit import Fit
    from mlpx.train.interrupt import Interrupt


class Point(NamedTuple):
    """Where the loss of all rows is asked for: flat parameters and buffers, the random key of dropout, the rows."""

    params: Array
    buffers: Array
    key: Array
    data: Batch


class FullBatch:
    """Runs one iteration an epoch. The loss it minimises must be a function: dropout keeps one mask throughout."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self.net = fit.trainer.net
        self.optimizer: LBFGS = fit.trainer.optimizer  # type: ignore[assignment]  # Fit chose this class for it
        self._value_and_gradient = self._compiled(self._evaluate)
        self._buffers = self._compiled(self._updated_buffers)
        searched = fit.state.optimizer
        if isinstance(searched, LBFGSState) and searched.finished:  # resumed behind its end
            fit.stop(searched.reason)

    def run_epoch(self, interrupt: Interrupt) -> None:
        """One iteration of L-BFGS; its end, by a tolerance, ends training."""
        fit, trainer, state = self.fit, self.fit.trainer, self.fit.state
        fit.good = state

        def evaluate(flat: Array) -> tuple[Array, Array]:
            return self._value_and_gradient(self._point(state, flat))

        searched = state.optimizer
        if not isinstance(searched, LBFGSState):
            searched = self.optimizer.init(state.params, *evaluate(state.params))
        searched = self.optimizer.iterate(evaluate, searched)
        if searched.finished:
            fit.stop(searched.reason)
        trainer.state = self._after(state, searched)
        fit.rows_done = fit.rows
        trainer.steps_done += 1
        fit.after_step()
        interrupt.act()

    def _after(self, state: State, searched: LBFGSState) -> State:
        xp = namespace_of(state.params)
        buffers = state.buffers
        if self.net.buffer_layout.entries:
            buffers = self._buffers(self._point(state, searched.params))
        sound = constant(-1, state.step)
        totals = Totals(
            loss=searched.value,
            weight=constant(1.0, state.params),
            diverged_at=xp.where(xp.isfinite(searched.value), sound, state.step),
        )
        return state._replace(params=searched.params, buffers=buffers, optimizer=searched, step=state.step + 1, totals=totals)

    def _point(self, state: State, flat: Array) -> Point:
        return Point(flat, state.buffers, state.key, self.fit.data)

    def _evaluate(self, point: Point) -> tuple[Array, Array]:
        """Value and flat gradient."""
        value, grads, _ = self.fit.trainer.settings.objective.gradient(self._parameters(point), point.data, self._key(point))
        return value, grads

    def _updated_buffers(self, point: Point) -> Array:
        """The running statistics after a forward pass."""
        params = self._parameters(point)
        _, residuals = self.net.forward(params, point.data.x, train=True, key=self._key(point))
        return self.net.buffer_layout.flatten(self.net.updated_buffers(params, residuals), point.buffers)

    def _parameters(self, point: Point) -> Parameters:
        return Parameters(self.net.layout, point.params, Parameters(self.net.buffer_layout, point.buffers))

    def _key(self, point: Point) -> Array | None:
        return random.fold_in(point.key, 0) if self.net.stochastic else None

    def _compiled(self, function: Callable[[Point], Any]) -> Callable[[Point], Any]:
        """The function as the device runs it. A point is no state: nothing of it may be overwritten."""

        def step(state: tuple[()], point: Point) -> tuple[tuple[()], Any]:
            return state, function(point)

        example = (), self._point(self.fit.state, self.fit.state.params)
        compiled = self.fit.trainer.device.backend.compile(step, example)
        return lambda point: compiled((), point)[1]
