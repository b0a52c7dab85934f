"""Activations: the lecture's table, kinks, names, contracts, and every op of the family on every kind of array."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlpx import ops
from mlpx.errors import DeviceMismatchError, InvalidInputError
from mlpx.ops.definition import Draw
from mlpx.testing import budgets
from mlpx.testing.variants import variant

POINTS = (-3.0, -1.25, -0.5, 0.25, 1.0, 2.75)
GAMMA = 0.4


def _sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _tanh(x: float) -> float:
    return (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x))


LECTURE_TABLE = {
    "logistic": (_sigma, lambda x: _sigma(x) * (1 - _sigma(x)), {}),
    "tanh": (_tanh, lambda x: 1 - _tanh(x) ** 2, {}),
    "relu": (lambda x: max(0.0, x), lambda x: float(x > 0), {}),
    "elu": (
        lambda x: max(0.0, x) + min(0.0, GAMMA * (math.exp(x) - 1)),
        lambda x: (x > 0) + (x <= 0) * GAMMA * math.exp(x),
        {"alpha": GAMMA},
    ),
    "softplus": (lambda x: math.log(1 + math.exp(x)), lambda x: 1 / (1 + math.exp(-x)), {}),
    "leaky_relu": (lambda x: max(0.0, x) + GAMMA * min(0.0, x), lambda x: 1.0 if x > 0 else GAMMA, {"slope": GAMMA}),
}


@pytest.mark.parametrize("name", LECTURE_TABLE)
def test_value_and_derivative_of_the_lectures_table(name):
    f, df, attributes = LECTURE_TABLE[name]
    op = ops.ACTIVATIONS[name]
    z = np.asarray([POINTS])
    a, residuals = op(z, **attributes)
    dz = op.gradient(np.ones_like(z), residuals)
    assert budgets.error_in_eps(a, np.asarray([[f(x) for x in POINTS]]), "float64") <= budgets.of("elementwise")
    assert budgets.error_in_eps(dz, np.asarray([[df(x) for x in POINTS]]), "float64") <= budgets.of("elementwise")


@pytest.mark.parametrize(
    ("name", "attributes", "value", "derivative"),
    [
        ("relu", {}, 0.0, 0.0),
        ("leaky_relu", {"slope": 0.25}, 0.0, 0.25),
        ("prelu", {"slope": np.asarray([0.25])}, 0.0, 0.25),
        ("elu", {"alpha": 0.25}, 0.0, 0.25),
        ("selu", {}, 0.0, 1.0507009873554804934 * 1.6732632423543772848),
        ("step", {}, 1.0, 0.0),
        ("gelu", {}, 0.0, 0.5),
        ("swish", {}, 0.0, 0.5),
    ],
)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_at_zero_value_and_derivative_are_as_documented(name, attributes, value, derivative, zero):
    op = ops.ACTIVATIONS[name]
    z = np.asarray([[zero]])
    a, residuals = op(z, **attributes)
    gradients = op.gradient(np.ones_like(z), residuals)
    dz = gradients[0] if isinstance(gradients, tuple) else gradients
    assert a.item() == value
    assert dz.item() == derivative


def test_the_table_has_the_public_names():
    assert set(ops.ACTIVATIONS) == {
        *("identity", "step", "logistic", "sigmoid", "tanh", "relu", "leaky_relu", "prelu"),
        *("elu", "softplus", "swish", "silu", "gelu", "selu"),
    }
    assert ops.ACTIVATIONS["sigmoid"] is ops.logistic
    assert ops.ACTIVATIONS["silu"] is ops.swish
    for name, op in ops.ACTIVATIONS.items():
        assert op is ops.OPS[op.name]
        assert op.name == name or name in {"sigmoid", "silu"}


def test_swish_has_a_gradient_for_each_array_and_none_for_a_float():
    z = Draw(1).normal(4, 3)
    da = np.ones_like(z)
    given = ops.swish.gradient(da, ops.swish(z, 1.5)[1])
    learned = ops.swish.gradient(da, ops.swish(z, np.full(3, 1.5))[1])
    assert isinstance(given, np.ndarray)
    assert len(learned) == 2
    assert learned[1].shape == (3,)
    np.testing.assert_array_equal(learned[0], given)


def test_the_tanh_form_of_gelu_differs_from_the_erf_form_by_what_its_docstring_says():
    z = np.linspace(-6, 6, 120001)
    erf_form = np.asarray([x / 2 * (1 + math.erf(x / math.sqrt(2))) for x in z])
    difference = np.abs(ops.gelu(z)[0] - erf_form)
    assert 4.73e-4 < difference.max() <= 4.74e-4
    assert round(abs(z[difference.argmax()]), 2) == 2.70


@pytest.mark.parametrize(("op", "name"), [(ops.prelu, "slope"), (ops.swish, "beta")])
@pytest.mark.parametrize("shape", [(2,), (), (1,), (3, 1)])
def test_learned_parameters_are_one_number_for_each_unit(op, name, shape):
    with pytest.raises(InvalidInputError, match=rf"{op.name}: {name} has shape \("):
        op(np.ones((4, 3)), np.ones(shape))


@pytest.mark.parametrize("op", [ops.prelu, ops.swish])
def test_arrays_of_two_libraries_do_not_meet(op):
    strict = variant("strict:device1")
    with pytest.raises(DeviceMismatchError):
        op(strict.put(np.ones((4, 3))), np.ones(3))


@pytest.mark.parametrize("attribute", [np.float64(0.3), 0.3, 1])
@pytest.mark.parametrize(("op", "name"), [(ops.leaky_relu, "slope"), (ops.elu, "alpha"), (ops.swish, "beta")])
def test_numpy_scalars_as_attributes_do_not_widen_float32(op, name, attribute):
    z = Draw(2).normal(4, 3).astype(np.float32)
    a, residuals = op(z, **{name: attribute})
    assert a.dtype == np.float32
    assert op.gradient(z, residuals).dtype == np.float32


FAMILY = (
    *dict.fromkeys(op.name for op in ops.ACTIVATIONS.values()),
    *("softmax", "logsumexp", "layer_norm", "batch_norm", "batch_norm_inference", "dropout", "embedding", "l2"),
)
CASES = [case for name in FAMILY for case in ops.OPS[name].cases]


def _rounded(case, dtype):
    """The case's inputs, its floating ones rounded to dtype; and a dy for its result."""
    inputs = tuple(x.astype(dtype) if x.dtype == np.float64 else x for x in case.inputs(Draw(3)))
    wide = tuple(x.astype(np.float64) if x.dtype == dtype else x for x in inputs)
    result = case.op(*wide, **case.attributes)[0]
    return inputs, wide, Draw(4).normal(*np.shape(result)).astype(dtype)


