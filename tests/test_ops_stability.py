"""Activations, softmax and log-sum-exp over the whole float range, against mpmath; NumPy's warnings are errors here."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from mlpx import ops
from mlpx.testing import budgets

DIGITS = 50
with mpmath.workdps(DIGITS):
    LAMBDA = mpf("1.0507009873554804934193349852946")
    LAMBDA_ALPHA = LAMBDA * mpf("1.6732632423543772848170429916717")
    CUBIC = mpf("0.044715")
DTYPES = ("float32", "float64")


@pytest.fixture(autouse=True)
def _many_digits():
    with mpmath.workdps(DIGITS):
        yield


def _sigma(x):
    return 1 / (1 + mpmath.exp(-x))


def _gated(u, du, ddu):
    """f, f' and f'' of f(x) = x σ(u(x)), by the product rule; σ' = σ(u) σ(−u), σ'' = σ' (1 − 2σ)."""

    def dsigma(x):
        return _sigma(u(x)) * _sigma(-u(x))

    return (
        lambda x: x * _sigma(u(x)),
        lambda x: _sigma(u(x)) + x * du(x) * dsigma(x),
        lambda x: dsigma(x) * (2 * du(x) + x * ddu(x) + x * du(x) ** 2 * (1 - 2 * _sigma(u(x)))),
    )


def _piecewise(upper_slope, alpha):
    """f, f' and f'' of λx above zero and α (exp(x) − 1) below."""
    return (
        lambda x: upper_slope * x if x > 0 else alpha * mpmath.expm1(x),
        lambda x: upper_slope if x > 0 else alpha * mpmath.exp(x),
        lambda x: mpf(0) if x > 0 else alpha * mpmath.exp(x),
    )


def _linear(lower_slope):
    return (
        lambda x: x if x > 0 else lower_slope * x,
        lambda x: mpf(1) if x > 0 else lower_slope,
        lambda x: mpf(0),
    )


def _sech_squared(x):
    return mpmath.sech(x) ** 2


EQUATIONS = {
    "logistic": (
        (
            _sigma,
            lambda x: _sigma(x) * _sigma(-x),
            lambda x: _sigma(x) * _sigma(-x) * (1 - 2 * _sigma(x)),
        ),
        {},
    ),
    "tanh": ((mpmath.tanh, _sech_squared, lambda x: -2 * mpmath.tanh(x) * _sech_squared(x)), {}),
    "softplus": ((lambda x: mpmath.log1p(mpmath.exp(x)), _sigma, lambda x: _sigma(x) * _sigma(-x)), {}),
    "elu": (_piecewise(mpf(1), mpf(0.5)), {"alpha": 0.5}),
    "selu": (_piecewise(LAMBDA, LAMBDA_ALPHA), {}),
    "swish": (_gated(lambda x: x, lambda x: 1, lambda x: 0), {}),
    "gelu": (
        _gated(
            lambda x: 2 * mpmath.sqrt(2 / mpmath.pi) * (x + CUBIC * x**3),
            lambda x: 2 * mpmath.sqrt(2 / mpmath.pi) * (1 + 3 * CUBIC * x**2),
            lambda x: 2 * mpmath.sqrt(2 / mpmath.pi) * 6 * CUBIC * x,
        ),
        {},
    ),
    "relu": (_linear(mpf(0)), {}),
    "leaky_relu": (_linear(mpf(0.125)), {"slope": 0.125}),
}


def _grid(dtype):
    """Both signs: all magnitudes from the smallest normal number to nine tenths of the largest, and closely where exp acts."""
    limits = np.finfo(dtype)
    every = np.geomspace(float(limits.tiny), 0.9 * float(limits.max), 60)
    close = np.concatenate([np.linspace(0.05, 25.0, 120), np.geomspace(25.0, 1000.0, 60)])
    z = np.concatenate([every, close]).astype(dtype)
    return np.concatenate([-z, z])


