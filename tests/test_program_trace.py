"""Tracing: what is recorded computes what the function computes, bit by bit; what cannot be recorded is refused by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import program_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpx import registry
from mlpx.errors import InvalidInputError, InvalidTypeError, TraceError
from mlpx.namespace import namespace_of
from mlpx.ops.affine import affine
from mlpx.ops.definition import OPS, op
from mlpx.ops.rectifiers import relu
from mlpx.parameters import Parameters
from mlpx.program import recording
from mlpx.program.interpret import interpret, interpreted
from mlpx.program.ir import Literal
from mlpx.program.symbols import Symbol
from mlpx.program.trace import trace

X = np.asarray([[1.0, -2.0, 3.0], [0.5, 0.0, -4.0]], np.float32)


@pytest.fixture(autouse=True, scope="module")
def _definitions() -> Iterator[None]:
    """Eager results are those of the definitions, whatever kernels a backend has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "kernel_for", lambda *_: None)
        yield


def run(function, *arrays):
    """What the traced function gives, run by the interpreter."""
    with np.errstate(all="ignore"):
        return interpreted(trace(function, *arrays))(*arrays)


# ------------------------------------------------------------------ whole steps


@pytest.mark.parametrize("name", cases.LISTED)
def test_a_traced_step_has_the_bits_of_the_step(name):
    step, given = cases.LISTED[name]()
    program = trace(step, *given, donated=0)
    cases.assert_same(interpreted(program)(*given), step(*given))
    assert program.input_names[0] == "state.params"
    assert all(program.output_names[o] == program.input_names[i] for o, i in program.donated.items())
    assert len(program.donated) == len([n for n in program.output_names if n.startswith("state.")])


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=40)
@given(cases.settings())
def test_a_random_network_traced_has_the_bits_of_the_network(drawn):
    step, given = drawn
    cases.assert_same(interpreted(trace(step, *given))(*given), step(*given))


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=150)
@given(cases.functions())
def test_a_random_function_traced_has_the_bits_of_the_function(drawn):
    function, given = drawn
    with np.errstate(all="ignore"):
        cases.assert_same(interpreted(trace(function, *given))(*given), function(*given))


@pytest.mark.parametrize("name", [n for n in cases.NETWORKS if n != "dropout"])
def test_prediction_is_traced(name):
    net = cases.NETWORKS[name]()
    params = net.init(0)

    def predict(flat, buffers, x):
        return net.forward(Parameters(net.layout, flat, Parameters(net.buffer_layout, buffers)), x)[0]

    given = params.flat, params.buffers.flat, np.abs(np.random.default_rng(0).standard_normal((4, 6))).astype(np.float32)
    cases.assert_same(interpreted(trace(predict, *given))(*given), predict(*given))


def test_a_program_takes_only_what_it_was_traced_for():
    program = interpreted(trace(lambda x: x + 1, X))
    with pytest.raises(InvalidInputError, match="trace it again"):
        program(X[:1])
    with pytest.raises(InvalidInputError, match="trace it again"):
        program(X.astype(np.float64))


# ------------------------------------------------------------------ labels and lookup


def test_nodes_bear_the_name_of_the_innermost_op():
    program = trace(lambda x, w, b: relu(affine(x, w, b)[0])[0], X, X[:, :], X[:, 0])
    assert [(node.primitive, node.output.label) for node in program.nodes] == [
        ("matrix_transpose", "affine"),
        ("matmul", "affine"),
        ("add", "affine"),
        ("maximum", "relu"),
    ]
    program = trace(lambda x: relu.gradient(x, relu(x)[1]), X)
    assert {node.output.label for node in program.nodes} == {"relu", "relu.backward"}


def test_symbols_have_the_recording_namespace_and_no_kernels():
    seen = []

    def function(x):
        seen.append((namespace_of(x), registry._owner(type(x))))
        return x

    trace(function, X)
    assert seen == [(recording, None)]


# ------------------------------------------------------------------ the namespace against NumPy


