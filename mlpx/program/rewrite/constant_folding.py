"""Computing now what does not depend on any input, and writing single numbers as literals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlpx.program.interpret import interpret
from mlpx.program.ir import Literal, Node, Operand, Program, Value
from mlpx.program.primitives import ELEMENTWISE, VIEW
from mlpx.program.rewrite.substitution import Substitution, with_nodes

FOLDED_BYTES = 4096  # what is larger is made when the program runs, not kept
EXACT = frozenset(
    [
        "add",
        "subtract",
        "multiply",
        "divide",
        "negative",
        "abs",
        "square",
        "maximum",
        "minimum",
        "astype",
        "equal",
        "not_equal",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
    ]
)


def with_constants_folded(program: Program) -> Program:
    """The program with results of constants as constants, and numbers where an array holds one number everywhere.

    What is folded here is computed by NumPy in the very shape it has in the program, or by operations that IEEE 754 rounds
    correctly, so the bits stay.
    """
    stands, kept = Substitution(), []
    constants = dict(program.constants)
    filled: dict[Value, bool | int | float] = {value: array.item() for value, array in constants.items() if array.size == 1}
    for node in program.nodes:
        node = _with_literals(stands.applied(node), filled)
        if node.primitive == "full":
            filled[node.output] = node.attributes["value"]
        elif number := _one_number(node, filled):
            node = Node("full", (), node.outputs, {"shape": node.output.shape, "value": number[0], "dtype": node.output.dtype})
            filled[node.output] = number[0]
        elif _foldable(node, constants):
            array = _computed(node, constants)
            constants[node.output] = array
            if array.size == 1:
                filled[node.output] = array.item()
            continue
        kept.append(node)
    return with_nodes(program, kept, stands, constants=constants)


def _with_literals(node: Node, filled: dict[Value, bool | int | float]) -> Node:
    """A node that reads numbers in the place of arrays of one number, where that changes neither shape nor dtype."""
    if node.primitive not in ELEMENTWISE - {"pow", "astype", "clip"}:
        return node
    inputs: list[Operand] = list(node.inputs)
    for i, operand in enumerate(inputs):
        if not isinstance(operand, Value) or operand not in filled or (node.primitive == "where" and i == 0):
            continue
        others = [other for j, other in enumerate(inputs) if j != i and isinstance(other, Value)]
        typed = others[1:] if node.primitive == "where" else others
        if not any(other.dtype == operand.dtype for other in typed):
            continue
        if np.broadcast_shapes(*(other.shape for other in others)) == node.output.shape:
            inputs[i] = Literal(filled[operand], operand.dtype)
    return node if tuple(inputs) == node.inputs else replace(node, inputs=tuple(inputs))


def _one_number(node: Node, filled: dict[Value, bool | int | float]) -> tuple[bool | int | float] | None:
    """The number that an array of one number everywhere holds, of which not the number but the shape is an array's."""
    if node.output.size <= 1 or not node.inputs:
        return None
    if node.primitive in VIEW:
        source = node.arrays[0]
        return (filled[source],) if source in filled else None
    if node.primitive not in EXACT or not all(isinstance(one, Literal) or one in filled for one in node.inputs):
        return None
    small = tuple(one if isinstance(one, Literal) else Value(-1 - i, (1,), one.dtype) for i, one in enumerate(node.inputs))
    arrays = [np.full((1,), filled[one], one.dtype) for one in node.inputs if isinstance(one, Value)]
    output = Value(-len(small) - 1, (1,), node.output.dtype)
    values = tuple(one for one in small if isinstance(one, Value))
    return (_quiet(Program(values, (output,), (replace(node, inputs=small, outputs=(output,)),)), arrays)[0].item(),)


def _foldable(node: Node, constants: dict[Value, np.ndarray]) -> bool:
    if not node.inputs or node.primitive == "call" or node.body is not None:
        return False
    return all(value in constants for value in node.arrays) and node.output.nbytes <= FOLDED_BYTES


def _computed(node: Node, constants: dict[Value, np.ndarray]) -> np.ndarray:
    values = tuple(dict.fromkeys(node.arrays))
    (array,) = _quiet(Program(values, node.outputs, (node,)), [constants[value] for value in values])
    array = np.asarray(array).copy()
    array.setflags(write=False)
    return array


def _quiet(program: Program, arrays: list[Any]) -> list[Any]:
    with np.errstate(all="ignore"):
        return interpret(program, arrays)