def _errors(found, g, dg, z, scale=None):
    """Of each result, in units of eps · (|g| + |z g'|): what a change of z by one eps does is no fault of the computation."""
    limits = np.finfo(found.dtype)
    worst = []
    for y, x in zip(found, map(mpf, map(float, z)), strict=True):
        truth = g(x)
        unit = abs(truth) + abs(x * dg(x)) if scale is None else mpf(scale)
        smallest = mpf(float(limits.tiny)) * max(1, min(abs(x), 1000))  # an ulp of a subnormal factor, times z
        worst.append(float(abs(mpf(float(y)) - truth) / (mpf(float(limits.eps)) * max(unit, smallest))))
    return np.asarray(worst)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EQUATIONS)
def test_value_has_full_relative_accuracy_everywhere(name, dtype):
    (f, df, _), attributes = EQUATIONS[name]
    z = _grid(dtype)
    a, _ = ops.ACTIVATIONS[name](z, **attributes)
    assert a.dtype == dtype
    errors = _errors(a, f, df, z)
    assert errors.max() <= budgets.of("elementwise"), f"z = {z[errors.argmax()]}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EQUATIONS)
def test_derivative_has_full_relative_accuracy_everywhere(name, dtype):
    (_, df, ddf), attributes = EQUATIONS[name]
    op = ops.ACTIVATIONS[name]
    z = _grid(dtype)
    dz = op.gradient(np.ones_like(z), op(z, **attributes)[1])
    assert dz.dtype == dtype
    # 1 − f² of tanh is a few eps of 1 in the tails, as its docstring says.
    errors = _errors(dz, df, ddf, z, scale=1 if name == "tanh" else None)
    assert errors.max() <= budgets.of("elementwise"), f"z = {z[errors.argmax()]}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "z", "value", "derivative"),
    [
        ("logistic", 1000.0, 1.0, 0.0),
        ("logistic", -1000.0, 0.0, 0.0),
        ("tanh", -1000.0, -1.0, 0.0),
        ("softplus", 1000.0, 1000.0, 1.0),
        ("softplus", -1000.0, 0.0, 0.0),
        ("elu", -1000.0, -1.0, 0.0),
        ("elu", 1e30, np.float32(1e30), 1.0),
        ("swish", 1000.0, 1000.0, 1.0),
        ("swish", -1000.0, 0.0, 0.0),
        ("gelu", 1000.0, 1000.0, 1.0),
        ("gelu", -1000.0, 0.0, 0.0),
        ("gelu", 1e30, np.float32(1e30), 1.0),
        ("gelu", -1e30, 0.0, 0.0),
    ],
)
def test_far_out_the_limits_are_exact(name, z, value, derivative, dtype):
    op = ops.ACTIVATIONS[name]
    given = np.asarray([z], dtype=np.float32).astype(dtype)
    a, residuals = op(given)
    assert a.item() == value
    assert op.gradient(np.ones_like(given), residuals).item() == derivative


