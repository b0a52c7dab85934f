"""A trace as Markdown with formulas."""

from __future__ import annotations

import numpy as np

from mlpx.explain.derivation import is_small, worked_lines
from mlpx.explain.graph import Graph
from mlpx.explain.graph_picture import value_text
from mlpx.explain.number_text import array_text, number_text, shape_text
from mlpx.explain.quantities import LayerTrace, Quantity, Trace
from mlpx.explain.table import error_text

SMALL = 16  # an array of at most so many numbers is written out, each beside its measured slope
MEANING = {
    "z": "net input",
    "a": "activation",
    "da": "what arrives from behind",
    "f_prime": "derivative of the activation",
    "delta": "error",
    "dweight": "gradient of the weights",
    "dbias": "gradient of the biases",
    "dx": "what is handed on",
}


def trace_markdown(trace: Trace) -> str:
    """The derivation, layer by layer, forward and then backward, each gradient beside its central differences."""
    worked = is_small(trace)
    parts = [f"# {trace.title or 'One step of a network'}", _summary(trace), "## Forward"]
    for layer in trace.layers:
        parts.append(f"### Layer {layer.number}: `{layer.layer!r}` (path {layer.path})")
        parts += [_section(trace, layer, quantity, worked) for quantity in layer.forward]
    parts.append(f"### Loss\n\nE = {number_text(trace.loss, 9)} ({trace.loss_name}, mean over {_rows(trace)})")
    parts.append("## Backward")
    for layer in reversed(trace.layers):
        parts.append(f"### Layer {layer.number}: `{type(layer.layer).__name__}` (path {layer.path})")
        parts += [_section(trace, layer, quantity, worked) for quantity in layer.backward]
    if trace.input_gradient is not None:
        parts += ["### Input", _numbers(trace.input_gradient)]
    return "\n\n".join(part for part in parts if part) + "\n"


def graph_markdown(graph: Graph) -> str:
    """Every gate of a computational graph in the order of the forward pass; the gradients are found from the last row up."""
    measured = graph.central_differences()
    rows = ["| | gate | reads | value | local derivatives | gradient | by differences |", "|---|---|---|---|---|---|---|"]
    for gate in graph.gates:
        cells = (
            str(gate.number),
            f"`{gate.label}`",
            ", ".join(map(str, gate.operands)),
            value_text(gate.value),
            ", ".join(map(value_text, gate.local)),
            value_text(gate.gradient),
            value_text(measured[gate.name]) if gate.name in measured else "",
        )
        rows.append("| " + " | ".join(cells) + " |")
    rules = dict.fromkeys(f"- {gate.rule}" for gate in graph.gates if gate.rule)
    chain = (
        r"\frac{\partial f}{\partial a} = \sum_{y \text{ reads } a} \frac{\partial f}{\partial y} \frac{\partial y}{\partial a}"
    )
    return (
        "\n\n".join([f"# {graph.title or 'Computational graph'}", f"$$\n{chain}\n$$", "\n".join(rules), "\n".join(rows)]) + "\n"
    )


def _summary(trace: Trace) -> str:
    lines = [
        f"- network: `{trace.net!r}`",
        f"- computed in {trace.dtype} on {trace.device}, {_rows(trace)}",
        f"- x = {array_text(trace.x, 6, SMALL)}",
        f"- targets = {array_text(trace.targets, 6, SMALL)}",
        f"- output = {array_text(trace.output, 9, SMALL)}",
    ]
    if trace.worst_error is not None:
        verdict = "every gradient agrees with" if trace.agrees else "not every gradient agrees with"
        lines.append(f"- {verdict} central differences (largest relative error {trace.worst_error:.0e})")
    return "\n".join(lines)


def _rows(trace: Trace) -> str:
    count = trace.x.shape[0]
    return "1 row" if count == 1 else f"{count} rows"


def _section(trace: Trace, layer: LayerTrace, quantity: Quantity, worked: bool) -> str:
    """A quantity: meaning, formula, the numbers put in, and the check."""
    name = f" ({quantity.equation.name})" if quantity.equation.name else ""
    parts = [f"**{quantity.symbol}**{name}, {MEANING.get(quantity.key, 'gradient')}, {shape_text(quantity.shape)}"]
    if quantity.equation.latex:
        parts.append(f"$$\n{quantity.equation.latex}\n$$")
    else:
        parts.append(f"    {quantity.equation.text}")
    lines = worked_lines(trace, layer, quantity) if worked else []
    if lines:
        parts.append("```text\n" + "\n".join(lines) + "\n```")
    parts.append(_numbers(quantity))
    return "\n\n".join(parts)


def _numbers(quantity: Quantity) -> str:
    """Every number of a small array beside its slope; of a large one its statistics."""
    if quantity.values.size > SMALL:
        found = quantity.statistics()
        said = ", ".join(f"{name} {number_text(value)}" for name, value in found.items())
        return said if quantity.error is None else f"{said}; largest relative error {error_text(quantity)}"
    if quantity.measured is None:
        return "" if quantity.key in ("z", "a") and quantity.values.size <= 1 else f"= {array_text(quantity.values, 9, SMALL)}"
    rows = ["| place | value | by central differences | difference |", "|---|---|---|---|"]
    for place in np.ndindex(quantity.shape):
        value, slope = float(quantity.values[place]), float(quantity.measured[place])
        where = ", ".join(str(i + 1) for i in place)
        rows.append(f"| {where} | {number_text(value, 9)} | {number_text(slope, 9)} | {number_text(slope - value, 2)} |")
    return "\n".join(rows)
