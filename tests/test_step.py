"""The pure step: a function of its arguments, on every library, compiled or not."""

from __future__ import annotations

import numpy as np
import pytest
from specimens import NETWORKS, assert_near, digest, nested, plain, regression, table
from tolerances import TRAINED_BY_HAND

import mlpx
from mlpx import losses, optim, registry, transfer
from mlpx.parameters import Parameters
from mlpx.step import (
    Batch,
    Descent,
    Epoch,
    Objective,
    State,
    copied,
    empty_totals,
    epoch_step,
    initial_state,
    network_parameters,
    rows_of,
    training_step,
)
from mlpx.testing import budgets
from mlpx.testing.variants import available_variants

NET = nested()
OBJECTIVE = Objective(NET, losses.get("softmax_cross_entropy"), l2=0.01)
DESCENT = Descent(optim.Adam(0.01), clip_norm=1.0, clip_value=0.5, ema_decay=0.9)
STEP = training_step(OBJECTIVE, DESCENT)


def arrays(dtype: str) -> tuple[State, Batch]:
    x, y = table(8)
    state = initial_state(NET.init(seed=1, dtype=dtype), DESCENT.optimizer, 3, averaged=True)
    return state, Batch(x.astype(dtype), y.astype(np.int32), np.linspace(0.5, 2.0, 8).astype(dtype))


