"""Planning: a run in planned memory gives the same bits, nothing alive is overwritten, less memory is taken than eagerly."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import program_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpx import optim, registry
from mlpx.compositions import Sequential
from mlpx.layers import BatchNorm, Dense, Dropout, LayerNorm
from mlpx.namespace import namespace_of
from mlpx.program import rewrite, trees
from mlpx.program.interpret import interpret, interpreted, matched, result_of
from mlpx.program.ir import Node, Program, Value
from mlpx.program.plan import ALIGNMENT, Plan, placed_in_arena, plan
from mlpx.program.primitives import CREATION, VIEW
from mlpx.program.trace import trace
from mlpx.program.views import whole


@pytest.fixture(autouse=True, scope="module")
def _definitions() -> Iterator[None]:
    """Eager results are those of the definitions, whatever kernels a backend has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "kernel_for", lambda *_: None)
        yield


class Memory:
    """The buffers of a plan as bytes, and values as arrays in them."""

    def __init__(self, planned: Plan, inputs: list[np.ndarray]) -> None:
        self.planned = planned
        self.arena = np.full(planned.arena_bytes, 0xFF, np.uint8)
        self.inputs = [np.array(array, order="C") for array in inputs]
        self.others: dict[tuple[str, int], np.ndarray] = {}
        for value, array in planned.program.constants.items():
            self.array(value)[...] = array

    def array(self, value: Value) -> np.ndarray:
        """The elements of a value where they lie."""
        buffer, view = self.planned.places[value].buffer, self.planned.places[value].view
        if buffer.kind == "arena":
            memory = self.arena[buffer.start : buffer.start + buffer.nbytes]
        elif buffer.kind == "input":
            memory = np.atleast_1d(self.inputs[buffer.number]).reshape(-1).view(np.uint8)
        else:
            memory = self.others.setdefault((buffer.kind, buffer.number), np.full(buffer.nbytes, 0xFF, np.uint8))
        flat = memory.view(value.dtype)
        low, high = view.extent
        assert 0 <= low <= high <= flat.size
        steps = tuple(step * value.dtype.itemsize for step in view.strides)
        return np.ndarray(value.shape, value.dtype, flat.data, view.offset * value.dtype.itemsize, steps)


