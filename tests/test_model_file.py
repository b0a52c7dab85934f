"""Save and load: the same predictions, on another library too, and what is no model is refused."""

from __future__ import annotations

import numpy as np
import pytest
from specimens import NETWORKS, assert_near, digest, embedded, nested, plain, regression, table
from tolerances import PARITY_OF_OUTPUTS

import mlpx
from mlpx import layers, losses, optim
from mlpx.errors import (
    CheckpointCorruptError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    CheckpointWriteError,
    ConfigError,
    InvalidTypeError,
)
from mlpx.layers import Layer, initializers
from mlpx.layers.base import Spec
from mlpx.losses import Loss
from mlpx.store.array_file import read_arrays, write_arrays
from mlpx.train.metrics import Metric


class Scale(Layer):
    """A layer of a user's own."""

    def __init__(self, features: int, start: float = 1.0):
        self.features, self.start = features, start

    def specs(self):
        return {"scale": Spec((self.features,), initializers.Constant(self.start))}

    def forward(self, params, x, *, train=False, key=None):
        return x * params["scale"], (x,)

    def backward(self, params, residuals, dy):
        return dy * params["scale"], {"scale": (dy * residuals[0]).sum(axis=0)}

    def config(self):
        return {"features": self.features, "start": self.start}


class Quartic(Loss):
    """A loss of a user's own."""

    name = "quartic"

    def forward(self, output, targets):
        error = output - targets
        return (error**4).sum(axis=1), error

    def backward(self, drows, residuals):
        return 4 * drows[:, None] * residuals**3


def trained(net, **settings):
    x, y = table()
    trainer = mlpx.Trainer(net, **{"device": "numpy", "dtype": "float64", "seed": 3, **settings})
    trainer.fit(x, y, 3, 8)
    return trainer, x, y


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_model_predicts_the_same_bits(tmp_path, name, dtype):
    trainer, x, y = trained(NETWORKS[name](), dtype=dtype, ema=0.9)
    trainer.extras = {"classes": ["a", "b", "c"]}
    path = tmp_path / "model.safetensors"
    trainer.save(path)
    for place in (path, str(path), tmp_path):
        model = mlpx.load(place, device="numpy")
        assert digest(model.predict(x)) == digest(trainer.predict(x))
        assert digest(model.predict_proba(x)) == digest(trainer.predict_proba(x))
        assert model.evaluate(x, y) == trainer.evaluate(x, y)
        assert repr(model.net) == repr(trainer.net)
        assert (model.dtype, model.precision, model.extras) == (dtype, "ieee", {"classes": ["a", "b", "c"]})


@pytest.mark.parametrize("device", ["torch:cpu", "jax:cpu", "strict:device1"])
def test_a_model_loads_on_another_library(tmp_path, device):
    mlpx.testing.register_strict()
    trainer, x, y = trained(nested())
    trainer.save(tmp_path / "m.safetensors")
    model = mlpx.load(tmp_path / "m.safetensors", device=device)
    assert model.device == mlpx.device(device)
    expected = trainer.predict(x)
    for given in (x, mlpx.to_device(x, device)):
        predicted = model.predict(given)
        assert type(predicted) is type(given)
        assert_near(mlpx.to_numpy(predicted), expected, PARITY_OF_OUTPUTS)
    assert model.evaluate(x, y)["accuracy"] == trainer.evaluate(x, y)["accuracy"]


def test_a_layer_of_ones_own_is_loaded_by_the_class_that_is_given(tmp_path):
    trainer, x, _ = trained(mlpx.Sequential(Scale(6, 0.5), mlpx.Residual(Scale(6)), layers.Dense(6, 3)))
    path = tmp_path / "m.safetensors"
    trainer.save(path)
    model = mlpx.load(path, "numpy", own_layers=[Scale])
    assert digest(model.predict(x)) == digest(trainer.predict(x))
    with pytest.raises(ConfigError, match=r"unknown layer .*own_layers.*'Scale'"):
        mlpx.load(path, "numpy")


