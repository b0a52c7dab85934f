"""A trace, and a computational graph, as tables for the terminal."""

from __future__ import annotations

import numpy as np
from rich.table import Table
from rich.text import Text

from mlpx.explain.graph import Graph
from mlpx.explain.graph_picture import value_text
from mlpx.explain.number_text import array_text, number_text, shape_text
from mlpx.explain.quantities import Quantity, Trace

SHOWN = 6


def trace_table(trace: Trace) -> Table:
    """Every quantity of a step in the order of computation, forward and then backward."""
    title = (
        f"{trace.title or 'One step'}: E = {number_text(trace.loss, 9)} ({trace.loss_name}), {trace.dtype} on {trace.device}"
    )
    table = Table(title=Text(title), title_justify="left", pad_edge=False)
    for heading in ("l", "layer", "", "equation", "shape", "values"):
        table.add_column(heading)
    table.add_column("by differences")
    table.add_column("error", justify="right")
    at = None
    turned = False
    for layer, quantity in trace.quantities():
        backward = quantity.key not in ("z", "a")
        if backward and not turned:
            table.add_section()
            turned, at = True, None
        first = layer is not at
        at = layer
        number, name = ("1", "x") if layer is None else (str(layer.number), f"{layer.path} {type(layer.layer).__name__}")
        table.add_row(
            *map(Text, ((number, name) if first else ("", "")) + _cells(quantity)), style="" if quantity.agrees else "red"
        )
    return table


def graph_table(graph: Graph) -> Table:
    """Every gate with value, local derivatives and gradient, and the measured gradient of the variables."""
    table = Table(title=Text(graph.title or "Computational graph"), title_justify="left", pad_edge=False)
    for heading in ("", "gate", "reads", "value", "local derivatives", "gradient", "by differences"):
        table.add_column(heading, justify="left" if heading in ("gate", "reads") else "right")
    measured = graph.central_differences()
    for gate in graph.gates:
        table.add_row(
            *map(
                Text,
                (
                    str(gate.number),
                    gate.label,
                    ", ".join(map(str, gate.operands)),
                    value_text(gate.value),
                    ", ".join(map(value_text, gate.local)),
                    value_text(gate.gradient),
                    value_text(measured[gate.name]) if gate.name in measured else "",
                ),
            )
        )
    return table


def _cells(quantity: Quantity) -> tuple[str, ...]:
    """What is said about a quantity behind its layer."""
    name = f"{quantity.equation.name}  " if quantity.equation.name else ""
    measured = "" if quantity.measured is None else measured_text(quantity)
    error = "" if quantity.error is None else f"{quantity.error:.0e}" if quantity.error else "0"
    values = array_text(quantity.values, 6, SHOWN)
    return quantity.symbol, name + quantity.equation.text, shape_text(quantity.shape), values, measured, error


def measured_text(quantity: Quantity) -> str:
    """The slopes found by differences, or how many of them were."""
    assert quantity.measured is not None
    found = int(np.sum(~np.isnan(quantity.measured)))
    if found == quantity.measured.size:
        return array_text(quantity.measured, 6, SHOWN)
    return f"{found} of {quantity.measured.size} numbers"
