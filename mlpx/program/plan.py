"""A place for every array of a program: one arena, shared by those that do not live at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlpx.program.donation import donations
from mlpx.program.ir import Node, Program, Value
from mlpx.program.primitives import CREATION, VIEW
from mlpx.program.views import View, viewed, whole

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory that values lie in.

    Attributes
    ----------
    kind : str
        "arena"; "input" or "output" of that number, given or received by the caller; "constant", filled once.
    number : int
        Of the input, output or constant; 0 for the arena.
    start : int
        First byte within the arena.
    nbytes : int
    """

    kind: str
    number: int
    start: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a value lies: in which buffer, and how there."""

    buffer: Buffer
    view: View


@dataclass(frozen=True)
class Plan:
    """A program and the place of every value in it.

    Attributes
    ----------
    program : Program
        With its nodes in the order to run them in.
    places : mapping of Value to Placement
        Every input, constant and result of a node; what is inside regions has no place.
    copies : frozenset of Node
        View, concat and stack nodes of which at least one input is not yet where the result lies, so that they have work to do.
    arena_bytes : int
    lives : mapping of Buffer to (int, int)
        The first and last node at which each part of the arena holds something.
    """

    program: Program
    places: Mapping[Value, Placement]
    copies: frozenset[Node]
    arena_bytes: int
    lives: Mapping[Buffer, tuple[int, int]]

    @property
    def peak_bytes(self) -> int:
        """Memory that a run takes beside its inputs: the arena, and outputs that are not donated inputs."""
        fresh = {place.buffer for place in self.places.values() if place.buffer.kind == "output"}
        return self.arena_bytes + sum(buffer.nbytes for buffer in fresh)

    def report(self) -> str:
        """Memory in words."""
        separate = sum(v.nbytes for node in self.program.nodes for v in node.outputs if node.primitive not in VIEW)
        in_place = sum(
            self.places[self.program.outputs[o]].buffer.kind == "input" and self.program.outputs[o] not in self.program.inputs
            for o in self.program.donated
        )
        return (
            f"arena {self.arena_bytes:,} bytes for {separate:,} bytes of results; with outputs {self.peak_bytes:,}; "
            f"{in_place} outputs written in the place of donated inputs; {len(self.copies)} copies"
        )


def plan(program: Program) -> Plan:
    """Give every value of a program a place.

    Views and reshapes lie in what they look at. The parts of a concatenation are made inside it, so gradients are born in the
    flat gradient. A donated input's memory is taken for its successor, part by part, once nothing reads the old numbers any
    more; an elementwise region may read and write the same place. The rest shares the arena.
    """
    program, taken = donations(program)
    return _Planner(program, taken).plan()


class _Planner:
    """Values are traced back to the base value whose buffer they lie in; bases get buffers, bases in the arena get starts."""

    def __init__(self, program: Program, taken: Mapping[Value, int]) -> None:
        self.program = program
        self.inside: dict[Value, tuple[Value, View]] = {}
        self.copies: set[Node] = set()
        self.taken = taken
        self.number = {node: i for i, node in enumerate(program.nodes)}

    def plan(self) -> Plan:
        """Views first, then concatenations from the last to the first, so that one may lie in another."""
        for node in self.program.nodes:
            if node.primitive in VIEW:
                self._look(node)
        for node in reversed(self.program.nodes):
            if node.primitive in ("concat", "stack"):
                self._enclose(node)
        buffers = self._buffers()
        lives = self._lives(buffers)
        starts, arena_bytes = placed_in_arena([(b.nbytes, *lives[v]) for v, b in buffers.items() if b.kind == "arena"])
        offsets = iter(starts)
        buffers = {v: Buffer("arena", 0, next(offsets), b.nbytes) if b.kind == "arena" else b for v, b in buffers.items()}
        places = {}
        for value in self.program.values():
            base, view = self._resolved(value)
            places[value] = Placement(buffers[base], view)
        arena_lives = {b: lives[v] for v, b in buffers.items() if b.kind == "arena"}
        return Plan(self.program, places, frozenset(self.copies), arena_bytes, arena_lives)

    def _resolved(self, value: Value) -> tuple[Value, View]:
        """The base value in whose buffer a value lies, and how."""
        if value not in self.inside:
            return value, whole(value.shape)
        outer, view = self.inside[value]
        base, around = self._resolved(outer)
        if base is outer and around == whole(outer.shape):
            return base, view
        shifted = View(view.shape, view.offset + around.offset, view.strides)
        return base, shifted

    def _look(self, node: Node) -> None:
        """A view lies in its input, if its elements can."""
        source = node.arrays[0]
        _, view = self._relative(source)
        looked = viewed(node, view)
        if looked is None:
            self.copies.add(node)
        else:
            self.inside[node.output] = (self._root(source), looked)

    def _root(self, value: Value) -> Value:
        return self.inside[value][0] if value in self.inside else value

    def _relative(self, value: Value) -> tuple[Value, View]:
        """How a value lies in the value whose view it is."""
        return self.inside.get(value, (value, whole(value.shape)))

    def _enclose(self, node: Node) -> None:
        """Make the parts of a concatenation inside it: those that are computed here and lie there row by row."""
        output, axis = node.output, node.attributes["axis"]
        outermost = all(n == 1 for n in output.shape[:axis])
        start = 0
        for part in node.arrays:
            base, view = self._relative(part)
            made = self.program.producers.get(base)
            movable = made is not None and (made not in self.copies or made.primitive not in VIEW)
            free = base not in self.inside and base not in self.program.outputs and base not in self.taken
            dtype = base.dtype == output.dtype
            if movable and free and dtype and outermost and view == whole(part.shape) and base.size == part.size:
                self._move(base, output, start)
            else:
                self.copies.add(node)
            start += part.size

    def _move(self, base: Value, output: Value, start: int) -> None:
        """Let a value, and with it all its views, lie in another."""
        self.inside[base] = (output, whole(base.shape, start))

    def _buffers(self) -> dict[Value, Buffer]:
        program = self.program
        found: dict[Value, Buffer] = {value: Buffer("input", i, 0, value.nbytes) for i, value in enumerate(program.inputs)}
        found |= {value: Buffer("constant", i, 0, value.nbytes) for i, value in enumerate(program.constants)}
        count = len(program.constants)
        bases = dict.fromkeys(self._resolved(value)[0] for node in program.nodes for value in node.outputs)
        results = {self._resolved(value)[0]: place for place, value in reversed(list(enumerate(program.outputs)))}
        for base in bases:
            if base in found:
                continue
            if base in self.taken:
                found[base] = found[program.inputs[self.taken[base]]]
            elif base in results:
                found[base] = Buffer("output", results[base], 0, base.nbytes)
            elif program.producers[base].primitive in CREATION:
                found[base] = Buffer("constant", count, 0, base.nbytes)
                count += 1
            else:
                found[base] = Buffer("arena", 0, 0, base.nbytes)
        return found

    def _lives(self, buffers: Mapping[Value, Buffer]) -> dict[Value, tuple[int, int]]:
        """From the node that first writes to the one that last reads, for every base."""
        first: dict[Value, int] = {}
        last: dict[Value, int] = {}
        for i, node in enumerate(self.program.nodes):
            for value in (*node.arrays, *node.outputs):
                base = self._resolved(value)[0]
                first.setdefault(base, i)
                last[base] = i
        return {base: (first.get(base, 0), last.get(base, 0)) for base in buffers}


def placed_in_arena(blocks: list[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Starts for blocks (bytes, first use, last use) so that those in use together do not overlap, and the bytes they need.

    Largest first, each in the lowest gap that is free during its whole life.
    """
    starts = [0] * len(blocks)
    placed: list[int] = []
    for i in sorted(range(len(blocks)), key=lambda i: (-blocks[i][0], blocks[i][1], i)):
        nbytes, first, last = blocks[i]
        nbytes = -(-nbytes // ALIGNMENT) * ALIGNMENT
        at = 0
        for j in sorted((j for j in placed if blocks[j][1] <= last and first <= blocks[j][2]), key=starts.__getitem__):
            if starts[j] - at >= nbytes:
                break
            at = max(at, starts[j] + -(-blocks[j][0] // ALIGNMENT) * ALIGNMENT)
        starts[i] = at
        placed.append(i)
    ends = [start + -(-block[0] // ALIGNMENT) * ALIGNMENT for start, block in zip(starts, blocks, strict=True)]
    return starts, max(ends, default=0)
