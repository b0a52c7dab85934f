"""Every layer keeps its contract on every library, and gives the numbers of its twin in torch.nn."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import STANDARD_ERRORS

from mlpx import Parallel, Residual, Sequential, layers, random
from mlpx.testing import budgets, check_layer
from mlpx.testing.assertions import assert_values
from mlpx.testing.drawing import draw_parameters

ROWS, WIDTH = 7, 5
STEPS = 4
BUDGET = budgets.trajectory(1, ROWS)
BLOCKS = {
    "dense": layers.Dense(WIDTH, 3),
    "dense-tanh": layers.Dense(WIDTH, 3, activation="tanh"),
    "dense-prelu": layers.Dense(WIDTH, 3, activation="prelu"),
    "swish-learned": layers.Activation("swish", WIDTH, beta="learned"),
    "leaky-relu": layers.Activation("leaky_relu", slope=0.2),
    "batch-norm": layers.BatchNorm(WIDTH, momentum=0.3),
    "layer-norm": layers.LayerNorm(WIDTH),
    "dropout": layers.Dropout(0.4),
    "columns": layers.Columns(1, 3),
    "sequential": Sequential(layers.Dense(WIDTH, 4, activation="tanh"), layers.Dropout(0.3), layers.Dense(4, 2)),
    "residual": Residual(layers.Dense(WIDTH, WIDTH, activation="tanh")),
    "concat": Parallel(layers.Dense(WIDTH, 2), layers.Dense(WIDTH, 3)),
    "sum": Parallel(layers.Dense(WIDTH, 2), layers.Dense(WIDTH, 2), combine="sum"),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_layer_keeps_its_contract(name, backend_variant):
    check_layer(BLOCKS[name], (ROWS, WIDTH), backend_variant)


def test_flatten_keeps_its_contract(backend_variant):
    check_layer(layers.Flatten(), (ROWS, 2, 3), backend_variant)


def test_embedding_keeps_its_contract(backend_variant):
    x = np.asarray([[0, 3], [3, 1], [2, 2]], dtype=np.int32)
    check_layer(layers.Embedding(4, 3), variants=backend_variant, x=x)


def twin_of(layer, values):
    """The torch.nn module with these parameters."""
    import torch

    made = {
        layers.Dense: lambda: torch.nn.Linear(layer.n_in, layer.n_out),
        layers.BatchNorm: lambda: torch.nn.BatchNorm1d(layer.features, eps=layer.eps, momentum=layer.momentum),
        layers.LayerNorm: lambda: torch.nn.LayerNorm(layer.features, eps=layer.eps),
    }[type(layer)]().double()
    named = {"gain": "weight", "offset": "bias", "running_mean": "running_mean", "running_variance": "running_var"}
    with torch.no_grad():
        for name, value in values.items():
            getattr(made, named.get(name, name)).copy_(torch.tensor(value))
    return made


@pytest.mark.parametrize("train", [True, False], ids=["training", "prediction"])
@pytest.mark.parametrize(
    "layer",
    [layers.Dense(WIDTH, 3), layers.BatchNorm(WIDTH, momentum=0.3, eps=1e-3), layers.LayerNorm(WIDTH, eps=1e-3)],
    ids=repr,
)
def test_layer_gives_what_its_torch_twin_gives_for_several_batches(layer, train):
    torch = pytest.importorskip("torch")
    values = draw_parameters(layer, 1) | draw_parameters(layer, 2, layer.buffer_specs())
    twin = twin_of(layer, values).train(train)
    generator = np.random.default_rng(3)
    for _ in range(STEPS):
        x = 1.5 + generator.standard_normal((ROWS, WIDTH))
        y, residuals = layer.forward(values, x, train=train)
        dy = generator.standard_normal(y.shape)
        dx, grads = layer.backward(values, residuals, dy)
        leaf = torch.tensor(x, requires_grad=True)
        theirs = twin(leaf)
        twin.zero_grad()
        theirs.backward(torch.tensor(dy))
        names = {"gain": "weight", "offset": "bias"}
        pairs = {"y": (y, theirs.detach()), "dx": (dx, leaf.grad)}
        pairs |= {name: (grad, getattr(twin, names.get(name, name)).grad) for name, grad in grads.items()}
        if train:
            values = values | layer.updated_buffers(values, residuals)
        if layer.buffer_specs():
            pairs |= {
                "mean": (values["running_mean"], twin.running_mean),
                "variance": (values["running_variance"], twin.running_var),
            }
        for what, (ours, reference) in pairs.items():
            assert_values(ours, reference.numpy(), dtype="float64", budget=BUDGET, what=what)


def test_embedding_adds_up_what_repeated_categories_receive_as_torch_does():
    torch = pytest.importorskip("torch")
    layer = layers.Embedding(4, 3)
    table = draw_parameters(layer)["table"]
    x = np.asarray([[0, 3, 3], [3, 1, 0]], dtype=np.int32)
    y, residuals = layer.forward({"table": table}, x)
    dy = np.random.default_rng(4).standard_normal(y.shape)
    _, grads = layer.backward({"table": table}, residuals, dy)
    weight = torch.tensor(table, requires_grad=True)
    theirs = torch.nn.functional.embedding(torch.tensor(x), weight)
    theirs.backward(torch.tensor(dy))
    np.testing.assert_array_equal(y, theirs.detach().numpy())
    assert_values(grads["table"], weight.grad.numpy(), dtype="float64", budget=budgets.product(x.size), what="table")


def test_dropout_drops_its_share_by_the_key_and_keeps_the_mean():
    rate, n = 0.3, 20_000
    layer, x = layers.Dropout(rate), np.ones((n, 1))
    y, residuals = layer.forward({}, x, train=True, key=random.key(5))
    kept = y != 0
    deviation = np.sqrt(rate * (1 - rate) / n)
    assert abs(np.mean(kept) - (1 - rate)) < STANDARD_ERRORS * deviation
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=np.finfo(float).eps)
    np.testing.assert_array_equal(layer.backward({}, residuals, x)[0], y)
    np.testing.assert_array_equal(kept[:, 0], random.uniform(random.key(5), n) < np.float32(1 - rate))
    assert not np.array_equal(layer.forward({}, x, train=True, key=random.key(6))[0], y)
    assert layer.forward({}, x, train=False)[0] is x


def test_a_flip_is_false_where_the_uniform_number_is_just_p_on_the_edge():
    u = random.uniform(random.key(3), 40)
    for place in range(40):
        flips = random.bernoulli(random.key(3), float(u[place]), 40)
        np.testing.assert_array_equal(flips, u < u[place])
