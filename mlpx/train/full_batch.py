"""Epochs of an optimizer that minimises over all rows at once: L-BFGS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlpx import random
from mlpx.namespace import constant, namespace_of
from mlpx.optim import LBFGS, LBFGSState
from mlpx.parameters import Parameters
from mlpx.step import Batch, State, Totals, network_parameters
from mlpx.typing import Array

if TYPE_CHECKING:
    from mlpx.train.fit import Fit
    from mlpx.train.interrupt import Interrupt


class FullBatch:
    """Runs one iteration an epoch. The loss it minimises must be a function: dropout keeps one mask throughout."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        trainer = fit.trainer
        assert isinstance(trainer.optimizer, LBFGS)  # Fit.run chose this class for it
        self.optimizer = trainer.optimizer
        example = ((), (self._state().params, self._state().buffers, fit.data))
        self._compiled = trainer.device.backend.compile(self._value_and_gradient, example)

    def run_epoch(self, interrupt: Interrupt) -> None:
        """One iteration of L-BFGS; its end, by a tolerance, ends training."""
        state = self._state()
        searched = state.optimizer
        if not isinstance(searched, LBFGSState):
            searched = self.optimizer.init(state.params, *self._evaluate(state.params))
        self.fit.good = (searched.params, state.buffers)
        searched = self.optimizer.iterate(self._evaluate, searched)
        if searched.finished:
            self.fit.stop(searched.reason)
        self.fit.trainer.state = self._after(state, searched)
        self.fit.rows_done = self.fit.rows
        self.fit.steps_done += 1
        self.fit.after_step()
        interrupt.act()

    def _after(self, state: State, searched: LBFGSState) -> State:
        net = self.fit.trainer.net
        xp = namespace_of(state.params)
        buffers = state.buffers
        if net.buffer_layout.entries:
            params = network_parameters(net, state._replace(params=searched.params))
            _, residuals = net.forward(params, self.fit.data.x, train=True, key=self._key(state))
            buffers = net.buffer_layout.flatten(net.updated_buffers(params, residuals), buffers)
        one = constant(1.0, state.params)
        totals = Totals(searched.value, one, xp.where(xp.isfinite(searched.value), constant(-1, state.step), state.step))
        return state._replace(
            params=xp.asarray(searched.params, copy=True),
            buffers=buffers,
            optimizer=searched,
            step=state.step + 1,
            totals=totals,
        )

    def _evaluate(self, flat: Array) -> tuple[Array, Array]:
        return self._compiled((), (flat, self._state().buffers, self.fit.data))[1]

    def _value_and_gradient(self, nothing: tuple[()], batch: tuple[Array, Array, Batch]) -> tuple[Any, tuple[Array, Array]]:
        flat, buffers, data = batch
        trainer = self.fit.trainer
        params = Parameters(trainer.net.layout, flat, Parameters(trainer.net.buffer_layout, buffers))
        value, grads, _ = trainer.objective.gradient(params, data, self._key(self._state()))
        return nothing, (value, grads)

    def _key(self, state: State) -> Array | None:
        return random.fold_in(state.key, 0) if self.fit.trainer.net.stochastic else None

    def _state(self) -> State:
        assert self.fit.trainer.state is not None  # begin() placed it
        return self.fit.trainer.state
