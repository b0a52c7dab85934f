"""Whole networks against oracles that share nothing with their backward passes: autodiff, a complex step, 40 digits."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import Parallel, Residual, Sequential, layers, losses, optim, random, registry
from mlpx.namespace import namespace_of
from mlpx.ops.regression_losses import half_squared_error
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values
from mlpx.testing.differences import complex_step_error
from mlpx.testing.drawing import draw_parameters

ROWS, WIDTH, CLASSES = 9, 6, 4
DIGITS = 40
STEPS, RATE = 5, 0.05

NETWORKS = {
    "lecture": Sequential(layers.Dense(WIDTH, 5, activation="logistic"), layers.Dense(5, CLASSES, activation="logistic")),
    "relu": Sequential(layers.Dense(WIDTH, 8, activation="relu"), layers.Dense(8, CLASSES)),
    "normalised": Sequential(
        layers.Dense(WIDTH, 8, activation="gelu"),
        layers.BatchNorm(8),
        layers.Dense(8, 7, activation="elu"),
        layers.LayerNorm(7),
        layers.Dense(7, CLASSES),
    ),
    "thinned": Sequential(
        layers.Dropout(0.25), layers.Dense(WIDTH, 8, activation="softplus"), layers.Dropout(0.5), layers.Dense(8, CLASSES)
    ),
    "residual": Sequential(
        layers.Dense(WIDTH, 8, activation="swish"),
        Residual(layers.LayerNorm(8), layers.Dense(8, 8, activation="selu"), layers.Dropout(0.2), layers.Dense(8, 8)),
        layers.Dense(8, CLASSES, activation="prelu"),
    ),
    "branched": Sequential(
        Parallel(
            Sequential(layers.Columns(0, 2), layers.Dense(2, 3, activation="tanh")),
            Sequential(layers.Columns(2, WIDTH), layers.Dense(WIDTH - 2, 5, activation="leaky_relu")),
        ),
        Parallel(layers.Dense(8, CLASSES), layers.Dense(8, CLASSES, activation="tanh"), combine="sum"),
    ),
}
SMOOTH = Sequential(
    layers.Dense(WIDTH, 8, activation="tanh"),
    layers.LayerNorm(8),
    Residual(layers.Dense(8, 8, activation="tanh"), layers.BatchNorm(8)),
    layers.Dense(8, CLASSES),
)
networks = pytest.mark.parametrize("name", NETWORKS)


def problem(net) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray | None]:
    """Parameters and buffers, rows, labels and a key."""
    values = draw_parameters(net, 5) | draw_parameters(net, 6, net.buffer_specs())
    generator = np.random.default_rng(7)
    x, labels = generator.standard_normal((ROWS, WIDTH)), generator.integers(0, CLASSES, ROWS).astype(np.int32)
    return values, x, labels, random.key(8) if net.stochastic else None


def our_gradients(net) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """∂loss/∂x and ∂loss/∂parameter by the written backward passes."""
    values, x, labels, key = problem(net)
    y, residuals = net.forward(values, x, train=True, key=key)
    _, dy = losses.get("softmax_cross_entropy")(y, labels)
    dx, grads = net.backward(values, residuals, dy)
    return dx, grads


def loss_by_equation(logits, labels):
    """−log softmax of the label, meant over rows, from nothing but exp, log and sum."""
    xp = namespace_of(logits)
    one_hot = xp.astype(labels[:, None] == xp.arange(CLASSES, dtype=labels.dtype)[None, :], logits.dtype)
    return xp.sum(xp.log(xp.sum(xp.exp(logits), axis=1)) - xp.sum(one_hot * logits, axis=1)) / ROWS


def torch_gradients(net) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    import torch

    values, x, labels, key = problem(net)
    tensors = {name: torch.tensor(value) for name, value in values.items()}
    leaves = {"x": torch.tensor(x), **{name: tensors[name] for name in net.specs()}}
    for leaf in leaves.values():
        leaf.requires_grad_()
    key = None if key is None else torch.tensor(key)
    y, _ = net.forward(tensors, leaves["x"], train=True, key=key)
    found = torch.autograd.grad(loss_by_equation(y, torch.tensor(labels)), list(leaves.values()))
    gradients = dict(zip(leaves, (one.numpy() for one in found), strict=True))
    return gradients.pop("x"), gradients


def jax_gradients(net) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    import jax

    values, x, labels, key = problem(net)
    fixed = {name: jax.numpy.asarray(values[name]) for name in net.buffer_specs()}
    key = None if key is None else jax.numpy.asarray(key)

    def objective(learned, x):
        y, _ = net.forward(learned | fixed, x, train=True, key=key)
        return loss_by_equation(y, jax.numpy.asarray(labels))

    learned = {name: jax.numpy.asarray(values[name]) for name in net.specs()}
    grads, dx = jax.jit(jax.grad(objective, argnums=(0, 1)))(learned, jax.numpy.asarray(x))
    return np.asarray(dx), {name: np.asarray(one) for name, one in grads.items()}


@networks
@pytest.mark.parametrize(("library", "oracle"), [("torch", torch_gradients), ("jax", jax_gradients)], ids=["torch", "jax"])
def test_gradients_of_a_network_are_those_of_autodiff(name, library, oracle):
    found = registry.availability(library)
    if not found.ok:
        pytest.skip(f"{library}: {found.reason} (cure: {found.cure})")
    net = NETWORKS[name]
    dx, grads = our_gradients(net)
    their_dx, theirs = oracle(net)
    assert grads.keys() == theirs.keys()
    # One forward and one backward pass for each block: `trajectory` counts just these.
    budget = budgets.trajectory(len(list(net.specs())), ROWS)
    for what, ours, reference in (("x", dx, their_dx), *((one, grads[one], theirs[one]) for one in grads)):
        assert_values(ours, reference, dtype="float64", budget=budget, what=f"gradient of {what}")


@networks
def test_the_short_backward_pass_gives_the_same_gradients(name):
    net = NETWORKS[name]
    values, x, labels, key = problem(net)
    y, residuals = net.forward(values, x, train=True, key=key)
    _, dy = losses.get("softmax_cross_entropy")(y, labels)
    _, grads = net.backward(values, residuals, dy)
    short = net.parameter_gradients(values, residuals, dy)
    assert short.keys() == grads.keys()
    for one in grads:
        np.testing.assert_array_equal(short[one], grads[one], err_msg=one)


@pytest.mark.parametrize("seed", [0, 5])
def test_first_parameters_are_drawn_from_the_documented_keys(seed):
    net = NETWORKS["residual"]
    params = net.init(seed, dtype="float64")
    key = random.fold_in(random.key(seed), random.Purpose.INIT)
    for number, (name, spec) in enumerate(net.specs().items()):
        drawn = spec.initializer.draw(random.fold_in(key, number), spec.shape, "float64")
        np.testing.assert_array_equal(params[name], drawn, err_msg=name)
    assert not np.array_equal(params.flat, net.init(seed + 1, dtype="float64").flat)


def test_gradients_of_a_smooth_network_are_those_of_a_complex_step():
    values, x, _, _ = problem(SMOOTH)
    names = list(SMOOTH.specs())
    targets = np.random.default_rng(9).standard_normal((ROWS, CLASSES))

    def rows(x, *learned):
        y, _ = SMOOTH.forward(values | dict(zip(names, learned, strict=True)), x, train=True)
        return half_squared_error.definition(y, targets)[0]

    y, residuals = SMOOTH.forward(values, x, train=True)
    dy = half_squared_error.gradient(np.ones(ROWS), half_squared_error(y, targets)[1])
    dx, grads = SMOOTH.backward(values, residuals, dy)
    inputs = [x, *(values[name] for name in names)]
    for index, (name, gradient) in enumerate({"x": dx, **{name: grads[name] for name in names}}.items()):
        error = complex_step_error(rows, inputs, index, gradient, np.ones(ROWS))
        assert error <= budgets.COMPLEX_STEP, f"gradient of {name}: relative error {error:.3g}"


def trained(net, params, x, labels, rate) -> tuple[list, dict]:
    """Losses and parameters of some steps of Adam, on arrays of any library."""
    rule, found, params = optim.Adam(RATE), [], dict(params)
    states = {name: rule.init(value) for name, value in params.items()}
    for _ in range(STEPS):
        y, residuals = net.forward(params, x, train=True)
        value, dy = losses.get("softmax_cross_entropy")(y, labels)
        _, grads = net.backward(params, residuals, dy)
        found.append(value)
        for name in params:
            params[name], states[name] = rule.update(params[name], grads[name], states[name], rate)
    return found, params


def trained_with_digits(digits: int, net, values, x, labels) -> tuple[list, dict[str, np.ndarray]]:
    """The same by the unchanged code on mpmath's numbers; the losses as such numbers."""
    mparray = pytest.importorskip("mparray", reason="mparray is not installed (cure: pip install mparray)")
    with mparray.mpmath.workdps(digits):
        params = {name: mparray.asarray(value) for name, value in values.items()}
        found, params = trained(net, params, mparray.asarray(x), mparray.asarray(labels), mparray.asarray(RATE))
        flat = {name: mparray.reshape(one, (-1,)) for name, one in params.items()}
        rounded = {name: np.asarray([float(one[i]) for i in range(one.size)]) for name, one in flat.items()}
        found = [mparray.mpmath.mpf(one[()]._data.item()) for one in found]
    return found, {name: rounded[name].reshape(value.shape) for name, value in values.items()}


