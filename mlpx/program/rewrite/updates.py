"""Gradient and update together: what is done to the flat gradient is done to each of its parts, where the part is made."""

from __future__ import annotations

from itertools import count
from typing import Any

from mlpx.program.ir import Node, Operand, Program, Value
from mlpx.program.primitives import ELEMENTWISE, inferred
from mlpx.program.rewrite.substitution import only
from mlpx.typing import Shape


def with_updates_divided(program: Program) -> Program:
    """The program with elementwise work on a concatenation of vectors divided among its parts, each in its own shape.

    Only where nothing else reads the whole or what is made of it: a norm over all gradients needs them all first. The other
    vectors are read in slices; results are concatenated, which costs nothing once the parts are placed inside.
    """
    fresh = count(program.next_id())
    for node in program.nodes:
        if node.primitive == "concat" and node.output.ndim == 1 and len(node.inputs) > 1:
            members = _elementwise_readers(program, node)
            if members:
                program = _divided(program, node, members, fresh)
    return program


def _elementwise_readers(program: Program, whole: Node) -> list[Node]:
    """All elementwise nodes behind a vector and beside it, in order; none if something else reads one of them."""
    shape = whole.output.shape
    members: dict[Node, None] = {}
    waiting = list(program.consumers.get(whole.output, ()))
    if whole.output in program.outputs or not waiting:
        return []
    while waiting:
        node = waiting.pop()
        if node in members:
            continue
        fits = node.primitive in ELEMENTWISE and node.output.shape == shape
        if not fits or not all(value.shape == shape or value.size == 1 for value in node.arrays):
            return []
        members[node] = None
        waiting += program.consumers.get(node.output, ())
        for value in node.arrays:  # what is computed for members alone is divided too
            made = program.producers.get(value)
            if made is not None and made not in members and _serves(program, made, members, shape):
                waiting.append(made)
    return [node for node in program.nodes if node in members]


def _serves(program: Program, made: Node, members: dict[Node, None], shape: Shape) -> bool:
    readers = program.consumers.get(made.output, ()) if len(made.outputs) == 1 else ()
    alike = made.primitive in ELEMENTWISE and all(value.shape == shape or value.size == 1 for value in made.arrays)
    return alike and made.output.shape == shape and all(reader in members for reader in readers)


def _divided(program: Program, whole: Node, members: list[Node], fresh: count[int]) -> Program:
    inside = set(members)
    results = [
        node.output
        for node in members
        if node.output in program.outputs or any(reader not in inside for reader in program.consumers.get(node.output, ()))
    ]
    made: list[Node] = []
    pieces: dict[Value, list[Value]] = {value: [] for value in results}
    start = 0
    for part in whole.arrays:
        parts = _Part(program, whole, part, start, fresh)
        for node in members:
            parts.repeat(node)
        made += parts.nodes
        for value in results:
            pieces[value].append(parts.flat(value, made))
        start += part.size
    joined = [Node("concat", tuple(pieces[value]), (value,), {"axis": 0}) for value in results]
    at = max(program.nodes.index(node) for node in (*members, whole))
    before = [node for node in program.nodes[: at + 1] if node not in inside]
    return program.replaced(nodes=(*before, *made, *joined, *program.nodes[at + 1 :]))


class _Part:
    """The work on one part of a concatenation: elements start … start + size, in the shape that the part was made in."""

    def __init__(self, program: Program, whole: Node, part: Value, start: int, fresh: count[int]) -> None:
        self.nodes: list[Node] = []
        self._program, self._fresh = program, fresh
        turned = only(program.producers.get(part), "reshape")
        born = turned.arrays[0] if turned is not None else part
        self._shape, self._start, self._size = born.shape, start, part.size
        self._sizes = [value.size for value in whole.arrays]
        self._pieces: dict[Operand, Operand] = {whole.output: born}

    def repeat(self, node: Node) -> None:
        """Do to the part what the node does to the whole."""
        inputs = tuple(self._piece(operand) for operand in node.inputs)
        output = Value(next(self._fresh), self._shape, node.output.dtype, node.output.label)
        self.nodes.append(Node(node.primitive, inputs, (output,), node.attributes))
        self._pieces[node.output] = output

    def flat(self, value: Value, nodes: list[Node]) -> Value:
        """The part's piece of a result, as a vector."""
        piece = self._pieces[value]
        assert isinstance(piece, Value)  # results are computed
        return piece if piece.ndim == 1 else self._node("reshape", piece, nodes, shape=(self._size,))

    def _piece(self, operand: Operand) -> Operand:
        """The part's elements of another vector of the same length; a scalar as it is."""
        if not isinstance(operand, Value) or operand.size == 1:
            return operand
        if operand not in self._pieces:
            self._pieces[operand] = self._born_apart(operand) or self._cut(operand)
        return self._pieces[operand]

    def _born_apart(self, vector: Value) -> Value | None:
        """The piece of a vector that is itself a concatenation of parts of these sizes."""
        joined = only(self._program.producers.get(vector), "concat")
        if joined is None or [value.size for value in joined.arrays] != self._sizes:
            return None
        starts = [sum(self._sizes[:i]) for i in range(len(self._sizes))]
        piece = joined.arrays[starts.index(self._start)]
        turned = only(self._program.producers.get(piece), "reshape")
        born = turned.arrays[0] if turned is not None else piece
        return born if born.shape == self._shape else None

    def _cut(self, vector: Value) -> Value:
        bounds = ((self._start, self._start + self._size, 1),)
        piece = self._node("slice", vector, self.nodes, bounds=bounds)
        return piece if self._shape == piece.shape else self._node("reshape", piece, self.nodes, shape=self._shape)

    def _node(self, primitive: str, source: Value, nodes: list[Node], **attributes: Any) -> Value:
        shape, dtype = inferred(primitive, [(source.shape, source.dtype)], attributes)
        output = Value(next(self._fresh), shape, dtype, source.label)
        nodes.append(Node(primitive, (source,), (output,), attributes))
        return output