def _value_and_gradients(case):
    def run(dy, *inputs):
        y, residuals = case.op(*inputs, **case.attributes)
        gradients = case.op.gradient(dy, residuals)
        return y, *(gradients if isinstance(gradients, tuple) else (gradients,))

    return run


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 0, 3), (2, 4, 3)])
@pytest.mark.parametrize("op", list(dict.fromkeys(ops.ACTIVATIONS.values())), ids=lambda op: op.name)
def test_any_leading_axes_also_none_and_empty(op, backend_variant, shape):
    way = backend_variant
    z = Draw(5).normal(*shape)
    learned = (np.asarray([0.25, 0.5, -1.0]),) if op in (ops.prelu, ops.swish) else ()
    a, residuals = op(way.put(z), *way.put(learned))
    gradients = op.gradient(way.put(z), residuals)
    dz, *rest = gradients if isinstance(gradients, tuple) else (gradients,)
    assert tuple(a.shape) == tuple(dz.shape) == shape
    assert [tuple(d.shape) for d in rest] == [(3,) for _ in learned]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_residuals_may_cross_the_border_of_a_compiled_function(case):
    jax = pytest.importorskip("jax")
    way = variant("jax:cpu")
    inputs, wide, dy = _rounded(case, "float64")
    y, residuals = jax.jit(lambda *arrays: case.op(*arrays, **case.attributes))(*way.put(inputs))
    gradients = jax.jit(case.op.gradient)(way.put(dy), residuals)
    found = (y, *(gradients if isinstance(gradients, tuple) else (gradients,)))
    expected = _value_and_gradients(case)(dy, *wide)
    assert len(found) == len(expected)
    for one, reference in zip(found, expected, strict=True):
        assert budgets.error_in_eps(way.get(one), reference, "float64") <= budgets.of(case.kind, case.terms)
