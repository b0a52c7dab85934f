"""Fusing elementwise chains and reductions into loops over rows, each read and written once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from mlpx.program.ir import Node, Program, Region, Value
from mlpx.program.primitives import CREATION
from mlpx.program.rewrite.grouping import Grouping
from mlpx.program.rewrite.roles import Roles
from mlpx.typing import Shape


def with_rows_fused(program: Program) -> Program:
    """The program with every elementwise operation and reduction inside a region of kind "rows".

    A region loops over the rows of one shape. Reductions over the last axis are used within the row; those across rows are
    accumulated and used by later regions alone. Scalars are computed in regions of a single element.
    """
    nodes: list[Node] = []
    for group in Grouping(program).groups():
        members = [program.nodes[i] for i in sorted(group.numbers)]
        nodes += members if group.roles is None else [_region(program, members, group.roles)]
    return program.replaced(nodes=tuple(nodes))


def _region(program: Program, members: list[Node], roles: Roles) -> Node:
    created = {
        made: None for node in members for v in node.arrays if (made := program.producers.get(v)) and made.primitive in CREATION
    }
    outputs = read_outside(program, members)
    accumulated = tuple(value for value in outputs if value in roles.accumulated)
    return fused([*created, *members], outputs, Region("rows", loops(roles.space), dict(roles.of), accumulated))


def fused(
    members: Iterable[Node], outputs: tuple[Value, ...], region: Region, aliases: Mapping[Value, Value] | None = None
) -> Node:
    """A region of these nodes; inputs are what they read and do not compute, or what that is an alias of."""
    members = tuple(members)
    inputs = tuple(outside(members))
    roles = {value: region.roles.get(value, "full") for value in (*inputs, *(v for node in members for v in node.outputs))}
    region = Region(region.kind, region.space, roles, region.accumulated)
    given = tuple((aliases or {}).get(value, value) for value in inputs)
    return Node("fused", given, outputs, {}, Program(inputs, outputs, members), region)


def outside(members: tuple[Node, ...]) -> Iterator[Value]:
    """What nodes read and do not compute, each once, in order."""
    known = {value for node in members for value in node.outputs}
    for node in members:
        for value in node.arrays:
            if value not in known:
                known.add(value)
                yield value


def read_outside(program: Program, members: list[Node]) -> tuple[Value, ...]:
    """What nodes compute and others, or the program's caller, read."""
    inside, wanted = set(members), set(program.outputs)
    return tuple(
        value
        for node in members
        for value in node.outputs
        if value in wanted or any(reader not in inside for reader in program.consumers.get(value, ()))
    )


def loops(space: Shape) -> tuple[int, int]:
    """The lengths of the two loops over a shape."""
    return math.prod(space[:-1]), space[-1] if space else 1


def in_order(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The nodes so ordered that each comes after those it reads from, else as they come."""
    nodes = tuple(nodes)
    made = {value: node for node in nodes for value in node.outputs}
    ordered: dict[Node, None] = {}
    for node in nodes:
        waiting = [node]
        while waiting:
            last = waiting[-1]
            missing = [before for v in last.arrays if (before := made.get(v)) and before not in ordered]
            if missing:
                waiting += missing
            else:
                ordered.setdefault(waiting.pop())
    return tuple(ordered)
