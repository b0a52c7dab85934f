"""Programs as text and as graphs."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import program_cases as cases
import pytest

from mlpx.namespace import namespace_of
from mlpx.program import rewrite
from mlpx.program.printer import dot, explain, printed
from mlpx.program.trace import trace

X = np.ones((2, 3), np.float32)


def test_a_traced_function_is_printed_line_by_line():
    program = trace(lambda x, w: (namespace_of(x).tanh(x @ w.T) * 0.5, x), X, X)
    lines = [re.sub(r"\s+", " ", line) for line in printed(program).splitlines()]
    assert lines == [
        "%0: float32[2, 3] = input x",
        "%1: float32[2, 3] = input w",
        "%2: float32[3, 2] = matrix_transpose(%1)",
        "%3: float32[2, 2] = matmul(%0, %2)",
        "%4: float32[2, 2] = tanh(%3)",
        "%5: float32[2, 2] = multiply(%4, 0.5)",
        "result.0 = %5",
        "result.1 = %0",
    ]


def test_regions_are_printed_with_their_bodies_and_labels():
    step, given = cases.LISTED["network dense"]()
    text = explain(rewrite.optimised(trace(step, *given, donated=0)))
    assert re.search(r"= product 7×5\(.*\)\n    %\d+: float32\[6, 5\] = matrix_transpose\(%\d+\) +# affine", text)
    assert re.search(r"    %\d+: float32\[7, 5\] = maximum\(%\d+, 0\.0\) +# relu", text)
    assert re.search(r"accumulating %\d+", text)
    assert re.search(r"state\.params = %\d+ in the place of state\.params", text)
    assert "run by the array library" not in text


def test_what_the_library_runs_itself_is_said():
    step, given = cases.LISTED["network own layer"]()
    text = explain(rewrite.optimised(trace(step, *given, donated=0)))
    assert "run by the array library itself: cumulative_sum in SquaredSwish.forward" in text


def test_constants_are_shown():
    def function(x):
        xp = namespace_of(x)
        return xp.take(x, xp.asarray([1, 0], dtype=xp.int32), axis=1) + xp.asarray(2.5, dtype=x.dtype)

    text = printed(trace(function, X))
    assert "constant 2 numbers" in text
    assert "constant 2.5" in text


@pytest.mark.parametrize("name", ["network dense", "network own layer", "option all, dropout"])
def test_the_graph_names_every_node_and_arrow(name):
    step, given = cases.LISTED[name]()
    program = rewrite.optimised(trace(step, *given, donated=0))
    text = dot(program)
    assert len(re.findall(r"^  n\d+ \[", text, re.MULTILINE)) == len(program.nodes)
    arrows = sum(len(set(node.arrays)) for node in program.nodes) + len(program.outputs)
    assert text.count(" -> ") == arrows
    known = set(re.findall(r"^  ([inco]\d+) \[", text, re.MULTILINE))
    assert {end for pair in re.findall(r"(\w+) -> (\w+)", text) for end in pair} <= known
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=text.encode(), check=True, capture_output=True)
