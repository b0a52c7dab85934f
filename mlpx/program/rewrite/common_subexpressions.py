"""Computing once what is computed twice."""

from __future__ import annotations

from typing import Any

from mlpx.program.ir import Node, Program, Value
from mlpx.program.rewrite.substitution import Substitution, identity, with_nodes


def without_common_subexpressions(program: Program) -> Program:
    """The program with one node for all that compute the same from the same, and one constant for equal ones."""
    stands, first = Substitution(), {}
    for value, array in program.constants.items():
        key = (array.dtype.str, array.shape, array.tobytes())
        stands[value] = first.setdefault(key, value)
    kept: list[Node] = []
    known: dict[Any, tuple[Value, ...]] = {}
    for node in program.nodes:
        node = stands.applied(node)
        key = identity(node)
        outputs = known.setdefault(key, node.outputs)
        if outputs is node.outputs:
            kept.append(node)
        for mine, theirs in zip(node.outputs, outputs, strict=True):
            stands[mine] = theirs
    constants = {value: array for value, array in program.constants.items() if stands[value] is value}
    return with_nodes(program, kept, stands, constants=constants)
