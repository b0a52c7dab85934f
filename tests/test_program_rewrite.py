"""Rewriting: every rule by itself on a program where it must act, and all together on random networks and functions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import program_cases as cases
import pytest
from hypothesis import given, settings
from program_loops import looped

from mlpx import registry
from mlpx.compositions import Sequential
from mlpx.layers import Dense
from mlpx.namespace import constant, namespace_of
from mlpx.program import rewrite
from mlpx.program.interpret import interpreted, matched
from mlpx.program.ir import Literal, Program
from mlpx.program.trace import trace
from mlpx.testing import budgets

X = np.asarray([[1.0, -2.0, 3.0], [0.5, -0.0, np.nan]], np.float32)
ROW = np.asarray([0.5, -1.0, 2.0], np.float32)


@pytest.fixture(autouse=True, scope="module")
def _definitions() -> Iterator[None]:
    """Eager results are those of the definitions, whatever kernels a backend has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "kernel_for", lambda *_: None)
        yield


def primitives(program: Program) -> list[str]:
    """What the nodes are, regions by their kind."""
    return [node.region.kind if node.region else node.primitive for node in program.nodes]


def rewritten(rule, function, *arrays):
    """A traced function after a rule, known to give the same bits."""
    with np.errstate(all="ignore"):
        program = rule(trace(function, *arrays))
        program.check()
        cases.assert_same(interpreted(program)(*arrays), function(*arrays))
    return program


# ------------------------------------------------------------------ everything together


@pytest.mark.slow
@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("name", cases.LISTED)
def test_an_optimised_step_has_the_bits_of_the_step(name, divide):
    step, given = cases.LISTED[name]()
    program = rewrite.optimised(trace(step, *given, donated=0), divide_updates=divide)
    program.check()
    cases.assert_same(interpreted(program)(*given), step(*given))


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=60)
@given(cases.settings())
def test_a_random_network_optimised_has_the_bits_of_the_network(drawn):
    step, given = drawn
    program = rewrite.optimised(trace(step, *given, donated=0))
    program.check()
    cases.assert_same(interpreted(program)(*given), step(*given))


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=300)
@given(cases.functions())
def test_a_random_function_optimised_has_the_bits_of_the_function(drawn):
    function, given = drawn
    with np.errstate(all="ignore"):
        base = trace(function, *given)
        wanted = function(*given)
        for rule in (rewrite.simplified, rewrite.with_rows_fused, rewrite.optimised):
            program = rule(base)
            program.check()
            cases.assert_same(interpreted(program)(*given), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", cases.LISTED)
def test_everything_elementwise_is_in_regions(name):
    step, given = cases.LISTED[name]()
    left = {node.primitive for node in rewrite.optimised(trace(step, *given, donated=0)).nodes}
    moved = {
        "slice",
        "reshape",
        "concat",
        "stack",
        "matrix_transpose",
        "squeeze",
        "expand_dims",
        "take",
        "full",
        "broadcast_to",
    }
    assert left <= {"fused", "arange", "call", *moved}


# ------------------------------------------------------------------ regions as the loops that they are

PLAIN = ("sgd", "momentum", "nesterov")
LOOPS = {
    **{f"network {name}": (name, "softmax_cross_entropy", {}) for name in cases.NETWORKS},
    **{f"loss {name}": ("dense", name, {"weights": True}) for name in cases.LOSSES},
    "clip": ("batch norm", "mse", {"clip_norm": 0.1, "clip_value": 0.1, "ema": 0.9, "l2": 0.1}),
    "l2": ("layers of one shape", "mse", {"l2": 0.1}),
    "square": ("batch norm", "softmax_cross_entropy", {"rows": 5}),
    "one row": ("layer norm", "softmax_cross_entropy", {"rows": 1}),
    "epoch": ("dropout", "softmax_cross_entropy", {"whole_epoch": True, "weights": True}),
}


def assert_loops_agree(step, given, **options):
    """A step whose regions are run row by row or column by column gives what the step gives, but for the order of sums."""
    program = rewrite.optimised(trace(step, *given, donated=0), **options)
    results = looped(program, [np.asarray(array) for array in matched(program, given)])
    expected = [array for _, array in cases.trees.flattened(step(*given))]
    for name, a, b in zip(program.output_names, results, expected, strict=True):
        assert (a.shape, a.dtype) == (np.shape(b), b.dtype), name
        if a.dtype.kind == "f":
            assert budgets.error_in_eps(a, b, a.dtype) <= budgets.network(depth=8, terms=9, outputs=9), name
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("name", LOOPS)
def test_regions_run_as_loops(name, divide):
    net, loss, options = LOOPS[name]
    step, given = cases.setting(cases.NETWORKS[net](), loss, cases.OPTIMIZERS["momentum"](), dtype="float64", **options)
    assert_loops_agree(step, given, divide_updates=divide)


@pytest.mark.parametrize("name", cases.ACTIVATIONS)
def test_activations_run_as_loops(name):
    net = Sequential(Dense(6, 5, name), Dense(5, 3))
    step, given = cases.setting(net, "mse", cases.OPTIMIZERS["momentum"](), dtype="float64")
    assert_loops_agree(step, given)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=60)
