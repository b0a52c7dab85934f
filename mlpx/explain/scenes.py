"""Traces and computational graphs as scenes: which step shows which numbers of the drawing."""

from __future__ import annotations

import numpy as np

from mlpx.explain.derivation import is_small, worked_lines
from mlpx.explain.graph import Gate, Graph
from mlpx.explain.graph_picture import graph_picture, value_text
from mlpx.explain.heat_map import heat_map_uri
from mlpx.explain.layer_picture import layer_picture, norm_text
from mlpx.explain.neuron_drawing import neuron_svg
from mlpx.explain.number_text import array_text, number_text, shape_text
from mlpx.explain.quantities import LayerTrace, Quantity, Trace
from mlpx.explain.scene import Image, Scene, Step
from mlpx.explain.table import error_text, measured_text, wide_cells

HEADER = ("layer", "", "equation", "shape", "values", "by differences", "error")
FORWARD_KEYS = ("z", "a")


def trace_scene(trace: Trace) -> Scene:
    """A step of a network: number by number if it is small, else layer by layer."""
    if is_small(trace):
        svg, steps = neuron_svg(trace), _neuron_steps(trace)
    else:
        svg, steps = layer_picture(trace).to_svg(), _layer_steps(trace)
    facts = [
        f"E = {number_text(trace.loss, 9)} ({trace.loss_name})",
        f"{trace.x.shape[0]} row{'s' * (trace.x.shape[0] > 1)}",
        f"{trace.dtype} on {trace.device}",
        *([_verdict(trace)] if trace.worst_error is not None else []),
    ]
    rows = [_table_row(layer, quantity) for layer, quantity in trace.quantities()]
    return Scene(trace.title or "One step of a network", facts, svg, steps, HEADER, rows)


def graph_scene(graph: Graph) -> Scene:
    """A computational graph, gate by gate forward and then backward."""
    steps = [
        Step(
            "forward",
            f"{gate.label} = {value_text(gate.value)}" if gate.name else f"{gate.label} → {value_text(gate.value)}",
            equation="" if not gate.operands else _applied(graph, gate),
            show={f"f{gate.number}": value_text(gate.value)},
            light=[f"n{gate.number}", *(f"w{one}-{gate.number}" for one in gate.operands)],
        )
        for gate in graph.gates
    ]
    result = graph.gates[-1]
    start = {f"b{result.number}": value_text(result.gradient)}
    steps.append(Step("backward", "∂f/∂f = 1", "the chain rule starts at the result", (), start, [f"n{result.number}"]))
    waiting = {gate.number: sum(gate.number in other.operands for other in graph.gates) for gate in graph.gates}
    steps += [_back_through(graph, gate, waiting) for gate in reversed(graph.gates) if gate.operands]
    measured = graph.central_differences()
    rows = [
        (
            str(gate.number),
            gate.label,
            gate.rule,
            value_text(gate.value),
            ", ".join(map(value_text, gate.local)),
            value_text(gate.gradient),
            value_text(measured[gate.name]) if gate.name in measured else "",
        )
        for gate in graph.gates
    ]
    header = ("", "gate", "rule", "value", "local derivatives", "gradient", "by differences")
    facts = [f"f = {value_text(result.value)}", f"{len(graph.gates)} gates", "green: value, forward", "red: gradient, backward"]
    return Scene(graph.title or "Computational graph", facts, graph_picture(graph).to_svg(), steps, header, rows)


def _applied(graph: Graph, gate: Gate) -> str:
    """A gate with its operands: "− 2.00, 6.00 → + → 4.00"."""
    operands = ", ".join(value_text(graph.gates[one].value) for one in gate.operands)
    return f"{operands}  →  {gate.label}  →  {value_text(gate.value)}"


def _back_through(graph: Graph, gate: Gate, waiting: dict[int, int]) -> Step:
    """The gradient of a gate handed on to its operands; an operand's own is known when all its readers have given."""
    lines, show = [], {}
    for operand, slope in zip(gate.operands, gate.local, strict=True):
        source = graph.gates[operand]
        name = source.name or f"({source.label})"
        part = value_text(np.asarray(gate.gradient) * np.asarray(slope)) if slope.ndim == 0 else "element by element"
        lines.append(f"{name}: gradient · local derivative = {value_text(gate.gradient)} · {_bracketed(slope)} = {part}")
        waiting[operand] -= 1
        if waiting[operand] <= 0:
            show[f"b{operand}"] = value_text(source.gradient)
    light = [f"n{gate.number}", *(f"w{one}-{gate.number}" for one in gate.operands)]
    return Step("backward", f"back through {gate.label}", gate.rule, lines, show, light)


def _bracketed(value: object) -> str:
    text = value_text(value)
    return f"({text})" if text.startswith("−") else text


def _neuron_steps(trace: Trace) -> list[Step]:
    """The walk through a small network, with the blackboard's lines."""
    x = {f"a1-{i}": number_text(value) for i, value in enumerate(trace.x[0])}
    steps = [Step("forward", "Input x", "a⁽¹⁾ = x", (), x, [f"n1-{i}" for i in range(len(x))])]
    for layer in trace.layers:
        steps += [_neuron_step(trace, layer, quantity, "forward") for quantity in layer.forward]
    outputs = [f"e-loss-{i}" for i in range(trace.output.shape[1])]
    said = f"E = {trace.loss_name.replace('_', ' ')} = {number_text(trace.loss, 9)}"
    steps.append(Step("forward", "Loss E", said, (), {"E": f"E {number_text(trace.loss, 6)}"}, ["loss", *outputs]))
    for layer in reversed(trace.layers):
        steps += [_neuron_step(trace, layer, quantity, "backward") for quantity in layer.backward]
    if trace.input_gradient is not None:
        values = trace.input_gradient.values[0]
        show = {f"d1-{i}": f"∂E/∂x {number_text(value)}" for i, value in enumerate(values)}
        steps.append(Step("backward", "∂E/∂x", "∂E/∂x = W⁽²⁾ᵀ δ⁽²⁾", (), show, [f"n1-{i}" for i in range(len(values))]))
    return steps