def mapped(function, value):
    if isinstance(value, tuple):
        parts = [mapped(function, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return function(value)


def flattened(value):
    return [leaf for part in value for leaf in flattened(part)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_run_twice_gives_the_same_bits_and_leaves_its_arguments_alone(dtype):
    state, batch = arrays(dtype)
    for array in flattened((state, batch)):
        array.flags.writeable = False
    before = digest(state, batch)
    first, second = STEP(state, batch), STEP(state, batch)
    assert digest(state, batch) == before
    assert digest(*first) == digest(*second)
    assert digest(first[0]) != digest(state)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_keeps_the_structure_dtypes_and_shapes_of_its_state(dtype):
    state, batch = arrays(dtype)
    after, metrics = STEP(state, batch)
    kinds = [[(np.asarray(leaf).dtype, np.shape(leaf)) for leaf in flattened(one)] for one in (state, after)]
    assert kinds[0] == kinds[1]
    assert after.step == 1
    assert after.cursor == state.cursor
    assert set(metrics) == {"loss"}


@pytest.mark.parametrize("variant", [v for v in available_variants() if v.name not in ("numpy", "jax:cpu")], ids=str)
def test_a_step_is_the_same_on_every_library(variant):
    """Three steps, as the library runs them: eager, read-only, without values (shapes alone), under a compiler."""
    dtype = "float64" if "float64" in variant.floating else "float32"
    state, batch = arrays(dtype)
    expected = state
    for _ in range(3):
        expected, metrics = STEP(expected, batch)
    there, given = mapped(variant.put, state), mapped(variant.put, batch)
    step = variant.wrap(STEP)
    for _ in range(3):
        there, found = step(there, given)
    assert [tuple(a.shape) for a in flattened(there)] == [np.shape(a) for a in flattened(expected)]
    if not variant.materialises:
        return
    for name, got, wanted in zip(State._fields, there, expected, strict=True):
        for one, other in zip(flattened((got,)), flattened((wanted,)), strict=True):
            assert variant.get(one).dtype == np.asarray(other).dtype, name
            assert_near(variant.get(one), other, budgets.trajectory(3, 9) * np.finfo(dtype).eps)
    assert_near(variant.get(found["loss"]), metrics["loss"], budgets.trajectory(3, 9) * np.finfo(dtype).eps)


def test_a_compiled_step_may_have_the_state_it_is_given():
    jax = pytest.importorskip("jax")
    x, y = table(8)
    step = training_step(Objective(plain(), losses.get("softmax_cross_entropy")), DESCENT)
    state = initial_state(plain().init(device="jax:cpu"), DESCENT.optimizer, 3, averaged=True)
    batch = Batch(jax.numpy.asarray(x, dtype="float32"), jax.numpy.asarray(y, dtype="int32"))
    compiled = registry.require("jax").compile(step, (state, batch))
    after, _ = compiled(state, batch)
    assert state.params.is_deleted()
    assert not batch.x.is_deleted()
    assert bool(jax.numpy.all(jax.numpy.isfinite(after.params)))


@pytest.mark.parametrize("device", ["numpy", "torch:cpu", "jax:cpu", "strict:device1"])
def test_a_copy_shares_no_memory(device):
    mlpx.testing.register_strict()
    state = initial_state(NET.init(device=device), DESCENT.optimizer, 3, averaged=True)
    twin = copied(state)
    assert type(twin) is State
    assert digest(twin) == digest(state)
    if device == "numpy":
        assert not any(np.shares_memory(a, b) for a, b in zip(flattened(state), flattened(twin), strict=True) if a.size)
    if device == "torch:cpu":
        assert twin.params.data_ptr() != state.params.data_ptr()
    if device == "jax:cpu":
        assert twin.params.unsafe_buffer_pointer() != state.params.unsafe_buffer_pointer()
    assert transfer.device(twin.params) == transfer.device(device)


def test_the_first_state_owns_its_memory_and_begins_at_zero():
    params = plain().init(seed=1)
    state = initial_state(params, None, 7)
    assert not np.shares_memory(state.params, params.flat)
    assert state.optimizer == ()
    assert state.average == ()
    assert (int(state.step), int(state.cursor), float(state.rate_scale)) == (0, 0, 1.0)
    assert state.totals == empty_totals(state.params)
    assert int(state.totals.diverged_at) == -1
    np.testing.assert_array_equal(network_parameters(plain(), state)["0.weight"], params["0.weight"])


def test_the_value_is_the_mean_loss_and_half_lambda_times_the_squared_weights():
    """By hand, from the formula of the lecture: R = 1/N Σ L + ½ λ ‖W‖², with the weights and not the biases."""
    net = mlpx.Sequential(mlpx.layers.Dense(2, 1))
    params = net.parameters({"0.weight": np.asarray([[1.0, -2.0]]), "0.bias": np.asarray([10.0])})
    batch = Batch(np.asarray([[1.0, 1.0], [0.0, 0.0]]), np.asarray([[9.0], [12.0]]))
    value, grads, _ = Objective(net, losses.get("half_squared_error"), l2=0.5).gradient(params, batch, None)
    # outputs 9 and 10: losses 0 and ½ 2² = 2, mean 1; ½ · ½ · (1 + 4) = 1.25
    assert float(value) == 2.25
    found = Parameters(net.layout, grads)
    assert found["0.weight"].tolist() == [[0.5, -1.0]]  # x of the second row is 0; the rest is λ W
    assert found["0.bias"].tolist() == [-1.0]  # (10 − 12) / 2


@pytest.mark.parametrize("name", ["nested", "embedded"])
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_gradient_of_the_objective_is_that_of_automatic_differentiation(name, library):
    pytest.importorskip(library)
    net, (x, y) = NETWORKS[name](), table(9)
    weights = np.linspace(0.2, 1.5, 9)
    objective = Objective(net, losses.get("softmax_cross_entropy"), l2=0.3)
    params, key = net.init(seed=2, dtype="float64"), mlpx.random.key(5)
    _, expected, _ = objective.gradient(params, Batch(x, y.astype(np.int32), weights), key)

    def value(flat, buffers, *batch):
        return objective.gradient(
            Parameters(net.layout, flat, Parameters(net.buffer_layout, buffers)), Batch(*batch[:3]), batch[3]
        )[0]

    given = (params.flat, params.buffers.flat, x, y.astype(np.int32), weights, key)
    if library == "torch":
        import torch

        moved = [torch.tensor(np.asarray(array)) for array in given]
        moved[0].requires_grad_()
        value(*moved).backward()
        found = moved[0].grad.numpy()
    else:
        import jax

        found = np.asarray(jax.jit(jax.grad(value))(*map(jax.numpy.asarray, given)))
    assert_near(found, expected, TRAINED_BY_HAND)


def test_an_epoch_step_takes_its_rows_in_order_and_moves_on():
    x, y = regression(7)
    net = plain(2)
    objective = Objective(net, losses.get("mse"))
    step = training_step(objective, Descent(optim.SGD(0.1)))
    state = initial_state(net.init(dtype="float64"), optim.SGD(0.1), 0)
    order = np.asarray([6, 2, 4, 0, 1, 3, 5], dtype=np.int32)
    epoch = Epoch(Batch(x, y, np.arange(1.0, 8.0)), order)
    by_epoch = state
    for rows in (3, 3, 1):
        by_epoch, _ = epoch_step(step, rows)(by_epoch, epoch)
    by_hand = state
    for rows in (order[:3], order[3:6], order[6:]):
        by_hand, _ = step(by_hand, Batch(x[rows], y[rows], np.arange(1.0, 8.0)[rows]))
    assert int(by_epoch.cursor) == 7
    assert digest(by_epoch._replace(cursor=by_hand.cursor)) == digest(by_hand)
    assert rows_of(Batch(x, y), order[:2]).x.tolist() == x[[6, 2]].tolist()


def test_totals_say_when_the_first_loss_was_not_finite():
    net = plain()
    step = training_step(Objective(net, losses.get("softmax_cross_entropy")), Descent(optim.SGD(1e-30)))
    state = initial_state(net.init(dtype="float64"), optim.SGD(1e-30), 0)
    x, y = table(4)
    broken = x.copy()
    broken[1, 3] = np.nan
    for rows in (x, broken, x, broken):
        good = state
        with np.errstate(invalid="ignore"):
            state, _ = step(good, Batch(rows, y.astype(np.int32)))
        state = state._replace(params=good.params)
    assert int(state.totals.diverged_at) == 1
    assert float(state.totals.weight) == 16