def small_problem():
    net = Sequential(layers.Dense(3, 4, activation="tanh"), layers.LayerNorm(4), layers.Dense(4, 3, activation="logistic"))
    x = np.random.default_rng(2).standard_normal((5, 3))
    return net, draw_parameters(net, 1), x, np.asarray([0, 2, 1, 1, 0], dtype=np.int32)


def test_a_small_network_forward_backward_and_adam_are_right_to_the_last_digits():
    net, values, x, labels = small_problem()
    expected_losses, expected = trained_with_digits(DIGITS, net, values, x, labels)
    found, params = trained(net, values, x, labels, np.asarray(RATE))
    budget = budgets.trajectory(STEPS, 5)
    assert_values(
        np.asarray(found), np.asarray([float(one) for one in expected_losses]), dtype="float64", budget=budget, what="losses"
    )
    for name, reference in expected.items():
        assert_values(params[name], reference, dtype="float64", budget=budget, what=name)


def test_the_forty_digits_are_forty_digits():
    mparray = pytest.importorskip("mparray", reason="mparray is not installed (cure: pip install mparray)")
    few, many = (trained_with_digits(digits, *small_problem())[0] for digits in (DIGITS, 2 * DIGITS))
    with mparray.mpmath.workdps(2 * DIGITS):
        for one, other in zip(few, many, strict=True):
            assert 0 < abs(one - other) < mparray.mpmath.mpf(10) ** -(DIGITS - 5)  # five digits for a few hundred operations