@pytest.mark.parametrize(
    "function",
    [
        lambda xp, x: xp.astype(x, xp.int32) << 3 >> 1,
        lambda xp, x: ~(xp.astype(x, xp.int64) & 5 | 2 ^ 7),
        lambda xp, x: x // 2 + x % 3 - (-x) + (+x),
        lambda xp, x: (x**2, x**0.5, x**-1, x**3, x**1.5, 2**x, xp.pow(x, xp.asarray(2.0, dtype=x.dtype))),
        lambda xp, x: 1 - x / 3 + 2.0 / (x + 5),
        lambda xp, x: (x == x[0, 0], x != 0, x < 1, x <= 1, x > 1, x >= 1),
        lambda xp, x: (xp.any(x > 2, axis=0), xp.all(x > -5), xp.prod(x, axis=1, keepdims=True), xp.std(x, axis=0)),
        lambda xp, x: (xp.var(x, correction=1), xp.sum(x > 0), xp.sum(xp.astype(x, xp.int32), axis=1), xp.min(x)),
        lambda xp, x: (xp.argmax(x), xp.argmax(x, axis=1), xp.argmin(x, axis=0, keepdims=True)),
        lambda xp, x: (xp.sort(x, axis=0), xp.argsort(x, axis=1), xp.argsort(x, axis=1, stable=True)),
        lambda xp, x: (xp.searchsorted(xp.sort(x[0, :]), x[1, :]), xp.flip(x), xp.flip(x, axis=1)),
        lambda xp, x: (xp.take(x, xp.asarray([1, 0, 1]), axis=1), x[xp.asarray([0, 1]), xp.asarray([2, 0])]),
        lambda xp, x: (xp.concat([x, x], axis=1), xp.concat([x, x], axis=None), xp.stack([x, x], axis=1)),
        lambda xp, x: (xp.permute_dims(x, (1, 0)), x.T, xp.matrix_transpose(x) @ x, xp.matmul(x, x.T)),
        lambda xp, x: (xp.broadcast_to(x[0, :], (4, 3)), xp.squeeze(x[:1, :], axis=0), xp.expand_dims(x, axis=1)),
        lambda xp, x: (xp.clip(x, -1.0, 1.0), xp.clip(x, min=0.0), xp.clip(x, max=0.0), xp.where(x > 0, x, 0.0)),
        lambda xp, x: (xp.zeros_like(x), xp.ones_like(x), xp.full_like(x, 3), xp.full((2,), 7, dtype=xp.int32)),
        lambda xp, x: (xp.arange(5), xp.arange(2, 9, 3, dtype=xp.int32), xp.arange(3.0), xp.zeros(2), xp.ones((2, 1))),
        lambda xp, x: (xp.cumulative_sum(x, axis=1), xp.linalg.matrix_norm(x), xp.tensordot(x, x, axes=2), xp.roll(x, 1)),
        lambda xp, x: (xp.unstack(x), xp.meshgrid(x[0, :], x[1, :]), xp.linalg.qr(x @ x.T + 9 * xp.eye(2, dtype=x.dtype))),
        lambda xp, x: (xp.logaddexp(x, 2 * x), xp.atan2(x, x + 1), xp.remainder(x, xp.asarray(2.0, dtype=x.dtype))),
        lambda xp, x: (xp.isnan(x), xp.isfinite(x), xp.isinf(x), xp.signbit(x), xp.logical_not(x > 0), xp.round(x)),
        lambda xp, x: (np.float32(2) * x, x * np.arange(3, dtype=np.float32), np.float32(1) - x),
        lambda xp, x: (x + xp.arange(3), xp.astype(x, xp.int32) * 0.5, xp.astype(x, xp.int32) / 4, (x > 0) * 2, (x > 0) * x),
        lambda xp, x: (xp.sqrt(xp.arange(3)), xp.astype(x, xp.float64) + x, xp.concat([x, xp.astype(x, xp.float64)])),
        lambda xp, x: (xp.arange(3) < 1.5, xp.astype(x, xp.int32) + xp.arange(3), xp.where(x > 0, x, xp.arange(3))),
        lambda xp, x: [row * 2 for row in x] + [len(x) * x],
        lambda xp, x: {"size": x * x.size, "ndim": x * x.ndim, "finfo": x * float(xp.finfo(x.dtype).eps)},
        lambda xp, x: xp.mean(x, axis=(0, 1), keepdims=True),
    ],
)
def test_the_namespace_does_what_numpy_does(function):
    with np.errstate(all="ignore"):
        wanted = function(np, X)
        cases.assert_same(run(lambda x: function(namespace_of(x), x), X), wanted)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_indexing_does_what_numpy_does(data):
    x = np.arange(60.0).reshape(3, 4, 5)
    bound = st.none() | st.integers(-6, 6)
    part = st.integers(-3, 2) | st.builds(slice, bound, bound, st.none() | st.sampled_from([-2, -1, 1, 2])) | st.none()
    key = data.draw(st.lists(part, max_size=5).filter(lambda parts: sum(p is not None for p in parts) <= 3))
    if data.draw(st.booleans()) and sum(p is not None for p in key) <= 3:
        key.insert(data.draw(st.integers(0, len(key))), ...)
    cases.assert_same(run(lambda a: a[tuple(key)], x), x[tuple(key)])