def run(planned: Plan, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a program run in the memory that is planned for it; what is dead is overwritten at once."""
    memory = Memory(planned, inputs)
    for i, node in enumerate(planned.program.nodes):
        if node.primitive in VIEW and node not in planned.copies:
            continue
        if node.primitive in ("concat", "stack") and node not in planned.copies:
            continue
        values = tuple(dict.fromkeys(node.arrays))
        results = interpret(Program(values, node.outputs, (node,)), [memory.array(v) for v in values], np)
        for value, result in zip(node.outputs, results, strict=True):
            memory.array(value)[...] = result
        for buffer, (_, last) in planned.lives.items():
            if last == i:
                memory.arena[buffer.start : buffer.start + buffer.nbytes] = 0xFF
    return [memory.array(value).copy() for value in planned.program.outputs]


def check(program: Program, trees_of_arrays: tuple) -> Plan:
    """A plan whose run gives the bits of the interpreter, and in which nothing alive overlaps."""
    planned = plan(program)
    planned.program.check()
    arrays = [np.asarray(array) for array in matched(program, trees_of_arrays)]
    with np.errstate(all="ignore"):
        wanted = interpreted(program)(*trees_of_arrays)
        cases.assert_same(result_of(planned.program, run(planned, arrays)), wanted)
    assert_disjoint(planned)
    return planned


def assert_disjoint(planned: Plan) -> None:
    """No two parts of the arena that hold something at the same node share a byte."""
    alive = [(first, last, b.start, b.start + b.nbytes) for b, (first, last) in planned.lives.items() if b.nbytes]
    for i, (first, last, start, end) in enumerate(alive):
        assert start % ALIGNMENT == 0
        assert end <= planned.arena_bytes
        for other_first, other_last, other_start, other_end in alive[:i]:
            assert last < other_first or other_last < first or end <= other_start or other_end <= start


# ------------------------------------------------------------------ whole programs


@pytest.mark.slow
@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("name", cases.LISTED)
def test_a_planned_step_has_the_bits_of_the_step(name, divide):
    step, given = cases.LISTED[name]()
    traced = trace(step, *given, donated=0)
    planned = check(rewrite.optimised(traced, divide_updates=divide), given)
    check(traced, given)
    kinds = {name: planned.places[v].buffer.kind for name, v in zip(traced.output_names, planned.program.outputs, strict=True)}
    assert {kind for name, kind in kinds.items() if name.startswith("state.")} == {"input"}


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=60)
@given(cases.settings())
def test_a_random_network_runs_in_planned_memory(drawn):
    step, given = drawn
    check(rewrite.optimised(trace(step, *given, donated=0)), given)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=200)
@given(cases.functions())
def test_a_random_function_runs_in_planned_memory(drawn):
    function, given = drawn
    base = trace(function, *given)
    check(base, given)
    check(rewrite.optimised(base), given)


WIDE = {
    "dense": lambda: Sequential(Dense(64, 128, "relu"), Dense(128, 128, "relu"), Dense(128, 10)),
    "norms": lambda: Sequential(
        Dense(64, 128, "gelu"), LayerNorm(128), Dropout(0.2), Dense(128, 64), BatchNorm(64), Dense(64, 10)
    ),
}


@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("name", WIDE)
def test_less_memory_is_taken_than_eagerly(name, clip_norm):
    step, given = cases.setting(
        WIDE[name](), "softmax_cross_entropy", optim.Adam(1e-3), rows=128, width=64, clip_norm=clip_norm
    )
    planned = check(rewrite.optimised(trace(step, *given, donated=0)), given)
    step(*given)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = step(*given)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert len(kept) == 2
    assert planned.peak_bytes <= peak
    assert f"{planned.arena_bytes:,}" in planned.report()


# ------------------------------------------------------------------ rule by rule


def test_parts_of_a_concatenation_are_made_inside_it():
    def function(x):
        xp = namespace_of(x)
        return xp.concat([xp.reshape(x * 2, (-1,)), x[0, :] + 1, xp.zeros((2,), dtype=x.dtype)]), xp.stack([x - 1, x - 2])

    planned = check(trace(function, np.ones((2, 3), np.float32)), (np.ones((2, 3), np.float32),))
    assert not planned.copies
    assert planned.arena_bytes == 0
    offsets = {n.primitive: planned.places[n.output].view.offset for n in planned.program.nodes if n.primitive != "stack"}
    assert (offsets["multiply"], offsets["add"], offsets["full"], offsets["subtract"]) == (0, 6, 9, 6)


def test_parts_that_cannot_be_made_inside_are_copied():
    def function(x):
        xp = namespace_of(x)
        y = x * 2
        return xp.concat([x, y, y]), xp.concat([y.T, y.T], axis=1), xp.reshape(y.T, (-1,))

    planned = check(trace(function, np.ones((2, 3), np.float32)), (np.ones((2, 3), np.float32),))
    assert sorted(node.primitive for node in planned.copies) == ["concat", "concat", "reshape"]


def test_a_part_of_two_concatenations_is_made_in_one_and_copied_to_the_other():
    def function(x):
        xp = namespace_of(x)
        y, z = xp.reshape(x * 2, (-1,)), xp.reshape(x * 3, (-1,))
        return xp.concat([y, z]), xp.concat([z, y])

    planned = check(trace(function, np.ones((2, 3), np.float32)), (np.ones((2, 3), np.float32),))
    assert [node.primitive for node in planned.copies] == ["concat"]


def test_a_donated_input_is_overwritten_only_after_its_last_reader():
    def step(state, x):
        p, q = state
        return (p + x, q + 1), p * 3 + q

    given = ((np.ones(3, np.float32), np.zeros(3, np.float32)), np.ones(3, np.float32))
    planned = check(trace(step, *given, donated=0), given)
    assert [planned.places[v].buffer.kind for v in planned.program.outputs] == ["input", "input", "output"]
    assert planned.program.nodes[-2].primitive == planned.program.nodes[-1].primitive == "add"


def test_a_donated_input_that_would_be_read_too_late_is_kept():
    def swap(state, x):
        p, q = state
        return (q * 2, p * 2), x

    given = ((np.ones(3, np.float32), np.zeros(3, np.float32)), np.ones(3, np.float32))
    planned = check(trace(swap, *given, donated=0), given)
    kinds = [planned.places[v].buffer.kind for v in planned.program.outputs]
    assert sorted(kinds[:2]) == ["input", "output"]

    def turned(state):
        return state @ state, state

    def moved(state):
        return namespace_of(state).concat([state[1:] * 2, state[:1] * 2]), ()

    for function, given in ((turned, np.ones((3, 3))), (moved, np.arange(3.0))):
        planned = check(rewrite.optimised(trace(function, given, donated=0)), (given,))
        assert planned.places[planned.program.outputs[0]].buffer.kind == "output"


def test_a_region_that_reads_a_row_twice_does_not_write_over_it():
    def softmax(state):
        xp = namespace_of(state)
        e = xp.exp(state)
        return e / xp.sum(e, axis=1, keepdims=True), ()

    given = np.ones((2, 3))
    planned = check(rewrite.optimised(trace(softmax, given, donated=0)), (given,))
    assert planned.places[planned.program.outputs[0]].buffer.kind == "output"
    planned = check(rewrite.optimised(trace(lambda state: (state * 2 + 1, ()), given, donated=0)), (given,))
    assert planned.places[planned.program.outputs[0]].buffer.kind == "input"


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_blocks_in_use_together_do_not_overlap(blocks):
    blocks = [(nbytes, min(a, b), max(a, b)) for nbytes, a, b in blocks]
    starts, total = placed_in_arena(blocks)
    used = np.zeros((10, total), np.uint8)
    for start, (nbytes, first, last) in zip(starts, blocks, strict=True):
        used[first : last + 1, start : start + nbytes] += 1
    assert used.max(initial=0) <= 1
    aligned = [-(-nbytes // ALIGNMENT) * ALIGNMENT for nbytes, _, _ in blocks]
    assert total <= sum(aligned)
    assert total >= max(sum(n for n, (_, f, e) in zip(aligned, blocks, strict=True) if f <= t <= e) for t in range(10))


def test_creations_that_no_concatenation_takes_are_constants():
    def function(x):
        xp = namespace_of(x)
        return xp.flip(xp.arange(3, dtype=x.dtype)) @ x

    given = np.ones((3, 3), np.float32)
    planned = check(trace(function, given), (given,))
    (made,) = (node for node in planned.program.nodes if node.primitive in CREATION)
    assert planned.places[made.output].buffer.kind == "constant"
    assert planned.places[made.output].view == whole((3,))
    assert isinstance(made, Node)
    assert trees.flattened(planned.program.result) == [("", 0)]