def test_a_loss_of_ones_own_is_passed_again(tmp_path):
    x, y = regression()
    trainer = mlpx.Trainer(plain(2), loss=Quartic(), optimizer=optim.SGD(1e-3), device="numpy")
    trainer.fit(x, y, 2, 8)
    with pytest.raises(ConfigError, match="quartic"):
        trainer.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_another_loss_may_stand_in_for_the_one_in_the_file(tmp_path):
    trainer, x, _ = trained(plain())
    trainer.save(tmp_path / "m.safetensors")
    model = mlpx.load(tmp_path / "m.safetensors", "numpy", loss="mse")
    assert model.loss == losses.get("mse")
    assert digest(model.predict_proba(x)) == digest(trainer.predict(x))


def test_metrics_with_a_name_are_kept(tmp_path):
    own = Metric("hits", lambda output, targets, weights=None: output[0, 0] * 0 + 7, "higher")
    trainer, x, y = trained(plain(), metrics=["top_2", own, "macro_f1"])
    assert trainer.evaluate(x, y)["hits"] == 7
    trainer.save(tmp_path / "m.safetensors")
    assert [metric.name for metric in mlpx.load(tmp_path / "m.safetensors", "numpy").metrics] == ["top_2", "macro_f1"]


def test_a_file_is_not_overwritten_against_ones_will(tmp_path):
    trainer, x, _ = trained(plain())
    path = tmp_path / "m.safetensors"
    trainer.save(path)
    before = path.read_bytes()
    trainer.fit(*table(), 1, 8)
    with pytest.raises(CheckpointWriteError, match=r"m\.safetensors"):
        trainer.save(path, overwrite=False)
    assert path.read_bytes() == before
    trainer.save(path)
    assert digest(mlpx.load(path, "numpy").predict(x)) == digest(trainer.predict(x))


def test_what_is_no_model_is_refused(tmp_path):
    trainer, _, _ = trained(embedded())
    good = tmp_path / "good.safetensors"
    trainer.save(good)
    with pytest.raises(CheckpointNotFoundError, match=r"nothing\.safetensors"):
        mlpx.load(tmp_path / "nothing.safetensors")
    with pytest.raises((CheckpointNotFoundError, CheckpointCorruptError), match=str(tmp_path)):
        mlpx.load(tmp_path)  # a folder without a model in it
    text = tmp_path / "text.safetensors"
    text.write_text("weight,bias\n1,2\n")
    with pytest.raises(CheckpointCorruptError, match=r"text\.safetensors"):
        mlpx.load(text)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(good.read_bytes()[:-50])
    with pytest.raises(CheckpointCorruptError, match=r"torn\.safetensors"):
        mlpx.load(torn)
    arrays = tmp_path / "arrays.safetensors"
    write_arrays(arrays, {"a": np.zeros(3)}, {"note": "some arrays"})
    with pytest.raises(CheckpointMismatchError, match="not a model file: it lacks network"):
        mlpx.load(arrays)
    with pytest.raises(InvalidTypeError, match=r"own_layer'.*did you mean 'own_layers'"):
        mlpx.load(good, own_layer=[])


def test_arrays_that_do_not_fit_the_network_are_all_named(tmp_path):
    trainer, _, _ = trained(plain())
    path = tmp_path / "m.safetensors"
    trainer.save(path)
    arrays, metadata = read_arrays(path)
    del arrays["0.bias"]
    arrays["1.bias"] = np.zeros(5)
    arrays["2.weight"] = np.zeros(1)
    write_arrays(path, arrays, metadata, overwrite=True)
    with pytest.raises(
        CheckpointMismatchError, match=r"0.bias is missing.*2.weight is not of this network.*1.bias has shape \(5,\)"
    ):
        mlpx.load(path, "numpy")
