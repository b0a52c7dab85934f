"""Putting values, literals and nodes in the place of others, and the identity of nodes that compute the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mlpx.program.ir import Literal, Node, Operand, Program, Value


class Substitution:
    """A growing record of what stands for which value while the nodes of a program are gone through in order."""

    def __init__(self) -> None:
        self._stands_for: dict[Value, Operand] = {}

    def __setitem__(self, value: Value, operand: Operand) -> None:
        self._stands_for[value] = operand

    def __getitem__(self, operand: Operand) -> Operand:
        return self._stands_for.get(operand, operand) if isinstance(operand, Value) else operand

    def value(self, value: Value) -> Value:
        """What stands for a value where no literal may."""
        found = self[value]
        return found if isinstance(found, Value) else value

    def applied(self, node: Node) -> Node:
        """The node with what stands for its inputs."""
        inputs = tuple(self[operand] for operand in node.inputs)
        return node if inputs == node.inputs else replace(node, inputs=inputs)


def with_nodes(program: Program, nodes: Iterable[Node], stands: Substitution | None = None, **changes: Any) -> Program:
    """The program with other nodes, its outputs replaced as the substitution says."""
    outputs = program.outputs if stands is None else tuple(stands.value(value) for value in program.outputs)
    return program.replaced(nodes=tuple(nodes), outputs=outputs, **changes)


def identity(node: Node) -> Any:
    """Equal for two nodes that compute the same: 1, 1.0 and True differ, as do 0.0 and -0.0."""
    inputs = tuple(
        ("literal", repr(operand.value), operand.dtype.str) if isinstance(operand, Literal) else operand
        for operand in node.inputs
    )
    return node.primitive, inputs, frozen(node.attributes), node.body


def frozen(attributes: Mapping[str, Any]) -> Any:
    """Attributes as a hashable thing that tells numbers apart which `==` does not."""
    return tuple(sorted((key, repr(value) if isinstance(value, int | float) else value) for key, value in attributes.items()))


def only(node: Node | None, primitive: str) -> Node | None:
    """The node, if there is one and it is of that primitive."""
    return node if node is not None and node.primitive == primitive else None
