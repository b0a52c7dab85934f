"""Initial weights: variances, the same values everywhere, configurations, and the lecture's symmetry trap."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from tolerances import KS_P_VALUE, STANDARD_ERRORS

from mlpx import random
from mlpx.errors import ConfigError, InvalidTypeError
from mlpx.layers import initializers
from mlpx.ops.activations import ACTIVATIONS

KEY = random.key(20)
SHAPE = (300, 500)  # fan_out 300, fan_in 500

# Variance for SHAPE, by hand.
VARIANCES = {
    "glorot_uniform": 2 / 800,
    "glorot_normal": 2 / 800,
    "he_uniform": 2 / 500,
    "he_normal": 2 / 500,
    "lecun_uniform": 1 / 500,
    "lecun_normal": 1 / 500,
    "normal": 0.01**2,
    "uniform": 0.02**2 / 12,
    "constant": 0.0,
    "zeros": 0.0,
    "ones": 0.0,
}

SPECS = [
    *VARIANCES,
    {"name": "normal", "scale": 0.5},
    {"name": "uniform", "low": -1.0, "high": 3.0},
    {"name": "constant", "value": -0.25},
    {"name": "constant", "value": 0.0, "keep_symmetry": True},
]

# Initial float32 weights of shape (7, 5): a change here changes everybody's results.
WEIGHTS = {"glorot_uniform": "2704bbe431bb1cc5", "he_normal": "f97e06bb71427d2d", "lecun_normal": "cd39dc189de0a3ca"}


def _digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def test_every_initializer_has_its_variance_here():
    assert initializers.INITIALIZERS.keys() == VARIANCES.keys()


@pytest.mark.parametrize("name", VARIANCES)
def test_the_stated_variance_is_that_of_the_textbook(name):
    assert initializers.get(name).variance(SHAPE) == pytest.approx(VARIANCES[name])


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_values_have_the_stated_variance_and_their_mean(spec):
    made = initializers.get(spec)
    values = made.draw(KEY, SHAPE, "float64")
    middle = (
        spec.get("value", (spec.get("low", 0) + spec.get("high", 0)) / 2) if isinstance(spec, dict) else float(spec == "ones")
    )
    squares = (values - middle) ** 2
    for sample, expected in ((values, middle), (squares, made.variance(SHAPE))):
        assert abs(sample.mean() - expected) <= STANDARD_ERRORS * sample.std() / np.sqrt(sample.size)


@pytest.mark.parametrize("name", [name for name in VARIANCES if VARIANCES[name]])
def test_values_have_the_named_distribution(name):
    stats = pytest.importorskip("scipy.stats")
    values = initializers.get(name).draw(KEY, SHAPE, "float64").reshape(-1) / np.sqrt(VARIANCES[name])
    law = stats.norm() if name.endswith("normal") else stats.uniform(-np.sqrt(3), 2 * np.sqrt(3))
    assert stats.kstest(values, law.cdf).pvalue > KS_P_VALUE


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((), (1, 1)), ((4,), (4, 4)), ((3, 5), (5, 3)), ((2, 3, 5), (5, 3)), ((3, 0), (1, 3)), ((0, 5), (5, 1))],
)
def test_fans_are_the_last_two_sizes(shape, fans):
    assert initializers.fans(shape) == fans
    assert initializers.get("glorot_normal").draw(KEY, shape).shape == shape


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_float32_values_are_the_float64_ones_rounded(spec):
    made = initializers.get(spec)
    single, double = made.draw(KEY, (7, 5)), made.draw(KEY, (7, 5), "float64")
    assert isinstance(single, np.ndarray)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert single.tobytes() == double.astype(np.float32).tobytes()
    assert single.tobytes() == made.draw(KEY, (7, 5)).tobytes()


@pytest.mark.parametrize("name", [name for name in VARIANCES if VARIANCES[name]])
def test_another_key_gives_other_values(name):
    made = initializers.get(name)
    assert not np.any(made.draw(KEY, (7, 5)) == made.draw(random.key(21), (7, 5)))


@pytest.mark.parametrize("name", WEIGHTS)
def test_initial_weights_do_not_change(name):
    assert _digest(initializers.get(name).draw(KEY, (7, 5))) == WEIGHTS[name]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_configuration_makes_an_equal_initializer(spec):
    made = initializers.get(spec)
    again = initializers.get(json.loads(json.dumps(made.config())))
    assert again == made
    assert hash(again) == hash(made)
    assert repr(again) == repr(made)
    assert initializers.get(made) is made


def test_initializers_show_their_settings_and_cannot_be_changed():
    assert repr(initializers.normal(scale=0.5)) == "normal(scale=0.5)"
    assert repr(initializers.get("he_normal")) == "he_normal()"
    assert initializers.get("he_normal") != initializers.get("he_uniform")
    with pytest.raises(AttributeError):
        initializers.normal().scale = 2.0


@pytest.mark.parametrize("spec", ["zeros", "ones", "constant", {"name": "constant", "value": 0.3}, initializers.constant(2)])
def test_equal_weights_are_refused(spec):
    with pytest.raises(ConfigError, match=r"makes all weights equal.*keep_symmetry=True"):
        initializers.weight_initializer(spec)
    assert initializers.get(spec).variance(SHAPE) == 0


def test_equal_weights_are_made_when_asked_for():
    wanted = initializers.constant(0.3, keep_symmetry=True)
    assert initializers.weight_initializer(wanted) is wanted
    assert initializers.weight_initializer(wanted.config()) == wanted
    assert np.all(wanted.draw(KEY, (2, 2), "float64") == 0.3)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if initializers.get(spec).breaks_symmetry], ids=str)
def test_random_weights_are_welcome(spec):
    assert initializers.weight_initializer(spec) == initializers.get(spec)
    assert len(np.unique(initializers.get(spec).draw(KEY, (4, 4)))) > 1


def test_every_activation_has_a_default():
    chosen = {name: initializers.default_for(name).name for name in ACTIVATIONS}
    he = {"relu", "leaky_relu", "prelu", "elu", "softplus", "swish", "silu", "gelu"}
    assert {name for name in chosen if chosen[name] == "he_normal"} == he
    assert {name for name in chosen if chosen[name] == "lecun_normal"} == {"selu"}
    assert {name for name in chosen if chosen[name] == "glorot_uniform"} == set(ACTIVATIONS) - he - {"selu"}
    assert all(initializers.default_for(name).breaks_symmetry for name in ACTIVATIONS)


@pytest.mark.parametrize(("activation", "law"), [("relu", "he_normal"), ("selu", "lecun_normal"), ("tanh", "glorot_uniform")])
def test_defaults_keep_signals_alive_through_a_deep_network(activation, law):
    z = random.normal(random.key(5), (200, 256), dtype="float64")
    start = z.std()
    forward = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "selu": _selu}[activation]
    for layer in range(20):
        weight = initializers.default_for(activation).draw(random.fold_in(KEY, layer), (256, 256), "float64")
        z = forward(z) @ weight.T
    assert initializers.default_for(activation).name == law
    assert start / 10 < z.std() < start * 10  # torch's default, U(-1, 1)/√fan_in, loses a factor above 10⁷ with relu


def _selu(z):
    return 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: initializers.get("glorot"), ConfigError, "unknown initializer 'glorot'; did you mean 'glorot_"),
        (lambda: initializers.get({"scale": 2}), ConfigError, "unknown initializer None"),
        (lambda: initializers.get({"name": "normal", "sacle": 2}), ConfigError, "did you mean 'scale'"),
        (
            lambda: initializers.get({"name": "he_normal", "scale": 2}),
            ConfigError,
            "setting of initializer 'he_normal' 'scale'",
        ),
        (lambda: initializers.get({"name": ["normal"]}), ConfigError, "unknown initializer"),
        (lambda: initializers.get(3), InvalidTypeError, "initializer 3"),
        (lambda: initializers.normal(scale=0), ConfigError, r"scale=0: .*\(0, inf\)"),
        (lambda: initializers.normal(scale="big"), ConfigError, "scale='big'"),
        (lambda: initializers.uniform(low=1, high=1), ConfigError, "low < high"),
        (lambda: initializers.constant(float("nan")), ConfigError, "value=nan"),
        (lambda: initializers.constant(1.0, keep_symmetry="yes"), ConfigError, "keep_symmetry='yes'"),
        (lambda: initializers.get("normal").draw(KEY, (2,), "float16"), ConfigError, "unknown dtype 'float16'"),
    ],
)
def test_bad_settings_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