@given(cases.settings(PLAIN, ("float64",)))
def test_regions_of_random_networks_run_as_loops(drawn):
    assert_loops_agree(*drawn)


# ------------------------------------------------------------------ rule by rule


def test_dead_code_goes():
    program = rewritten(rewrite.without_dead_code, lambda x: (x + 1, x * 2 - constant(3.0, x))[0], X)
    assert primitives(program) == ["add"]
    assert not program.constants
    assert len(program.inputs) == 1


def test_dead_outputs_of_regions_go():
    def function(x):
        return x + 1, x + 1 > 0

    program = rewrite.with_rows_fused(trace(function, X))
    half = rewrite.without_dead_code(program.replaced(outputs=program.outputs[:1], result=0, output_names=("result",)))
    (region,) = half.nodes
    assert region.body is not None
    assert [node.primitive for node in region.body.nodes] == ["add"]
    half.check()


def test_common_subexpressions_are_computed_once():
    program = rewritten(
        rewrite.without_common_subexpressions, lambda x: (x + 1) * (x + 1) + constant(1.0, x) + constant(1.0, x), X
    )
    assert primitives(program) == ["add", "multiply", "add", "add"]
    assert len(program.constants) == 1


def test_numbers_that_differ_in_sign_or_kind_are_no_common_subexpressions():
    program = rewritten(rewrite.without_common_subexpressions, lambda x: (x * 0.0, x * -0.0, x * 1, x * 1.0), X)
    assert primitives(program) == ["multiply"] * 4


def test_constants_are_folded():
    def function(x):
        xp = namespace_of(x)
        shares = xp.full((2,), 0.25, dtype=x.dtype) / 2
        bound = -constant(3.0, x)
        return xp.maximum(x, bound) * shares[:, None]

    program = rewritten(lambda p: rewrite.without_dead_code(rewrite.with_constants_folded(p)), function, X)
    assert [(node.primitive, node.inputs[1]) for node in program.nodes] == [
        ("maximum", Literal(-3.0, X.dtype)),
        ("multiply", Literal(0.125, X.dtype)),
    ]


def test_a_number_that_gives_the_result_its_shape_stays_an_array():
    program = rewritten(rewrite.with_constants_folded, lambda x: x[0, 0] + namespace_of(x).full((3,), 2.0, dtype=x.dtype), X)
    assert primitives(program) == ["slice", "squeeze", "full", "add"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 1,
        lambda x: 1.0 * x,
        lambda x: x / 1,
        lambda x: x - 0.0,
        lambda x: x + -0.0,
        lambda x: (-x).__neg__(),
        lambda x: x.T.T,
        lambda x: namespace_of(x).maximum(x, x),
        lambda x: namespace_of(x).concat([x]),
    ],
)
def test_what_changes_nothing_goes(function):
    program = rewritten(lambda p: rewrite.without_dead_code(rewrite.with_identities_applied(p)), function, X)
    assert primitives(program) == []