@pytest.mark.parametrize("name", [name for name, one in OPS.items() if one.cases])
def test_every_op_is_traced(name):
    one = OPS[name]
    from mlpx.ops.definition import Draw

    for case in one.cases:
        arrays = case.inputs(Draw())
        cases.assert_same(run(lambda *a: one(*a, **case.attributes), *arrays), one(*arrays, **case.attributes))  # noqa: B023


def test_python_numbers_are_weak_and_stay_numbers():
    program = trace(lambda x: 2 * x + 0.5, X)
    (two, _), (_, half) = (node.inputs for node in program.nodes)
    assert (two, half) == (Literal(2, np.dtype("float32")), Literal(0.5, np.dtype("float32")))
    assert program.outputs[0].dtype == np.float32


# ------------------------------------------------------------------ what cannot be recorded


@op
def stubborn(z):
    """An op that looks at values."""
    return (z if z[0, 0] > 0 else -z), ()


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (stubborn, r"bool\(\).*but stubborn is being traced"),
        (lambda x: float(x[0, 0]), r"float\(\) needs the values"),
        (lambda x: int(x[0, 0]), r"int\(\) needs the values"),
        (lambda x: [1, 2, 3][x[0, 0]], "use as an index"),
        (lambda x: np.exp(x) if False else np.asarray(x), "conversion to a NumPy array"),
        (lambda x: x[x > 0], "a mask as an index"),
        (lambda x: namespace_of(x).nonzero(x), "xp.nonzero"),
        (lambda x: namespace_of(x).unique_values(x), "xp.unique_values"),
        (lambda x: x.__setitem__(0, 1), "writes into an array"),
    ],
)
def test_what_needs_values_is_refused(function, match):
    with pytest.raises(TraceError, match=match):
        trace(function, X)


@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        (lambda x: (x > 0) - (x > 1), InvalidTypeError, "of bool arrays"),
        (lambda x: namespace_of(x).sqrt(namespace_of(x).astype(x, np.int8)), InvalidTypeError, "of int8 arrays"),
        (lambda x: x * 1j, TypeError, "unsupported operand"),
        (lambda x: x & 1, InvalidTypeError, "takes arrays of integers"),
        (lambda x: x @ x, InvalidInputError, r"shapes \(2, 3\) and \(2, 3\)"),
        (lambda x: x + x.T, InvalidInputError, "do not broadcast"),
        (lambda x: x[5, 0], InvalidInputError, "out of range"),
        (lambda x: x["a"], InvalidTypeError, "expected integers"),
        (lambda x: namespace_of(x).reshape(x, (4, 2)), InvalidInputError, "6 elements"),
        (lambda x: x.mean(), AttributeError, "xp.mean"),
        (lambda x: namespace_of(x).no_such_function(x), AttributeError, "no_such_function"),
        (lambda x: "text", InvalidTypeError, "returns arrays"),
        (lambda x: x + "text", TypeError, "unsupported operand"),
    ],
)
def test_what_does_not_fit_is_refused(function, error, match):
    with pytest.raises(error, match=match):
        trace(function, X)


def test_a_symbol_does_not_outlive_its_trace():
    kept: list[Symbol] = []
    trace(lambda x: kept.append(x * 1.5) or x, X)
    with pytest.raises(TraceError, match="another trace"):
        trace(lambda x: x + kept[0], X)
    with pytest.raises(TraceError, match="after the trace had ended"):
        recording.zeros((2,))


def test_other_libraries_run_programs():
    strict = pytest.importorskip("array_api_strict")
    step, given = cases.LISTED["option all, dropout"]()
    program = trace(step, *given, donated=0)
    device = strict.Device("device1")
    arrays = [leaf for _, leaf in cases.trees.flattened(given)]
    moved = [strict.asarray(np.asarray(array), device=device) for array in arrays]
    results = interpret(program, moved)
    expected = interpret(program, arrays)
    for a, b in zip(results, expected, strict=True):
        assert a.device == device
        np.testing.assert_array_equal(np.from_dlpack(strict.asarray(a, device=strict.Device("CPU_DEVICE"))), b)
