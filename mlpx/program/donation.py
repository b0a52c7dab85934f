"""Which outputs can be written over the donated inputs that they replace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlpx.program.ir import Node, Program, Value
from mlpx.program.primitives import ELEMENTWISE, VIEW
from mlpx.program.schedule import scheduled
from mlpx.program.views import View, viewed, whole

Write = tuple[Node, Value, View]


def donations(program: Program) -> tuple[Program, dict[Value, int]]:
    """The program in an order in which as many donated inputs as possible can be overwritten.

    Returns
    -------
    program : Program
    taken : dict of Value to int
        An output's value, and the number of the input whose memory it takes.
    """
    reads = _reads_of_inputs(program)
    wanted = {}
    for place, number in program.donated.items():
        value = program.outputs[place]
        if _replaceable(program, value, place, number):
            wanted[value] = number
    late: dict[Node, set[Node]] = {}
    for value, number in wanted.items():
        for node, piece, view in _writes(program, value):
            late.setdefault(node, set()).update(
                reader for reader, read, seen in reads.get(number, ()) if _clash(node, piece, view, reader, read, seen)
            )
    program = scheduled(program, late)
    at = {node: i for i, node in enumerate(program.nodes)}
    taken = {}
    for value, number in wanted.items():
        safe = all(
            at[reader] < at[node]
            for node, piece, view in _writes(program, value)
            for reader, read, seen in reads.get(number, ())
            if _clash(node, piece, view, reader, read, seen)
        )
        if safe:
            taken[value] = number
    return program, taken


def _replaceable(program: Program, value: Value, place: int, number: int) -> bool:
    """Whether an output is computed here, is no view, is no other output too, and its input is no output."""
    made = program.producers.get(value)
    if made is None or made.primitive in VIEW or made.primitive == "call":
        return False
    if program.outputs.count(value) > 1 or any(program.inputs[number] in _bases(program, output) for output in program.outputs):
        return False
    return not any(value in _bases(program, other) for i, other in enumerate(program.outputs) if i != place)


def _bases(program: Program, value: Value) -> set[Value]:
    """A value and all values that it is a view of."""
    found = {value}
    node = program.producers.get(value)
    while node is not None and node.primitive in VIEW:
        value = node.arrays[0]
        found.add(value)
        node = program.producers.get(value)
    return found


def _reads_of_inputs(program: Program) -> dict[int, list[Write]]:
    """For every input: which node reads which value that lies in it, and where."""
    inside: dict[Value, tuple[int, View]] = {value: (i, whole(value.shape)) for i, value in enumerate(program.inputs)}
    found: dict[int, list[Write]] = {}
    for node in program.nodes:
        looked = None
        if node.primitive in VIEW and node.arrays[0] in inside:
            number, view = inside[node.arrays[0]]
            looked = viewed(node, view)
            if looked is not None:
                inside[node.output] = number, looked
        if looked is None:
            for value in node.arrays:
                if value in inside:
                    number, view = inside[value]
                    found.setdefault(number, []).append((node, value, view))
    return found


def _writes(program: Program, value: Value) -> Iterable[Write]:
    """The nodes that write a value's elements, and which: for a concatenation, those that make the parts that lie inside."""
    node = program.producers[value]
    if node.primitive != "concat":
        yield node, value, whole(value.shape)
        return
    start = 0
    for part in node.arrays:
        made, born = program.producers.get(part), part
        while made is not None and made.primitive == "reshape":
            born = made.arrays[0]
            made = program.producers.get(born)
        inside = made is not None and made.primitive not in VIEW
        writer = made if inside and made is not None else node
        yield writer, born if inside else part, whole(born.shape if inside else part.shape, start)
        if writer is not node:  # where the part cannot be made in its place after all, it is copied there
            yield node, part, whole(part.shape, start)
        start += part.size


def _clash(node: Node, piece: Value, view: View, reader: Node, read: Value, seen: View) -> bool:
    """Whether a write destroys what a reader still wants: it touches it, and is not the reader's own, element by element."""
    (a, b), (c, d) = view.extent, seen.extent
    if a >= d or c >= b:
        return False
    if reader is not node:
        return True
    return not (view == seen and element_by_element(node, read, piece))


def element_by_element(node: Node, read: Value, written: Value) -> bool:
    """Whether a node reads each element of a value only to make the element in the same place of another."""
    region, body = node.region, node.body
    if written.dtype != read.dtype:
        return False
    if region is None or body is None:
        return node.primitive in ELEMENTWISE and read.shape == written.shape
    inside = [inner for outer, inner in zip(node.inputs, body.inputs, strict=True) if outer is read]
    inner_written = body.outputs[node.outputs.index(written)]
    roles: Mapping[Value, str] = region.roles
    role = roles.get(inner_written)
    if inner_written in region.accumulated or any(roles.get(inner) != role for inner in inside):
        return False
    return role == "column" if region.kind == "columns" else role == "full" and "row" not in roles.values()
