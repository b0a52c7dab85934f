"""The pure step of an estimator: loss, scikit-learn's penalty, gradient, update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mlpx import random
from mlpx.backend import Device
from mlpx.losses import Loss, weighted_mean
from mlpx.losses.base import shares
from mlpx.namespace import constant, namespace_of
from mlpx.ops.risk import l2
from mlpx.parameters import Parameters, Scope
from mlpx.sklearn.architecture import Architecture
from mlpx.sklearn.host_kernel import HostStep, is_plain
from mlpx.sklearn.placement import Place
from mlpx.sklearn.updates import FoldedAdam, MomentumSGD
from mlpx.step import Batch, Descent, Epoch, State, Totals, epoch_step
from mlpx.typing import Array, ParameterMapping


@dataclass(frozen=True)
class PenalisedLoss:
    """Mean loss over a batch plus ½α‖W‖², the penalty divided by the batch's rows (by the sum of their weights).

    scikit-learn divides by the rows of the batch, not of the data set: a small last batch is penalised more.
    """

    architecture: Architecture
    loss: Loss
    alpha: float

    def gradient(self, params: ParameterMapping, batch: Batch, key: Array | None = None) -> tuple[Array, dict[str, Array], Any]:
        """Value (0-d), gradient by name, residuals of the forward pass in training mode."""
        net = self.architecture.net
        weights = None if isinstance(batch.weights, tuple) else batch.weights
        output, kept = net.forward(params, batch.x, train=True, key=key)
        rows, residuals = self.loss.forward(output, batch.targets)
        value = weighted_mean(rows, weights)
        grads = dict(net.parameter_gradients(params, kept, self.loss.backward(shares(rows, weights), residuals)))
        if self.alpha > 0:
            strength, divisor = self._strength(rows.shape[0], weights)
            for name in self.architecture.weight_names:
                risk, slope = l2(params[name], strength=strength)
                value = value + (risk if divisor is None else risk / divisor)
                grads[name] = grads[name] + (slope.slope if divisor is None else slope.slope / divisor)
        return value, grads, kept

    def _strength(self, rows: int, weights: Array | None) -> tuple[float, Array | None]:
        """What multiplies ½‖W‖², and by what array that is divided."""
        if weights is None:
            return self.alpha / max(rows, 1), None
        xp = namespace_of(weights)
        total = xp.sum(weights)
        return self.alpha, xp.maximum(total, constant(float(xp.finfo(total.dtype).eps), total))


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training step does, apart from arrays: equal recipes share compiled steps.

    Attributes
    ----------
    objective : PenalisedLoss
    descent : Descent
    decay : decoupled weight decay λ: a step multiplies weights by 1 − η λ
    """

    objective: PenalisedLoss
    descent: Descent
    decay: float = 0.0

    def step(self) -> Callable[[State, Batch], tuple[State, dict[str, Array]]]:
        """The pure step(state, batch) -> (state, metrics)."""
        net = self.objective.architecture.net
        layout, buffer_layout = net.layout, net.buffer_layout

        def step(state: State, batch: Batch) -> tuple[State, dict[str, Array]]:
            key = random.fold_in(state.key, state.step) if net.stochastic else None
            params = Scope(Parameters(layout, state.params, Parameters(buffer_layout, state.buffers)), "")
            value, grads, kept = self.objective.gradient(params, batch, key)
            totals = Totals(state.totals.loss + value * batch.x.shape[0], state.totals.weight, state.totals.diverged_at)
            if buffer_layout.entries:
                state = state._replace(buffers=buffer_layout.flatten(net.updated_buffers(params, kept), state.buffers))
            if self.decay > 0:
                state = state._replace(params=self._decayed(params, state))
            state = self.descent(state, layout.flatten(grads, state.params))
            return state._replace(step=state.step + 1, totals=totals), {"loss": value}

        return step

    def _decayed(self, params: ParameterMapping, state: State) -> Array:
        """Parameters with the weights multiplied by 1 − η λ."""
        layout = self.objective.architecture.net.layout
        rate = self.descent.optimizer.learning_rate(state.step, state.params.dtype) * state.rate_scale
        kept = 1 - self.decay * rate
        names = self.objective.architecture.weight_names
        decayed = {name: params[name] * kept if name in names else params[name] for name in layout.entries}
        return layout.flatten(decayed, state.params)


class Steps:
    """The steps of a recipe on one device, compiled once for every batch size that occurs."""

    def __init__(self, recipe: Recipe, place: Place) -> None:
        self._recipe, self._place = recipe, place
        self._made: dict[int | None, Callable[..., Any]] = {}
        self._kernels: dict[tuple[int | None, int], HostStep] = {}
        objective, descent = recipe.objective, recipe.descent
        self._plain = (
            place.is_host
            and is_plain(objective.architecture, objective.loss)
            and type(descent.optimizer) in (FoldedAdam, MomentumSGD)
            and (descent.clip_norm, descent.clip_value, descent.ema_decay, recipe.decay) == (None, None, None, 0.0)
        )

    def get(self, rows: int | None, example: tuple[State, Any]) -> Callable[..., Any]:
        """The step that takes `rows` rows of an epoch, or that is given its batch (None)."""
        if self._kernel_fits(example):
            whole = example[1].x.shape[0] if rows is None else rows
            return self._kernels.setdefault((rows, whole), self._kernel(whole, whole_batch=rows is None))
        if rows not in self._made:
            step = self._recipe.step()
            step = step if rows is None else epoch_step(step, rows)
            self._made[rows] = self._place.compile(step, example)
        return self._made[rows]

    def _kernel(self, rows: int, *, whole_batch: bool) -> HostStep:
        objective = self._recipe.objective
        return HostStep(objective.architecture, objective.loss, objective.alpha, self._recipe.descent, rows, whole=whole_batch)

    def _kernel_fits(self, example: tuple[State, Any]) -> bool:
        """Whether the host's own step can do what the recipe says, on the arrays at hand."""
        state, batch = example
        data = batch.data if isinstance(batch, Epoch) else batch
        return self._plain and data.x.dtype == state.params.dtype


def steps_of(recipe: Recipe, place: Place) -> Steps:
    """The steps of a recipe; the same ones for an equal recipe, where that saves a compiler's work and it can be compared."""
    if place.is_host:
        return Steps(recipe, place)  # its buffers belong to one fit: another thread may be fitting the same recipe
    try:
        return _shared_steps(recipe, place, place.device)
    except TypeError:  # a setting of the user's that cannot be hashed
        return Steps(recipe, place)


@lru_cache(maxsize=64)
def _shared_steps(recipe: Recipe, place: Place, device: Device | None) -> Steps:
    del device
    return Steps(recipe, place)
