"""A program to read: as text, with the labels of the definitions, and as a graph for Graphviz."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mlpx.program.calls import Arguments
from mlpx.program.ir import Literal, Node, Operand, Program, Value

LABEL_COLUMN = 84
_COLOURS = {"rows": "lightyellow", "columns": "khaki", "product": "lightblue"}


def printed(program: Program) -> str:
    """A program as text, one node a line: what it gives, how, and in which definition it was written.

    A region is followed by its body, indented. `%7: float32[32, 10]` is a value; `%7` alone is one named before.
    """
    return "\n".join(_lines(program))


def explain(program: Program) -> str:
    """A program as text, after what it takes, gives and consists of."""
    counts: dict[str, int] = {}
    for node in program.nodes:
        counts[_kind(node)] = counts.get(_kind(node), 0) + 1
    consists = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    calls = [node for node in program.walk() if node.primitive == "call"]
    lines = [
        f"{len(program.nodes)} nodes: {consists}",
        f"inputs: {_bytes(program.inputs)}; constants: {_bytes(program.constants)}; outputs: {_bytes(program.outputs)}",
        f"donated: {', '.join(program.output_names[place] for place in program.donated) or 'nothing'}",
    ]
    if calls:
        names = sorted({f"{node.attributes['function']} in {node.outputs[0].label or 'the function'}" for node in calls})
        lines.append(f"run by the array library itself: {', '.join(names)}")
    return "\n".join([*lines, "", printed(program)])


def dot(program: Program) -> str:
    """A program as a graph in Graphviz's language: boxes are nodes, arrows are values."""
    lines = ["digraph program {", "  rankdir=TB; node [shape=box, style=filled, fillcolor=white, fontname=monospace];"]
    names: dict[Value, str] = {}
    for i, value in enumerate(program.inputs):
        names[value] = f"i{i}"
        label = program.input_names[i] if program.input_names else f"%{value.id}"
        lines.append(f"  i{i} [shape=ellipse, label={_quoted(f'{label} {_type(value)}')}];")
    for i, value in enumerate(program.constants):
        names[value] = f"c{i}"
        lines.append(f"  c{i} [shape=ellipse, style=dashed, label={_quoted(f'constant {_type(value)}')}];")
    for i, node in enumerate(program.nodes):
        colour = _COLOURS.get(node.region.kind, "white") if node.region else "white"
        label = f"{_kind(node)}\n{', '.join(_labels(node))}"
        lines.append(f"  n{i} [fillcolor={colour}, label={_quoted(label)}];")
        lines += [f"  {names[value]} -> n{i} [label={_quoted(_type(value))}];" for value in dict.fromkeys(node.arrays)]
        names.update(dict.fromkeys(node.outputs, f"n{i}"))
    for i, value in enumerate(program.outputs):
        label = program.output_names[i] if program.output_names else f"output {i}"
        lines += [f"  o{i} [shape=ellipse, label={_quoted(label)}];", f"  {names[value]} -> o{i};"]
    return "\n".join([*lines, "}"])


def _lines(program: Program, indent: str = "") -> Iterator[str]:
    if not indent:
        for name, value in zip(program.input_names, program.inputs, strict=True):
            yield f"{_named(value)} = input {name}"
        for value, array in program.constants.items():
            yield f"{_named(value)} = constant {_shown(array)}"
    for node in program.nodes:
        yield _line(node, indent)
        if node.body is not None:
            yield from _lines(node.body, indent + "    ")
    if not indent:
        for place, (name, value) in enumerate(zip(program.output_names, program.outputs, strict=True)):
            donated = program.donated.get(place)
            where = "" if donated is None else f" in the place of {program.input_names[donated]}"
            yield f"{name} = %{value.id}{where}"


def _line(node: Node, indent: str) -> str:
    outputs = ", ".join(_named(value) for value in node.outputs)
    given = ", ".join([*map(_operand, node.inputs), *(f"{key}={_attribute(value)}" for key, value in node.attributes.items())])
    text = f"{indent}{outputs} = {_kind(node)}({given})"
    if node.region is not None and node.region.accumulated:
        text += f" accumulating {', '.join(f'%{value.id}' for value in node.region.accumulated)}"
    labels = ", ".join(_labels(node))
    return f"{text:<{LABEL_COLUMN}}  # {labels}" if labels and node.body is None else text


def _labels(node: Node) -> list[str]:
    """The definitions that a node came from."""
    values = node.outputs if node.body is None else (value for inner in node.body.nodes for value in inner.outputs)
    return [label for label in dict.fromkeys(value.label for value in values) if label]


def _kind(node: Node) -> str:
    if node.region is None:
        return f"call {node.attributes['function']}" if node.primitive == "call" else node.primitive
    rows, columns = node.region.space
    return f"{node.region.kind} {rows}×{columns}"


def _named(value: Value) -> str:
    return f"%{value.id}: {_type(value)}"


def _type(value: Value) -> str:
    return f"{value.dtype}[{', '.join(map(str, value.shape))}]"


def _operand(operand: Operand) -> str:
    return repr(operand.value) if isinstance(operand, Literal) else f"%{operand.id}"


def _attribute(value: object) -> str:
    if isinstance(value, Arguments):
        return "…"
    return str(value) if isinstance(value, np.dtype) else repr(value)


def _shown(array: np.ndarray) -> str:
    return repr(array.item()) if array.size == 1 else f"{array.size} numbers"


def _bytes(values: Iterable[Value]) -> str:
    values = list(values)
    return f"{len(values)} ({sum(value.nbytes for value in values):,} bytes)"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
