"""What cannot be used is refused: by the right error, in words that help, at once, and with nothing changed.

The cases are in `cases/bad_inputs.json`, numbered as in the list of failures this library promises to name. A case is a call,
an expression in the few names below, and what must come of it: an error, a warning, or the same result as another call.
"""

from __future__ import annotations

import json
import math
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from specimens import arrays_in, digest, record
from tolerances import BLAS_ORDER

import mlpx
from mlpx import Parallel, Sequential, errors, layers, optim, registry, transfer
from mlpx.layers import Layer, initializers
from mlpx.layers.base import Spec
from mlpx.registry import Availability, Backend
from mlpx.testing.strict_backend import register_strict
from mlpx.train import EarlyStopping

CASES = json.loads((Path(__file__).parent / "cases" / "bad_inputs.json").read_text(encoding="utf-8"))
SECONDS = 1.0
WITHIN = {"BLAS_ORDER": BLAS_ORDER}


class Absent(Backend):
    """A backend whose library is not installed."""

    name = "absent"
    libraries = ("absent",)

    def probe(self) -> Availability:
        return Availability(False, "absent is not installed", "pip install absent")


class Wrong(Layer):
    """A layer of somebody's own with a mistake in its backward pass."""

    def __init__(self, what: str):
        self.what = what

    def specs(self):
        return {"gain": Spec((4,), initializers.Constant(1.0))}

    def forward(self, params, x, *, train=False, key=None):
        return x * params["gain"], (x,)

    def backward(self, params, residuals, dy):
        gain = np.sum(dy * residuals[0], axis=0)
        wrong = {"shape": {"gain": gain[:, None]}, "dtype": {"gain": gain.astype(np.float32)}, "name": {"gian": gain}}
        return dy * params["gain"], wrong[self.what]


class Frame:
    """A data frame as far as it is looked at: names and dtypes of columns."""

    def __init__(self, columns: dict[str, str]):
        self.columns = list(columns)
        self.dtypes = [np.dtype(dtype) for dtype in columns.values()]

    def __dataframe__(self):
        raise AssertionError("refused before it is read")


class Vocabulary:
    """The names that a case may use, made anew for each."""

    def __init__(self):
        generator = np.random.default_rng(0)
        self.x = generator.standard_normal((12, 4))
        self.y = np.arange(12) % 3
        self.net = Sequential(layers.Dense(4, 6, activation="tanh"), layers.Dense(6, 3))
        self.watched: list[tuple[mlpx.Trainer, Any]] = []
        self.fitted = self.made()
        self.fitted.fit(self.x, self.y, 1, 4)
        self.watched[0] = (self.fitted, record(self.fitted))

    def made(self, net=None, **settings):
        settings = {"device": "numpy", "dtype": "float64", **settings}
        trainer = mlpx.Trainer(self.net if net is None else net, **settings)
        trainer.predict_after_fit = lambda x, batch_size=5: (trainer.fit(x, self.y, 2, batch_size), trainer.predict(x))[1]
        self.watched.append((trainer, record(trainer)))
        return trainer

    def fit(self, *data, **settings):
        x, y, *_ = (*data, *(self.x, self.y)[len(data) :])
        return self.fitted.fit(x, y, **{"epochs": 1, "batch_size": 4, **settings})

    def weights(self, **changed):
        return dict(self.net.init(dtype="float64")) | changed

    def backward_of_first(self, twice):
        params = self.net.init(dtype="float64")
        _, residuals = self.net.forward(params, self.x)
        if twice:
            self.net.forward(params, 2 * self.x)
        return self.net.backward(params, residuals, self.x[:, :3])[1].flat

    def names(self) -> dict[str, Any]:
        jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
        sparse = pytest.importorskip("scipy.sparse")
        stochastic = Sequential(layers.Dropout(0.5), layers.Dense(4, 3))
        given = {"x": self.x, "y": self.y, "net": self.net, "fitted": self.fitted, "stochastic": stochastic}
        functions = (self.made, self.fit, self.weights, self.backward_of_first, put, read_only, on, without_x64)
        classes = (Sequential, Parallel, EarlyStopping, Wrong, Frame)
        libraries = {"np": np, "torch": torch, "jax": jax, "sparse": sparse, "layers": layers, "optim": optim}
        return given | libraries | {one.__name__: one for one in (*functions, *classes)} | {"nan": math.nan, "inf": math.inf}


def put(array, place, value):
    """A copy with another value at one place."""
    array = array.copy()
    array[place] = value
    return array


def read_only(array):
    """A copy that cannot be written."""
    array = array.copy()
    array.flags.writeable = False
    return array


def on(device, array):
    """A copy on another device."""
    return transfer.to_device(array, device)


def without_x64(function):
    """The result of a function while JAX's float64 is switched off."""
    import jax

    jax.config.update("jax_enable_x64", False)
    try:
        return function()
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.fixture
def vocabulary():
    register_strict()
    registry.register(Absent())
    yield Vocabulary()
    registry.unregister("absent")


def called(expression: str, names: dict[str, Any]) -> Any:
    return eval(compile(expression, __file__, "eval"), {**names})  # the expressions are in a file of this repository


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['case']}-{case['name']}")
def test_case(case, vocabulary):
    names = vocabulary.names()
    given = list(arrays_in((vocabulary.x, vocabulary.y)))
    before = digest(*given)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if "error" in case:
            _check_error(case, names)
        else:
            result = called(case["call"], names)
    assert digest(*given) == before
    if "warns" in case:
        assert len(warned) == 1, [str(one.message) for one in warned]
        assert re.search(case["warns"], str(warned[0].message))
        assert Path(warned[0].filename) == Path(__file__)
    else:
        assert not warned, [str(one.message) for one in warned]
    if "equals" in case:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = called(case["equals"], names)
        assert (type(result), result.dtype, result.shape) == (type(expected), expected.dtype, expected.shape)
        assert not getattr(result, "requires_grad", False)
        np.testing.assert_allclose(np.asarray(result), np.asarray(expected), rtol=WITHIN.get(case.get("within"), 0))
    if "error" in case and not case.get("begun"):
        for trainer, then in vocabulary.watched:
            assert record(trainer) == then


def _check_error(case: dict[str, Any], names: dict[str, Any]) -> None:
    kind = getattr(errors, case["error"])
    assert any(base.__module__ == "builtins" and base is not Exception for base in kind.__mro__[1:-3])
    began = time.process_time()
    with pytest.raises(kind) as caught:
        called(case["call"], names)
    assert time.process_time() - began < SECONDS
    assert type(caught.value) is kind
    for phrase in case["says"]:
        assert phrase in str(caught.value)


def test_every_case_number_that_applies_is_in_the_table():
    """30 to 32 are about streams of batches; those missing below need more than a call, and have tests of their own."""
    elsewhere = {45, 46, 58, 62, 63, 64, 65, 66}  # test_history_callbacks, test_trainer, test_interrupt
    assert {case["case"] for case in CASES} == set(range(1, 67)) - {30, 31, 32} - elsewhere
