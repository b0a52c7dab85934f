"""The pure step: state and batch in, state out. Nothing here draws on anything but its arguments.

Everything that changes from step to step is an array in the state, so the same function runs eagerly, is compiled, recorded,
checkpointed and resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlpx import random
from mlpx.losses import Loss
from mlpx.namespace import constant, namespace_of, placed_as
from mlpx.network import Network
from mlpx.ops.risk import l2
from mlpx.optim import Optimizer, clip_by_global_norm, clip_by_value, ema_update
from mlpx.parameters import Parameters
from mlpx.typing import Array


class Totals(NamedTuple):
    """Sums over the steps of an epoch, read by the host once at its end; each a 0-d array.

    Attributes
    ----------
    loss : weighted sum of the rows' losses, the structural risk counted once a row
    weight : sum of the rows' weights; a row without a weight counts 1
    diverged_at : int32, the first step whose loss was not finite, or -1
    """

    loss: Array
    weight: Array
    diverged_at: Array


class State(NamedTuple):
    """All that training changes.

    Attributes
    ----------
    params : (p,) flat parameters
    buffers : (b,) flat running statistics
    optimizer : NamedTuple of arrays
    step : 0-d int32, steps done since training began
    cursor : 0-d int32, rows of this epoch already seen
    key : (2,) int32, random key of this training run's dropout
    rate_scale : 0-d, factor on the learning rate that the training loop sets between epochs
    average : (p,) averaged parameters, or () where none are kept
    totals : Totals
    """

    params: Array
    buffers: Array
    optimizer: Any
    step: Array
    cursor: Array
    key: Array
    rate_scale: Array
    average: Any
    totals: Totals


class Batch(NamedTuple):
    """Rows to learn from: x (n, d), targets (n,) or (n, k), weights (n,) or ()."""

    x: Array
    targets: Array
    weights: Any = ()


def rows_of(data: Batch, rows: Array) -> Batch:
    """Some rows of a data set, by number."""
    xp = namespace_of(rows)
    weights = data.weights if isinstance(data.weights, tuple) else xp.take(data.weights, rows, axis=0)
    return Batch(xp.take(data.x, rows, axis=0), xp.take(data.targets, rows, axis=0), weights)


class Epoch(NamedTuple):
    """A whole data set on the device, and the order (n,) int32 in which its rows come."""

    data: Batch
    order: Array


@dataclass(frozen=True)
class Objective:
    """What is minimised: the mean loss over the rows plus the structural risk ½λ‖W‖², and how its gradient is limited.

    R(W, b) = 1/N Σ L(y, ŷ) + ½ λ ‖W‖²   (lecture, structural risk; weights only, not biases)
    """

    net: Network
    loss: Loss
    l2: float = 0.0

    def gradient(self, params: Parameters, batch: Batch, key: Array | None) -> tuple[Array, Array, Any]:
        """Value (0-d), gradient (flat), and residuals of the forward pass, in training mode."""
        output, residuals = self.net.forward(params, batch.x, train=True, key=key)
        weights = None if isinstance(batch.weights, tuple) else batch.weights
        value, delta = self.loss(output, batch.targets, weights)
        grads = self.net.parameter_gradients(params, residuals, delta).flat
        if self.l2 > 0:
            risk, penalty = self._risk(params)
            value, grads = value + risk, grads + penalty
        return value, grads, residuals

    def _risk(self, params: Parameters) -> tuple[Array, Array]:
        """½λ‖W‖² over all penalised parameters, and its gradient λW in the flat layout."""
        xp = namespace_of(params.flat)
        risk = constant(0.0, params.flat)
        penalty = {}
        for name in params:
            if name in params.layout.penalised:
                value, kept = l2(params[name], strength=self.l2)
                risk = risk + value
                penalty[name] = l2.gradient(constant(1.0, params.flat), kept)
            else:
                penalty[name] = xp.zeros_like(params[name])
        return risk, params.layout.flatten(penalty, params.flat)


@dataclass(frozen=True)
class Descent:
    """How the gradient becomes a step: clipping, update rule, averaging."""

    optimizer: Optimizer
    clip_norm: float | None = None
    clip_value: float | None = None
    ema_decay: float | None = None

    def __call__(self, state: State, grads: Array) -> State:
        """The state with parameters, optimizer state and average one update further."""
        if self.clip_value is not None:
            grads = clip_by_value(grads, self.clip_value)
        if self.clip_norm is not None:
            grads, _ = clip_by_global_norm(grads, self.clip_norm)
        rate = self.optimizer.learning_rate(state.step, state.params.dtype) * state.rate_scale
        params, moments = self.optimizer.update(state.params, grads, state.optimizer, rate)
        average = state.average
        if self.ema_decay is not None:
            average = ema_update(average, params, decay=self.ema_decay)
        return state._replace(params=params, optimizer=moments, average=average)


def initial_state(params: Parameters, optimizer: Optimizer | None, seed: int, *, averaged: bool = False) -> State:
    """The state before the first step, on the device of the parameters; without an optimizer its part is ()."""
    xp = namespace_of(params.flat)
    key = random.fold_in(random.key(seed), random.Purpose.DROPOUT)
    where = placed_as(params.flat)
    buffers = params.buffers.flat if params.buffers is not None else xp.zeros((0,), dtype=params.dtype, **where)
    return State(
        params=xp.asarray(params.flat, copy=True),
        buffers=xp.asarray(buffers, copy=True),
        optimizer=() if optimizer is None else optimizer.init(params.flat),
        step=xp.zeros((), dtype=xp.int32, **where),
        cursor=xp.zeros((), dtype=xp.int32, **where),
        key=xp.asarray(key.tolist(), dtype=xp.int32, **where),
        rate_scale=constant(1.0, params.flat),
        average=xp.zeros_like(params.flat) if averaged else (),
        totals=empty_totals(params.flat),
    )


def copied(state: Any) -> Any:
    """Nested tuples of arrays, every array in memory of its own."""
    if not isinstance(state, tuple):
        return namespace_of(state).asarray(state, copy=True)
    parts = [copied(part) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def empty_totals(like: Array) -> Totals:
    """The sums at the start of an epoch."""
    xp = namespace_of(like)
    return Totals(constant(0.0, like), constant(0.0, like), constant(-1, like, dtype=xp.int32))


def network_parameters(net: Network, state: State) -> Parameters:
    """The parameters in a state, by name."""
    return Parameters(net.layout, state.params, Parameters(net.buffer_layout, state.buffers))


def training_step(objective: Objective, descent: Descent) -> Callable[[State, Batch], tuple[State, dict[str, Array]]]:
    """The pure step(state, batch) -> (state, metrics) for one batch."""
    net = objective.net

    def step(state: State, batch: Batch) -> tuple[State, dict[str, Array]]:
        key = random.fold_in(state.key, state.step) if net.stochastic else None
        params = network_parameters(net, state)
        value, grads, residuals = objective.gradient(params, batch, key)
        totals = _added(state.totals, value, batch, state.step)
        if net.buffer_layout.entries:
            buffers = net.buffer_layout.flatten(net.updated_buffers(params, residuals), state.buffers)
            state = state._replace(buffers=buffers)
        state = descent(state, grads)
        return state._replace(step=state.step + 1, totals=totals), {"loss": value}

    return step


def epoch_step(
    step: Callable[[State, Batch], tuple[State, dict[str, Array]]], batch_size: int
) -> Callable[[State, Epoch], tuple[State, dict[str, Array]]]:
    """A step that takes its batch itself: the `batch_size` rows of the epoch's order from the state's cursor on."""

    def take_step(state: State, epoch: Epoch) -> tuple[State, dict[str, Array]]:
        xp = namespace_of(epoch.order)
        offsets = xp.arange(batch_size, dtype=xp.int32, **placed_as(epoch.order))
        rows = xp.take(epoch.order, state.cursor + offsets, axis=0)
        state, metrics = step(state, rows_of(epoch.data, rows))
        return state._replace(cursor=state.cursor + batch_size), metrics

    return take_step


def _added(totals: Totals, value: Array, batch: Batch, step: Array) -> Totals:
    """The epoch's sums with this batch counted in."""
    xp = namespace_of(value)
    if isinstance(batch.weights, tuple):
        weight = constant(batch.x.shape[0], value)
    else:
        weight = xp.sum(batch.weights)
    first = (totals.diverged_at < 0) & ~xp.isfinite(value)
    return Totals(
        loss=totals.loss + value * weight,
        weight=totals.weight + weight,
        diverged_at=xp.where(first, step, totals.diverged_at),
    )