EXTREMES = ("max", "min", "tiny", "smallest_subnormal")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ops.ACTIVATIONS if name not in {"prelu", "selu"}])
def test_extreme_finite_input_gives_finite_results(name, dtype):
    op = ops.ACTIVATIONS[name]
    z = np.asarray([getattr(np.finfo(dtype), limit) for limit in EXTREMES], dtype=dtype)
    z = np.concatenate([z, -z])
    a, residuals = op(z)
    assert np.isfinite(a).all()
    assert np.isfinite(op.gradient(np.ones_like(z), residuals)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_learned_parameters_at_extreme_finite_input_give_finite_results(dtype):
    limits = np.finfo(dtype)
    z = np.asarray([[limits.max], [limits.min], [limits.tiny]], dtype=dtype)
    for op in (ops.prelu, ops.swish):
        a, residuals = op(z, np.asarray([-0.5], dtype=dtype))
        dz, _ = op.gradient(np.asarray([[0.0], [0.0], [1.0]], dtype=dtype), residuals)
        assert np.isfinite(a).all()
        assert np.isfinite(dz).all()
    _, residuals = ops.swish(z, np.asarray([-0.5], dtype=dtype))
    _, dbeta = ops.swish.gradient(np.ones_like(z), residuals)
    assert np.isfinite(dbeta).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("identity", -np.inf, np.inf),
        ("step", 0.0, 1.0),
        ("logistic", 0.0, 1.0),
        ("tanh", -1.0, 1.0),
        ("relu", 0.0, np.inf),
        ("leaky_relu", -np.inf, np.inf),
        ("elu", -1.0, np.inf),
        ("softplus", 0.0, np.inf),
        ("gelu", 0.0, np.inf),
        ("selu", float(-LAMBDA_ALPHA), np.inf),
    ],
)
def test_infinite_input_gives_the_limits(name, low, high, dtype):
    a, _ = ops.ACTIVATIONS[name](np.asarray([-np.inf, np.inf], dtype=dtype))
    # Infinities and zeros must be exact; λα is a rounded product.
    assert budgets.error_in_eps(a, np.asarray([low, high]), dtype) <= budgets.of("elementwise")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ops.ACTIVATIONS)
def test_nan_goes_in_and_out(name, dtype):
    learned = (np.ones(1, dtype=dtype),) if name == "prelu" else ()
    a, _ = ops.ACTIVATIONS[name](np.asarray([np.nan], dtype=dtype), *learned)
    assert np.isnan(a).all()


def _rows(dtype):
    largest = float(np.finfo(dtype).max)
    return np.asarray(
        [
            [1e4, -1e4, 0.0],
            [-1e4, -1e4, -1e4],
            [largest, -largest, 0.0],
            [-largest, -largest, -largest],
            [largest, largest, largest / 2],
            [largest / 2, -largest / 2, -largest],
            [-largest / 2, -largest, -largest],
            [-np.inf, 1.0, 2.0],
            [0.5, -3.0, 2.5],
            [-700.0, -701.0, -699.0],
        ],
        dtype=dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_and_logsumexp_of_extreme_rows(dtype):
    z = _rows(dtype)
    exponentials = [[mpmath.exp(mpf(float(x)) - max(map(mpf, map(float, row)))) for x in row] for row in z]
    p, _ = ops.softmax(z)
    expected = np.asarray([[float(e / mpmath.fsum(row)) for e in row] for row in exponentials])
    assert budgets.error_in_eps(p, expected, dtype) <= budgets.of("normalising", 3)
    y, residuals = ops.logsumexp(z)
    for found, row, shifted in zip(y, z, exponentials, strict=True):
        truth = max(map(mpf, map(float, row))) + mpmath.log(mpmath.fsum(shifted))
        assert abs(mpf(float(found)) - truth) <= budgets.of("normalising", 3) * mpf(float(np.finfo(dtype).eps)) * abs(truth)
    dz = ops.logsumexp.gradient(np.ones_like(y), residuals)
    assert budgets.error_in_eps(dz, expected, dtype) <= budgets.of("normalising", 3)
    assert np.isfinite(ops.softmax.gradient(np.ones_like(p), ops.softmax(z)[1])).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_logsumexp_of_infinite_rows(dtype):
    inf = np.inf
    z = np.asarray([[-inf, -inf, -inf], [inf, 0.0, -inf], [inf, inf, inf], [np.nan, 0.0, inf]], dtype=dtype)
    np.testing.assert_array_equal(ops.logsumexp(z)[0], np.asarray([-inf, inf, inf, np.nan], dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_gives_no_probability_to_a_class_ruled_out(dtype):
    inf = np.inf
    p, residuals = ops.softmax(np.asarray([[-inf, 0.0, 0.0], [-inf, -inf, -inf]], dtype=dtype))
    np.testing.assert_array_equal(p, np.asarray([[0.0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]], dtype=dtype))
    assert ops.softmax.gradient(np.asarray([[1.0, 2.0, 3.0]] * 2, dtype=dtype), residuals)[0, 0] == 0.0
