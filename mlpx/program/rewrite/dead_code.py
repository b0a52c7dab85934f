"""Removing what no output needs."""

from __future__ import annotations

from dataclasses import replace

from mlpx.program.ir import Node, Program, Value


def without_dead_code(program: Program) -> Program:
    """The program without nodes, constants and outputs of regions that nothing reads; inputs stay."""
    needed: set[Value] = set(program.outputs)
    kept: list[Node] = []
    for node in reversed(program.nodes):
        if needed.isdisjoint(node.outputs):
            continue
        if node.body is not None:
            node = _trimmed(node, needed)
        needed.update(node.arrays)
        kept.append(node)
    constants = {value: array for value, array in program.constants.items() if value in needed}
    return program.replaced(nodes=tuple(reversed(kept)), constants=constants)


def _trimmed(node: Node, needed: set[Value]) -> Node:
    """A region without outputs and inputs that are not needed."""
    body = node.body
    assert body is not None
    assert node.region is not None
    pairs = [(outer, inner) for outer, inner in zip(node.outputs, body.outputs, strict=True) if outer in needed]
    body = without_dead_code(body.replaced(outputs=tuple(inner for _, inner in pairs)))
    read = {value for inner in body.nodes for value in inner.arrays} | set(body.outputs)
    inputs = [(outer, inner) for outer, inner in zip(node.inputs, body.inputs, strict=True) if inner in read]
    body = body.replaced(inputs=tuple(inner for _, inner in inputs))
    alive = set(body.values())
    region = replace(
        node.region,
        roles={value: role for value, role in node.region.roles.items() if value in alive},
        accumulated=tuple(value for value in node.region.accumulated if value in body.outputs),
    )
    outers = tuple(outer for outer, _ in pairs)
    return replace(node, inputs=tuple(outer for outer, _ in inputs), outputs=outers, body=body, region=region)
