"""A computational graph, and a network's own program, as pictures."""

from __future__ import annotations

from typing import Any

from mlpx.explain.graph import Graph
from mlpx.explain.number_text import array_text, shape_text, two_decimals
from mlpx.explain.picture import Box, Picture
from mlpx.program import Program, Value
from mlpx.transfer import to_numpy


def graph_picture(graph: Graph) -> Picture:
    """Every gate with its value above the wire behind it and its gradient below, as in the lecture's figures."""
    boxes = [
        Box(
            gate.label,
            value_text(gate.value),
            value_text(gate.gradient),
            leaf=not gate.operands,
            note="  ".join([gate.rule, *(f"local {value_text(slope)}" for slope in gate.local)]).strip(),
        )
        for gate in graph.gates
    ]
    wires = dict.fromkeys((operand, gate.number) for gate in graph.gates for operand in gate.operands)
    return Picture(boxes, list(wires), graph.title)


def program_picture(program: Program, title: str = "") -> Picture:
    """What a step computes, array by array: every primitive with the shape of its result and the op that it belongs to."""
    boxes: list[Box] = []
    place: dict[Value, int] = {}
    named = dict(zip(program.inputs, program.input_names, strict=True))
    for value in (*program.inputs, *program.constants):
        place[value] = len(boxes)
        boxes.append(Box(named.get(value) or "constant", shape_text(value.shape), leaf=True))
    wires: list[tuple[int, int]] = []
    for node in program.nodes:
        number = len(boxes)
        numbers = " ".join(repr(operand) for operand in node.inputs if not isinstance(operand, Value))
        label = f"{node.primitive} {numbers}".strip()
        boxes.append(Box(label, shape_text(node.outputs[0].shape), note=node.outputs[0].label))
        wires += dict.fromkeys((place[value], number) for value in node.arrays)
        place.update(dict.fromkeys(node.outputs, number))
    return _without_idle(Picture(boxes, wires, title))


def value_text(value: Any) -> str:
    """A number to two decimals, as the lecture's figures have it; an array in a few words."""
    array = to_numpy(value)
    return two_decimals(float(array)) if array.ndim == 0 else array_text(array, 3)


def _without_idle(picture: Picture) -> Picture:
    """The picture without boxes that no wire touches."""
    used = sorted({end for wire in picture.wires for end in wire})
    number = {old: new for new, old in enumerate(used)}
    wires = [(number[source], number[target]) for source, target in picture.wires]
    return Picture([picture.boxes[old] for old in used], wires, picture.title)
