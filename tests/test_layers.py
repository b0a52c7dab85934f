"""Layers one by one: what they declare, what they keep, what they refuse. Their numbers are in test_oracles_layers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlpx import layers, random
from mlpx.errors import ConfigError, InvalidInputError, InvalidTypeError
from mlpx.layers import initializers
from mlpx.ops.activations import ACTIVATIONS
from mlpx.store.model import layer_config, layer_from_config
from mlpx.testing import check_layer

EVERY = [
    layers.Dense(4, 3),
    layers.Dense(4, 3, "relu"),
    layers.Dense(4, 3, layers.Activation("leaky_relu", slope=0.3)),
    layers.Dense(4, 3, layers.Activation("swish", beta="learned")),
    layers.Dense(4, 3, "prelu", weight_init={"name": "normal", "scale": 0.5}, bias_init="ones"),
    layers.Activation("prelu", features=4),
    layers.Activation("elu", alpha=0.5),
    layers.Dropout(0.25),
    layers.LayerNorm(4, eps=1e-3),
    layers.BatchNorm(4, momentum=0.3, eps=1e-4),
    layers.Embedding(5, 2, table_init="he_uniform"),
    layers.Columns(1, 3),
    layers.Flatten(),
]


@pytest.mark.parametrize("layer", EVERY, ids=repr)
def test_a_layer_is_what_its_configuration_says(layer):
    config = json.loads(json.dumps(layer_config(layer)))
    again = layer_from_config(config)
    assert repr(again) == repr(layer)
    assert {name: spec.shape for name, spec in again.specs().items()} == {name: s.shape for name, s in layer.specs().items()}
    key = random.key(1)
    for name, spec in layer.specs().items():
        drawn, redrawn = (one.initializer.draw(key, one.shape) for one in (spec, again.specs()[name]))
        np.testing.assert_array_equal(drawn, redrawn)


@pytest.mark.parametrize("layer", EVERY, ids=repr)
def test_what_a_layer_learns_has_gradients_of_its_names_and_shapes(layer):
    x = np.asarray([[0.5, 1.0, 2.0, 3.0], [1.5, 4.0, 0.0, 1.0], [-0.5, 2.0, 1.0, 0.0]])
    x = np.abs(x).astype(int) if isinstance(layer, layers.Embedding) else x
    params = {name: spec.initializer.draw(random.key(2), spec.shape, "float64") for name, spec in layer.specs().items()}
    y, residuals = layer.forward(params, x, train=True, key=random.key(0))
    dx, grads = layer.backward(params, residuals, np.ones_like(y))
    assert {name: grad.shape for name, grad in grads.items()} == {name: spec.shape for name, spec in layer.specs().items()}
    assert dx is None or dx.shape == x.shape
    for name, grad in layer.parameter_gradients(params, residuals, np.ones_like(y)).items():
        np.testing.assert_array_equal(grad, grads[name])


def test_weights_are_penalised_and_nothing_else():
    penalised = {name for layer in EVERY for name, spec in layer.specs().items() if spec.penalised}
    assert penalised == {"weight", "table"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dense_starts_as_its_activation_wants(name):
    layer = layers.Dense(4, 3, name)
    assert layer.weight_init == initializers.default_for(name)
    assert layers.Dense(4, 3, name, weight_init="lecun_uniform").weight_init == initializers.get("lecun_uniform")
    assert (layer.specs()["bias"].initializer.draw(random.key(0), (3,)) == 0).all()


def test_identity_is_no_activation():
    assert layers.Dense(4, 3, "identity").activation is None
    assert repr(layers.Dense(4, 3, "identity")) == "Dense(n_in=4, n_out=3)"


def test_a_learned_slope_needs_to_know_how_many_units():
    with pytest.raises(ConfigError, match="features="):
        layers.Activation("prelu").specs()
    assert layers.Dense(4, 3, layers.Activation("prelu")).specs()["slope"].shape == (3,)
    with pytest.raises(InvalidInputError, match="4 features"):
        layers.Activation("prelu", features=4).output_shape((2, 3))
    with pytest.raises(InvalidTypeError, match="activation=3"):
        layers.Dense(4, 3, 3)


def test_batch_norm_follows_the_batches_and_predicts_with_what_it_followed():
    """By hand: two rows 1 and 3 have mean 2 and unbiased variance 2; momentum ¼ of the way from 0 and from 1."""
    layer = layers.BatchNorm(1, momentum=0.25)
    params = {"gain": np.ones(1), "offset": np.zeros(1), "running_mean": np.zeros(1), "running_variance": np.ones(1)}
    y, residuals = layer.forward(params, np.asarray([[1.0], [3.0]]), train=True)
    updated = layer.updated_buffers(params, residuals)
    assert updated["running_mean"].tolist() == [0.5]
    assert updated["running_variance"].tolist() == [1.25]
    assert np.sign(y).ravel().tolist() == [-1.0, 1.0]
    still, _ = layers.BatchNorm(1, eps=0.75).forward(params | updated, np.asarray([[2.5]]))
    assert still.tolist() == [[(2.5 - 0.5) / np.sqrt(1.25 + 0.75)]]


def test_dropout_needs_a_key_only_where_it_draws():
    x = np.ones((3, 4))
    with pytest.raises(InvalidInputError, match="key="):
        layers.Dropout(0.5).forward({}, x, train=True)
    for layer, train in ((layers.Dropout(0.5), False), (layers.Dropout(0.0), True)):
        y, residuals = layer.forward({}, x, train=train)
        assert y is x
        assert layer.backward({}, residuals, x)[0] is x


def test_an_embedding_takes_columns_of_a_table():
    layer = layers.Embedding(3, 2)
    params = {"table": np.asarray([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])}
    y, residuals = layer.forward(params, np.asarray([[2.0, 0.0]]))
    assert y.tolist() == [[[4.0, 5.0], [0.0, 1.0]]]
    dx, grads = layer.backward(params, residuals, np.ones_like(y))
    assert dx is None
    assert grads["table"].tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]


def test_columns_and_flatten_give_back_the_shape_they_took():
    check_layer(layers.Columns(1, 3), (4, 5), ["numpy", "strict", "torch"])
    check_layer(layers.Flatten(), (4, 2, 3), ["numpy", "strict", "torch"])
    with pytest.raises(ConfigError, match="greater than start"):
        layers.Columns(3, 3)
