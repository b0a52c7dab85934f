"""Algebraic identities that hold bit by bit, signed zeros and NaN included; others are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlpx.program.ir import Literal, Node, Operand, Program, Value
from mlpx.program.primitives import ELEMENTWISE
from mlpx.program.rewrite.substitution import Substitution, only, with_nodes

_NEUTRAL_RIGHT = {
    "multiply": 1,
    "divide": 1,
    "subtract": 0,
    "bitwise_left_shift": 0,
    "bitwise_right_shift": 0,
    "bitwise_xor": 0,
    "bitwise_or": 0,
    "bitwise_and": -1,
    "floor_divide": 1,
}
_COMMUTES = frozenset(["multiply", "bitwise_xor", "bitwise_or", "bitwise_and", "add"])
_INVOLUTIONS = frozenset(["negative", "bitwise_invert", "logical_not", "matrix_transpose"])
_REPEATABLE = frozenset(["maximum", "minimum", "bitwise_and", "bitwise_or", "logical_and", "logical_or"])


def with_identities_applied(program: Program) -> Program:
    """The program without operations that return one of their operands as it is, or only rearrange an arrangement."""
    stands, made = Substitution(), {}
    kept: list[Node] = []
    for node in program.nodes:
        node = _without_broadcasts(stands.applied(node), made)
        if len(node.outputs) == 1 and node.body is None:
            same = _unchanged(node, made)
            if same is not None and same.shape == node.output.shape and same.dtype == node.output.dtype:
                stands[node.output] = same
                continue
            node = _simplified(node, made)
        made.update(dict.fromkeys(node.outputs, node))
        kept.append(node)
    return with_nodes(program, kept, stands)


def _unchanged(node: Node, made: dict[Value, Node]) -> Value | None:
    """The value that the node returns as it is."""
    name, inputs = node.primitive, node.inputs
    if name in _INVOLUTIONS:
        inner = only(made.get(node.arrays[0]), name)
        return inner.arrays[0] if inner is not None else None
    if name in _REPEATABLE and inputs[0] is inputs[1]:
        return node.arrays[0]
    if name in ("reshape", "broadcast_to", "astype", "positive", "slice", "concat") and len(node.arrays) == 1:
        whole = name != "slice" or all(step == 1 for _, _, step in node.attributes["bounds"])
        return node.arrays[0] if whole else None
    if len(inputs) != 2:
        return None
    for operand, other in ((inputs[0], inputs[1]), (inputs[1], inputs[0])):
        first = operand is inputs[0]
        if isinstance(operand, Value) and (first or name in _COMMUTES) and _is_neutral(name, other, operand.dtype):
            return operand
    return None


def _is_neutral(name: str, other: Operand, dtype: np.dtype) -> bool:
    """Whether `x name other` is x for every x of that dtype: x + 0.0 is not, where x is -0.0."""
    if not isinstance(other, Literal) or isinstance(other.value, bool):
        return False
    if name == "add":
        return other.value == 0 and (dtype.kind in "iu" or str(float(other.value)) == "-0.0")
    if name == "subtract" and str(float(other.value)) == "-0.0" and dtype.kind == "f":
        return False
    return name in _NEUTRAL_RIGHT and other.value == _NEUTRAL_RIGHT[name]


def _simplified(node: Node, made: dict[Value, Node]) -> Node:
    """The node, or one that gives the same with less."""
    name = node.primitive
    if (
        name == "multiply"
        and node.output.dtype.kind in "iu"
        and any(isinstance(o, Literal) and o.value == 0 for o in node.inputs)
    ):
        return Node("full", (), node.outputs, {"shape": node.output.shape, "value": 0, "dtype": node.output.dtype})
    if name == "add" and len(node.arrays) == 2 and node.output.dtype.kind in "iu":
        for zero, other in ((node.arrays[0], node.arrays[1]), (node.arrays[1], node.arrays[0])):
            full = only(made.get(zero), "full")
            if full is not None and full.attributes["value"] == 0 and other.dtype == node.output.dtype:
                return Node("broadcast_to", (other,), node.outputs, {"shape": node.output.shape})
    if name == "reshape":
        inner = only(made.get(node.arrays[0]), "reshape")
        if inner is not None:
            return replace(node, inputs=inner.inputs)
    return node


def _without_broadcasts(node: Node, made: dict[Value, Node]) -> Node:
    """An elementwise node that reads what was broadcast in place of the broadcast, where its result keeps its shape."""
    if node.primitive not in ELEMENTWISE:
        return node
    inputs = list(node.inputs)
    for i, operand in enumerate(inputs):
        source = only(made.get(operand), "broadcast_to") if isinstance(operand, Value) else None
        if source is not None:
            shorter = [*inputs[:i], source.inputs[0], *inputs[i + 1 :]]
            if np.broadcast_shapes(*(one.shape for one in shorter)) == node.output.shape:
                inputs = shorter
    return node if tuple(inputs) == node.inputs else replace(node, inputs=tuple(inputs))
