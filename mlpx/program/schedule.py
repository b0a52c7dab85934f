"""The order of a program's nodes: what overwrites donated memory comes after all that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from mlpx.program.ir import Node, Program, Value


def scheduled(program: Program, late: Mapping[Node, Iterable[Node]]) -> Program:
    """The program with its nodes in an order that keeps dependencies and, where it can, other wishes.

    Parameters
    ----------
    program : Program
    late : mapping of Node to nodes
        Nodes that should come before a node although it does not read from them. Where wishes and dependencies run in a
        circle, the wishes of the first node in it are dropped.
    """
    number = {node: i for i, node in enumerate(program.nodes)}
    before = {node: {made for value in node.arrays if (made := program.producers.get(value))} for node in program.nodes}
    wishes = {node: set(late.get(node, ())) - {node} for node in program.nodes}
    after: dict[Node, list[Node]] = {node: [] for node in program.nodes}
    for node in program.nodes:
        for earlier in before[node] | wishes[node]:
            after[earlier].append(node)
    waiting = {node: len(before[node] | wishes[node]) for node in program.nodes}
    ready = [number[node] for node in program.nodes if not waiting[node]]
    heapify(ready)
    ordered: dict[Node, None] = {}
    while len(ordered) < len(program.nodes):
        if not ready:  # a circle: let the first node go that waits for wishes alone
            stuck = next(node for node in program.nodes if node not in ordered and before[node] <= ordered.keys())
            heappush(ready, number[stuck])
        node = program.nodes[heappop(ready)]
        if node in ordered:
            continue
        ordered[node] = None
        for later in after[node]:
            waiting[later] -= 1
            if not waiting[later] and later not in ordered:
                heappush(ready, number[later])
    return program.replaced(nodes=tuple(ordered))


def last_reads(program: Program, base_of: Mapping[Value, Value]) -> dict[Value, int]:
    """The number of the last node that reads any view of each base value."""
    found: dict[Value, int] = {}
    for i, node in enumerate(program.nodes):
        for value in node.arrays:
            found[base_of.get(value, value)] = i
    return found
