"""Fusing loops whose columns follow from sums over the rows, as batch normalisation has them, into loops over columns."""

from __future__ import annotations

import math

from mlpx.program.ir import Node, Program, Region, Value
from mlpx.program.primitives import ELEMENTWISE
from mlpx.program.rewrite.regions import fused, in_order, loops, read_outside
from mlpx.program.rewrite.roles import REARRANGEMENT, REDUCIBLE, Roles
from mlpx.typing import Shape


def with_columns_fused(program: Program) -> Program:
    """The program with one region of kind "columns" for rows regions that wait for each other's sums over the rows.

    A column then goes through all of it while it is in cache, and only what others read is written. Rows regions with
    reductions within a row stay as they are.
    """
    for node in program.nodes:
        if node.region is not None and node.region.kind == "rows" and _column_sums(node):
            merged = _merged(program, node)
            if merged is not None:
                return with_columns_fused(merged)
    return program


def _column_sums(node: Node) -> list[Value]:
    assert node.region is not None  # asked for regions alone
    return [value for value in node.region.accumulated if node.region.roles[value] == "column"]


def _merged(program: Program, first: Node) -> Program | None:
    """The program with a region and those that wait for its sums as one, or None where that cannot be."""
    region = first.region
    assert region is not None  # asked for regions alone
    shape = _shape(first)
    if shape is None:
        return None
    chain = [first]
    joined = False
    for node in program.nodes[program.nodes.index(first) + 1 :]:
        if node.region is None or not _continues(chain, node, shape):
            continue
        candidate = _trimmed(program, [*chain, node])
        if _column_roles(candidate, shape) is not None and _convex(program, candidate):
            chain = candidate
            joined = joined or _shape(node) == shape
    if not joined:
        return None
    roles = _column_roles(chain, shape)
    assert roles is not None  # it was there when the last one joined
    members = [inner for node in chain for inner in _body(node)]
    outside = Program(program.inputs, program.outputs, tuple(_opened(program, chain)))
    outputs = read_outside(outside, members)
    accumulated = tuple(value for value in outputs if value in roles.accumulated)
    made = fused(dict.fromkeys(members), outputs, Region("columns", loops(shape), dict(roles.of), accumulated))
    return program.replaced(nodes=in_order(made if node is first else node for node in program.nodes if node not in chain[1:]))


def _opened(program: Program, chain: list[Node]) -> list[Node]:
    """The program's nodes, with the bodies of some regions in their place."""
    opened: dict[Node, None] = {}
    for node in program.nodes:
        opened |= dict.fromkeys(_body(node) if node in chain else [node])
    return list(opened)


def _continues(chain: list[Node], node: Node, shape: Shape) -> bool:
    """Whether a region over the columns alone, or over the whole shape, reads from the chain."""
    assert node.region is not None  # asked for regions alone
    made = {value for earlier in chain for value in earlier.outputs}
    space = _shape(node)
    rows_or_columns = node.region.kind == "rows" and space in (shape, shape[-1:])
    return rows_or_columns and any(value in made for value in node.arrays) and node not in chain


def _trimmed(program: Program, chain: list[Node]) -> list[Node]:
    """The chain in the program's order."""
    return [node for node in program.nodes if node in chain]


def _shape(node: Node) -> Shape | None:
    """The shape that a rows region loops over, told by a value of full size in it."""
    region = node.region
    assert region is not None  # asked for regions alone
    shapes = [value.shape for value, role in region.roles.items() if role == "full"]
    return shapes[0] if shapes and all(shape == shapes[0] for shape in shapes) else None


def _body(node: Node) -> list[Node]:
    assert node.body is not None  # asked for regions alone
    return list(node.body.nodes)


def _column_roles(chain: list[Node], shape: Shape) -> _ColumnRoles | None:
    roles = _ColumnRoles(shape)
    return roles if all(roles.admit(inner) for node in chain for inner in _body(node)) else None


def _convex(program: Program, chain: list[Node]) -> bool:
    """Whether no path leads out of the chain and back into it."""
    inside = set(chain)
    reached: set[Node] = set()
    waiting = [
        reader for node in chain for v in node.outputs for reader in program.consumers.get(v, ()) if reader not in inside
    ]
    while waiting:
        node = waiting.pop()
        if node in inside:
            return False
        if node not in reached:
            reached.add(node)
            waiting += [reader for value in node.outputs for reader in program.consumers.get(value, ())]
    return True


class _ColumnRoles(Roles):
    """Roles in a loop over columns: sums over the rows are used, sums within a row are not."""

    def admit(self, node: Node) -> bool:
        if not node.arrays:
            return False
        if node.primitive in REDUCIBLE:
            source, axes = node.arrays[0], tuple(sorted(node.attributes["axis"]))
            if source.shape == self.space and axes == tuple(range(source.ndim - 1)):
                return self._note(source, "full") and self._note(node.output, "column")
            return False
        if node.primitive in ELEMENTWISE and self._is_column(node.output.shape) and math.prod(self.space[:-1]) != 1:
            return all(self._reads_column(value) for value in node.arrays) and self._note(node.output, "column")
        if node.primitive in REARRANGEMENT and self.of.get(node.arrays[0]) == "column":
            return self._is_column(node.output.shape) and self._note(node.output, "column")
        return super().admit(node)

    def _is_column(self, shape: Shape) -> bool:
        return shape[-1:] == self.space[-1:] and math.prod(shape) == self.space[-1]

    def _reads_column(self, value: Value) -> bool:
        if value.size == 1 and self.space[-1] != 1:
            return self._note(value, "scalar")
        return self._is_column(value.shape) and self._note(value, "column")
