"""Networks of networks: gradients, layout, first parameters, shapes, tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from specimens import NETWORKS, WIDTH, embedded, nested, plain, table

import mlpx
from mlpx import Parallel, Residual, Sequential, layers, random, registry
from mlpx.errors import ConfigError, InvalidInputError, ResourceLimitError
from mlpx.layers import Layer, initializers
from mlpx.layers.base import Spec
from mlpx.parameters import ALIGNMENT, Layout
from mlpx.testing import budgets, check_gradients, check_layer

SMOOTH = ["tanh", "logistic", "swish", "gelu", "softplus", None]


@st.composite
def blocks(draw, width: int, depth: int = 2) -> Layer:
    """A block that turns `width` features into `width` features, made of blocks."""
    kinds = ["dense", "layer_norm", "batch_norm", "activation", "dropout"]
    kinds += ["residual", "sequential", "concat", "sum", "columns"] if depth else []
    kind = draw(st.sampled_from(kinds))
    inner = blocks(width, depth - 1) if depth else None
    if kind == "layer_norm":
        return layers.LayerNorm(width)
    if kind == "batch_norm":
        return layers.BatchNorm(width)
    if kind == "activation":
        return layers.Activation("swish", features=width, beta="learned")
    if kind == "dropout":
        return layers.Dropout(draw(st.sampled_from([0.0, 0.3])))
    if kind == "residual":
        return Residual(*draw(st.lists(inner, min_size=1, max_size=2)))
    if kind == "sequential":
        return Sequential(*draw(st.lists(inner, min_size=1, max_size=3)))
    if kind == "sum":
        return Parallel(*draw(st.lists(inner, min_size=1, max_size=3)), combine="sum")
    if kind == "concat":
        branches = draw(st.lists(inner, min_size=1, max_size=2))
        return Sequential(Parallel(*branches), layers.Dense(width * len(branches), width))
    if kind == "columns":
        cut = draw(st.integers(1, width - 1))
        return Parallel(layers.Columns(0, cut), Sequential(layers.Columns(cut, width), layers.LayerNorm(width - cut)))
    return layers.Dense(width, width, activation=draw(st.sampled_from(SMOOTH)))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data(), width=st.integers(2, 5), rows=st.integers(3, 6), train=st.booleans())
def test_backward_of_any_network_is_the_derivative_of_its_forward(data, width, rows, train):
    net = Sequential(*data.draw(st.lists(blocks(width), min_size=1, max_size=3)))
    x = np.random.default_rng(1).standard_normal((rows, width))
    key = random.key(3)
    check_gradients(net, x, train=train, key=key)
    params = net.init(seed=1, dtype="float64")
    y, residuals = net.forward(params, x, train=train, key=key)
    assert y.shape == net.output_shape(x.shape) == (rows, width)
    _, grads = net.backward(params, residuals, y)
    np.testing.assert_array_equal(net.parameter_gradients(params, residuals, y).flat, grads.flat)


@pytest.mark.parametrize("name", ["nested", "plain"])
def test_networks_keep_the_contract_of_a_layer_everywhere(name):
    check_layer(NETWORKS[name](), (5, WIDTH), ["numpy", "numpy:readonly", "strict", "torch"], terms=200)


def test_an_embedding_beside_numbers_has_gradients_for_both():
    x, _ = table(7)
    net = embedded()
    params = net.init(seed=1, dtype="float64")
    generator = np.random.default_rng(0)
    y, residuals = net.forward(params, x, train=True, key=random.key(1))
    dy = generator.standard_normal(y.shape)
    dx, grads = net.backward(params, residuals, dy)
    assert (dx[:, :2] == 0).all()
    assert dx.shape == x.shape
    for name in params:
        u = generator.standard_normal(params[name].shape)
        values = []
        for h in (1e-6, -1e-6):
            moved = net.parameters({**params, name: params[name] + h * u})
            values.append(float(np.sum(net.forward(moved, x, train=True, key=random.key(1))[0] * dy)))
        slope = (values[0] - values[1]) / 2e-6
        assert slope == pytest.approx(float(np.sum(grads[name] * u)), rel=budgets.GRADIENT, abs=budgets.GRADIENT)
    repeated = grads["0.0.1.table"]
    assert np.count_nonzero(np.abs(repeated).sum(axis=1)) == len(np.unique(x[:, :2]))


def test_blocks_are_numbered_and_each_parameter_has_its_own_aligned_place():
    net = nested()
    names = list(net.layout.entries)
    assert names[:4] == ["0.weight", "0.bias", "1.0.gain", "1.0.offset"]
    assert "2.1.0.slope" in names
    assert list(net.buffer_layout.entries) == ["3.running_mean", "3.running_variance"]
    free = 0
    for entry in net.layout.entries.values():
        assert entry.offset == free
        assert entry.offset % ALIGNMENT == 0
        assert entry.size == np.prod(entry.shape)
        free = entry.stop + entry.gap
    assert free == net.layout.length
    assert net.layout.size == sum(entry.size for entry in net.layout.entries.values())


def test_parameters_are_slices_of_one_vector_and_the_gaps_are_zero():
    net = plain()
    params = net.init(seed=1)
    assert all(np.shares_memory(params[name], params.flat) for name in params)
    gaps = np.ones(net.layout.length, dtype=bool)
    for entry in net.layout.entries.values():
        gaps[entry.offset : entry.stop] = False
    assert (params.flat[gaps] == 0).all()
    given = dict(params)
    again = net.parameters(given)
    np.testing.assert_array_equal(again.flat, params.flat)
    assert not any(np.shares_memory(again[name], given[name]) for name in again)
    assert len(params) == 4
    assert params.size == WIDTH * 8 + 8 + 8 * 3 + 3
    assert "0.weight: (8, 6)" in repr(params)
    with pytest.raises(KeyError, match="nothing"):
        params["nothing"]


@pytest.mark.parametrize("device", ["torch:cpu", "jax:cpu", "strict:device1"])
def test_first_parameters_are_the_same_numbers_everywhere(device):
    mlpx.testing.register_strict()
    here = nested().init(seed=5)
    there = nested().init(seed=5, device=device)
    np.testing.assert_array_equal(mlpx.to_numpy(there.flat), here.flat)
    np.testing.assert_array_equal(mlpx.to_numpy(there.buffers.flat), here.buffers.flat)
    assert mlpx.device(there.flat) == mlpx.device(device)
    assert not np.array_equal(nested().init(seed=6).flat, here.flat)
    assert here["3.running_variance"].tolist() == [1.0] * 9  # buffers by name too


def test_float32_parameters_are_the_float64_ones_rounded():
    wide, narrow = plain().init(seed=2, dtype="float64"), plain().init(seed=2, dtype="float32")
    np.testing.assert_array_equal(wide.flat.astype(np.float32), narrow.flat)


def test_buffers_may_be_left_out_or_given():
    net = Sequential(layers.BatchNorm(2))
    arrays = {"0.gain": np.ones(2), "0.offset": np.zeros(2)}
    assert net.parameters(arrays)["0.running_variance"].tolist() == [1.0, 1.0]
    given = net.parameters({**arrays, "0.running_mean": np.asarray([3.0, 4.0])})
    assert given["0.running_mean"].tolist() == [3.0, 4.0]
    assert len(given) == 2


def test_a_residual_adds_its_input_and_parallel_puts_side_by_side_or_adds():
    """By hand: W x with W = 2 I, on x = (1, 3)."""
    x = np.asarray([[1.0, 3.0]])
    double = {"weight": 2 * np.eye(2), "bias": np.zeros(2)}
    for net, prefixes, expected in (
        (Residual(layers.Dense(2, 2)), ("0.",), [3.0, 9.0]),
        (Parallel(layers.Dense(2, 2), layers.Columns(1, 2)), ("0.",), [2.0, 6.0, 3.0]),
        (Parallel(layers.Dense(2, 2), layers.Dense(2, 2), combine="sum"), ("0.", "1."), [4.0, 12.0]),
        (Sequential(layers.Dense(2, 2), layers.Dense(2, 2)), ("0.", "1."), [4.0, 12.0]),
    ):
        params = net.parameters({p + name: array for p in prefixes for name, array in double.items()})
        assert net.forward(params, x)[0].tolist() == [expected]


def test_dropout_draws_anew_for_every_key_and_every_layer_and_not_in_prediction():
    net = Sequential(layers.Dropout(0.5), Parallel(layers.Dropout(0.5), layers.Dropout(0.5)))
    params, x = net.init(), np.ones((50, 8), dtype=np.float32)
    drawn = [net.forward(params, x, train=True, key=random.key(seed))[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0][:, :8], drawn[0][:, 8:])
    np.testing.assert_array_equal(net.forward(params, x)[0], np.ones((50, 16)))


@pytest.mark.parametrize(
    ("net", "shape", "says"),
    [
        (Sequential(layers.Dense(4, 3), layers.Dense(4, 2)), (5, 4), "layer 1: Dense.n_in=4.*3 features"),
        (Residual(layers.Dense(4, 3)), (5, 4), r"Residual adds its input.*\(5, 4\) into \(5, 3\)"),
        (Parallel(layers.Dense(4, 3), layers.Dense(4, 2), combine="sum"), (5, 4), "different shapes"),
        (Parallel(layers.Embedding(3, 2), layers.Dense(4, 2)), (5, 4), "side by side"),
        (Sequential(layers.Columns(2, 9)), (5, 4), "at least 9 columns"),
        (Sequential(layers.Dense(4, 3)), (5, 2, 4), "two axes.*Flatten"),
        (Sequential(layers.BatchNorm(4)), (5, 2, 4), "two axes.*Flatten"),
        (Sequential(layers.Dense(4, 3)), (), "got an input of shape"),
    ],
)
def test_blocks_that_do_not_fit_are_named(net, shape, says):
    with pytest.raises(InvalidInputError, match=says):
        net.output_shape(shape)


def test_a_composition_needs_blocks():
    for kind in (Sequential, Residual, Parallel):
        with pytest.raises(ConfigError, match="at least one block"):
            kind()


def test_first_parameters_are_refused_where_memory_is_short(monkeypatch):
    backend = registry.require("numpy")
    monkeypatch.setattr(backend, "memory", lambda device: registry.Memory(1000, 2000))
    with pytest.raises(ResourceLimitError, match=r"the parameters need 0.0 GiB, numpy has 0.0 GiB free"):
        Sequential(layers.Dense(100, 100)).init()
    Sequential(layers.Dense(4, 4)).init()


def test_a_layout_is_its_names_and_shapes():
    spec = Spec((2, 3), initializers.get("normal"))
    one, same, other = Layout({"a": spec}), Layout({"a": spec}), Layout({"b": spec})
    assert one == same != other
    assert hash(one) == hash(same)
    assert Layout({}).flatten({}, np.zeros(0)).shape == (0,)


def test_the_table_shows_every_block_with_shape_and_parameters():
    summary = nested().summary()
    rows = [(row.name, row.layer.strip(), row.output_shape, row.parameters) for row in summary.rows]
    assert rows == [
        ("0", "Dense(n_in=6, n_out=8, activation='gelu')", "(n, 8)", 56),
        ("1", "Residual", "(n, 8)", 88),
        ("1.0", "LayerNorm(features=8, eps=1e-05)", "(n, 8)", 16),
        ("1.1", "Dense(n_in=8, n_out=8, activation='swish')", "(n, 8)", 72),
        ("1.2", "Dropout(rate=0.2)", "(n, 8)", 0),
        ("2", "Parallel", "(n, 9)", 86),
        ("2.0", "Dense(n_in=8, n_out=4, activation='tanh')", "(n, 4)", 36),
        ("2.1", "Sequential", "(n, 5)", 50),
        ("2.1.0", "Dense(n_in=8, n_out=5, activation='prelu')", "(n, 5)", 50),
        ("2.1.1", "Dropout(rate=0.1)", "(n, 5)", 0),
        ("3", "BatchNorm(features=9, momentum=0.1, eps=1e-05)", "(n, 9)", 18),
        ("4", "Parallel", "(n, 3)", 60),
        ("4.0", "Dense(n_in=9, n_out=3)", "(n, 3)", 30),
        ("4.1", "Dense(n_in=9, n_out=3, activation='softplus')", "(n, 3)", 30),
    ]
    assert summary.parameters == 56 + 88 + 86 + 18 + 60
    assert summary.buffers == 18
    text = str(summary)
    assert "308 parameters" in text.splitlines()[0]
    assert all(row.layer in text and row.output_shape in text for row in summary.rows)


def test_the_table_takes_an_input_shape_where_it_cannot_be_guessed():
    known = embedded().summary((1, WIDTH))
    assert [row.output_shape for row in known.rows] == [
        "(n, 10)",
        "(n, 6)",
        "(n, 2)",
        "(n, 2, 3)",
        "(n, 6)",
        "(n, 4)",
        "(n, 8)",
        "(n, 8)",
        "(n, 3)",
    ]
    guessed = embedded().summary()
    assert guessed.parameters == known.parameters
    with pytest.raises(InvalidInputError, match="layer 0"):
        plain().summary((1, 99))


def test_repr_shows_what_would_make_the_network_again():
    net = Sequential(layers.Dense(2, 3, "relu"), Residual(layers.LayerNorm(3)), Parallel(layers.Dense(3, 1), combine="sum"))
    names = {"Sequential": Sequential, "Residual": Residual, "Parallel": Parallel, **vars(layers)}
    assert repr(eval(repr(net), names)) == repr(net)