@pytest.mark.parametrize(
    "function", [lambda x: x + 0.0, lambda x: x - -0.0, lambda x: x * 0, lambda x: 0.0 - x, lambda x: 1 / x]
)
def test_what_changes_a_bit_stays(function):
    """−0.0 + 0.0 is 0.0; NaN · 0 is NaN."""
    assert len(rewritten(rewrite.with_identities_applied, function, X).nodes) == 1


@pytest.mark.parametrize("function", [lambda k: k + 0, lambda k: k ^ 0, lambda k: k << 0, lambda k: k & -1, lambda k: k // 1])
def test_identities_of_integers(function):
    assert primitives(rewritten(rewrite.with_identities_applied, function, np.arange(5))) == []


def test_a_broadcast_that_its_reader_makes_anyway_goes():
    program = rewritten(rewrite.simplified, lambda x, r: x + namespace_of(x).broadcast_to(r, x.shape) + (r + 0 * r), X, ROW)
    assert "broadcast_to" not in primitives(program)


def test_rows_with_their_reductions_are_one_region():
    def softmax(x):
        xp = namespace_of(x)
        e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
        return e / xp.sum(e, axis=1, keepdims=True)

    (region,) = rewritten(rewrite.with_rows_fused, softmax, X).nodes
    assert region.region is not None
    assert (region.region.kind, region.region.space, region.region.accumulated) == ("rows", (2, 3), ())
    assert sorted(set(region.region.roles.values())) == ["full", "row"]


def test_sums_over_the_rows_end_a_region():
    def centred(x):
        xp = namespace_of(x)
        return x * 2 - xp.sum(x * 2, axis=0)

    program = rewritten(rewrite.with_rows_fused, centred, X)
    assert primitives(program) == ["rows", "rows"]
    first = program.nodes[0].region
    assert first is not None
    assert [value.shape for value in first.accumulated] == [(3,)]
    (columns,) = rewritten(lambda p: rewrite.with_columns_fused(rewrite.with_rows_fused(p)), centred, X).nodes
    assert columns.region is not None
    assert (columns.region.kind, columns.region.space) == ("columns", (2, 3))


def test_what_lies_between_keeps_two_loops_apart():
    """The second loop needs the sorted first one: they cannot be one."""
    program = rewritten(rewrite.with_rows_fused, lambda x: x * 2 + namespace_of(x).sort(x * 2, axis=1), X)
    assert primitives(program) == ["rows", "sort", "rows"]


def test_a_mask_is_made_where_it_is_used():
    """The backward pass reads a, which is kept anyway, and makes its own mask: nothing but a is written for it."""

    def forward_backward(x, w):
        xp = namespace_of(x)
        a = xp.maximum(x + 1, constant(0.0, x))
        dz = (a @ w) * xp.astype(a > 0, x.dtype)
        return a, dz

    program = rewritten(rewrite.with_rows_fused, forward_backward, X, np.eye(3, dtype=np.float32))
    assert primitives(program) == ["rows", "matmul", "rows"]
    assert len(program.nodes[0].outputs) == 1


def test_a_sum_stays_where_its_terms_are_made():
    """Made where it is used, it would have both terms written instead of itself."""

    def function(x):
        xp = namespace_of(x)
        e, t = xp.exp(x), xp.tanh(x)
        return xp.sort(e * t, axis=1) * (e + t)

    program = rewritten(rewrite.with_rows_fused, function, X)
    assert primitives(program) == ["rows", "sort", "rows"]
    (added,) = (node for node in program.walk() if node.primitive == "add")
    assert added.output in program.nodes[2].inputs


@pytest.mark.parametrize(
    "function",
    [
        lambda xp, x, r: (x + xp.sum(x, axis=1)) * (xp.exp(x) + xp.sum(x, axis=1)[:, None]) + xp.max(x, axis=1),
        lambda xp, x, r: (x + r) * r[:, None] + xp.sum(x, axis=1) * r,
        lambda xp, x, r: xp.exp(r)[:, None] * x + xp.exp(r) * x,
        lambda xp, x, r: (x - xp.mean(x, axis=0)) * r + (x - xp.mean(x, axis=0)) * r[:, None],
        lambda xp, x, r: xp.sum(x * r, axis=0) * xp.sum(x * r[:, None], axis=1) + x,
    ],
)
def test_rows_and_columns_of_a_square_table_are_told_apart(function):
    arrays = [np.asarray([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0], [2.0, 1.5, -0.5]]), np.asarray([0.5, -1.0, 2.0])]
    program = rewritten(rewrite.optimised, lambda x, r: function(namespace_of(x), x, r), *arrays)
    (result,) = looped(program, arrays)
    assert budgets.error_in_eps(result, function(np, *arrays), result.dtype) <= budgets.network(depth=1, terms=3)


def test_what_follows_a_product_rides_on_it():
    w, b = np.ones((4, 3), np.float32), np.ones(4, np.float32)

    def layer(x, w, b):
        return namespace_of(x).tanh(x @ w.T + b)

    (region,) = rewritten(rewrite.optimised, layer, X, w, b).nodes
    assert region.region is not None
    assert region.body is not None
    assert region.region.kind == "product"
    assert [node.primitive for node in region.body.nodes] == ["matrix_transpose", "matmul", "add", "tanh"]
    roles = {str(value.shape): role for value, role in region.region.roles.items()}
    assert roles == {"(4, 3)": "operand", "(3, 4)": "operand", "(2, 3)": "operand", "(2, 4)": "full", "(4,)": "column"}


def test_an_operand_that_a_shortcut_adds_again_is_two_inputs():
    square = np.nan_to_num(X)[:, :2]
    (region,) = rewritten(rewrite.optimised, lambda x, w: x @ w.T + x, square, np.ones((2, 2), np.float32)).nodes
    assert region.region is not None
    assert region.body is not None
    twice = [inner for outer, inner in zip(region.inputs, region.body.inputs, strict=True) if outer is region.inputs[1]]
    assert [region.region.roles[value] for value in twice] == ["operand", "full"]


def test_what_precedes_a_product_alone_goes_into_it():
    program = rewritten(rewrite.optimised, lambda x, w: (x * 2).T @ w, X, np.ones((2, 4), np.float32))
    assert primitives(program) == ["product"]
    program = rewritten(rewrite.optimised, lambda x, w: ((x * 2).T @ w, x * 2), X, np.ones((2, 4), np.float32))
    assert primitives(program) == ["rows", "product"]


def test_updates_are_divided_among_the_gradients():
    p = np.arange(10, dtype=np.float32)

    def update(p, x, r):
        xp = namespace_of(p)
        g = xp.concat([xp.reshape(x.T @ x, (-1,))[:6], r, xp.zeros((1,), dtype=p.dtype)])
        m = 0.9 * p + 0.1 * (g * g)
        return p - g / (xp.sqrt(m) + 1), m

    program = rewritten(lambda p: rewrite.simplified(rewrite.with_updates_divided(p)), update, p, np.nan_to_num(X), ROW)
    joined = [node for node in program.nodes if node.primitive == "concat"]
    assert [[value.size for value in node.arrays] for node in joined] == [[6, 3, 1], [6, 3, 1]]
    assert all(node.output in program.outputs for node in joined)
    assert len([node for node in program.nodes if node.primitive == "sqrt"]) == 3


def test_updates_that_need_the_whole_gradient_are_not_divided():
    def clipped(p, r):
        xp = namespace_of(p)
        g = xp.concat([r, r])
        return p - g / xp.sum(g * g)

    program = trace(clipped, np.ones(6, np.float32), ROW)
    assert rewrite.with_updates_divided(program).nodes == program.nodes


def test_a_gradient_is_consumed_by_the_product_that_makes_it():
    step, given = cases.setting(cases.NETWORKS["dense"](), "softmax_cross_entropy", cases.OPTIMIZERS["adam"]())
    program = rewrite.optimised(trace(step, *given, donated=0))
    sizes = {value.shape for node in program.nodes for value in node.outputs}
    shapes = [node.region.space for node in program.nodes if node.region and node.region.kind == "product"]
    assert shapes.count((5, 6)) == shapes.count((3, 5)) == 1
    updated = next(node for node in program.nodes if node.region and node.region.space == (5, 6))
    assert [value.label for value in updated.outputs] == ["adam"] * 3  # m, v and the parameters; no gradient
    assert (5, 6) in sizes