def _neuron_step(trace: Trace, layer: LayerTrace, quantity: Quantity, phase: str) -> Step:
    n, values = layer.number, quantity.values
    units = [f"n{n}-{i}" for i in range(layer["a"].shape[-1])]
    edges = [f"e{n}-{i}-{j}" for i, j in np.ndindex(layer.parameters["weight"].shape)]
    prefix, place, light = {
        "z": ("z ", "z", [*units, *edges]),
        "a": ("", "a", units),
        "delta": ("δ ", "d", units),
        "dbias": ("∂E/∂b ", "g", units),
        "dweight": ("", "v", edges),
    }.get(quantity.key, ("", "", units))
    if quantity.key in ("da", "delta") and layer is not trace.layers[-1]:  # BP-2 runs back along the edges to the next layer
        following = trace[n + 1]
        light = [*light, *(f"e{n + 1}-{i}-{j}" for i, j in np.ndindex(following.parameters["weight"].shape))]
    digits = 3 if quantity.key == "dweight" else 4
    flat = values[0] if values.ndim == 2 and quantity.key != "dweight" else values
    show = {}
    if place:
        for at in np.ndindex(flat.shape):
            show["-".join(map(str, (f"{place}{n}", *at)))] = prefix + number_text(flat[at], digits)
    lines = worked_lines(trace, layer, quantity)
    if quantity.error is not None:
        lines += ["", f"by central differences: {measured_text(quantity)}"]
    return Step(phase, _step_title(quantity), quantity.equation.text, lines, show, light)


def _layer_steps(trace: Trace) -> list[Step]:
    """The walk through a large network: a heat map, statistics and the check of each quantity."""
    boxes = {station.path: number for number, station in enumerate(trace.flow.stations)}
    end = len(boxes) - 1
    steps = [Step("forward", "Input x", "a⁽¹⁾ = x", [_spread(trace.x)], {}, ["n0"], _images("x", trace.x))]
    for layer in trace.layers:
        ways = [f"w{boxes[source]}-{boxes[layer.path]}" for source in layer.sources]
        steps += [_layer_step(layer, one, "forward", boxes, ways) for one in layer.forward]
    said = f"E = {number_text(trace.loss, 9)}"
    steps.append(Step("forward", f"Loss: {trace.loss_name}", said, (), {f"f{end}": said, f"b{end}": "1"}, [f"n{end}"]))
    for layer in reversed(trace.layers):
        ways = [f"w{boxes[layer.path]}-{boxes[reader]}" for reader in trace.flow.readers(layer.path)]
        steps += [_layer_step(layer, one, "backward", boxes, ways) for one in layer.backward]
    if trace.input_gradient is not None:
        one = trace.input_gradient
        show = {"b0": norm_text("∂x", one)}
        steps.append(Step("backward", "∂E/∂x", one.equation.text, _facts(one), show, ["n0"], _images(one.symbol, one.values)))
    return steps


def _layer_step(layer: LayerTrace, quantity: Quantity, phase: str, boxes: dict[str, int], ways: list[str]) -> Step:
    number = boxes[layer.path]
    show = {}
    if quantity.key == "a":
        show[f"f{number}"] = norm_text("a", quantity)
    elif quantity.key == "da":
        show[f"b{number}"] = norm_text("∂a", quantity)
    title = f"{layer.path}  {_step_title(quantity)}"
    light = [f"n{number}", *(ways if quantity.key in ("z", "a", "da") else [])]
    return Step(phase, title, quantity.equation.text, _facts(quantity), show, light, _images(quantity.symbol, quantity.values))


def _step_title(quantity: Quantity) -> str:
    return f"{quantity.symbol}  ({quantity.equation.name})" if quantity.equation.name else quantity.symbol


def _facts(quantity: Quantity) -> list[str]:
    lines = [f"shape {shape_text(quantity.shape)}", _spread(quantity.values)]
    if quantity.error is not None:
        lines.append(f"check: {measured_text(quantity)} by central differences, largest relative error {error_text(quantity)}")
    return lines


def _spread(values: np.ndarray) -> str:
    return f"values {array_text(values, 4, 8)}, mean {number_text(values.mean(), 3)}, zeros {np.mean(values == 0):.0%}"


def _images(caption: str, values: np.ndarray) -> list[Image]:
    if values.size < 2 or not np.issubdtype(values.dtype, np.number):
        return []
    table = values.reshape(-1, values.shape[-1])
    return [Image(f"{caption}: blue below 0, white 0, red above", heat_map_uri(values), *table.shape)]


def _verdict(trace: Trace) -> str:
    if trace.agrees:
        return "every gradient agrees with central differences"
    wrong = [one.symbol for _, one in trace.quantities() if not one.agrees]
    return f"gradients that central differences do not confirm: {', '.join(wrong)}"


def _table_row(layer: LayerTrace | None, quantity: Quantity) -> tuple[str, ...]:
    name = "x" if layer is None else f"{layer.path} {type(layer.layer).__name__}"
    return name, *wide_cells(quantity)
