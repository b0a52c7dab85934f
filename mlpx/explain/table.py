"""A trace, and a computational graph, as tables for the terminal."""

from __future__ import annotations

import numpy as np
from rich.table import Table
from rich.text import Text

from mlpx.explain.graph import Graph
from mlpx.explain.graph_picture import value_text
from mlpx.explain.number_text import array_text, number_text, shape_text
from mlpx.explain.quantities import Quantity, Trace

SHOWN = 9


def trace_table(trace: Trace, *, wide: bool = True) -> Table:
    """Every quantity of a step in the order of computation, forward and then backward.

    On a narrow terminal the equations and the measured slopes are left out; their error stays.
    """
    title = (
        f"{trace.title or 'One step'}: E = {number_text(trace.loss, 9)} ({trace.loss_name}), {trace.dtype} on {trace.device}"
    )
    table = Table(title=Text(title), title_justify="left", pad_edge=False)
    headings = ("layer", "", "equation", "shape", "values", "by differences", "error")
    for heading in headings if wide else (*headings[:2], *headings[3:5], "checked to"):
        table.add_column(heading, justify="right" if heading in ("error", "checked to") else "left")
    at: object = ""
    forward = True
    for layer, quantity in trace.quantities():
        if forward and quantity.key not in ("z", "a"):
            table.add_section()
            forward, at = False, ""
        name = "" if layer is at else "x" if layer is None else f"{layer.path} {type(layer.layer).__name__}"
        at = layer
        cells = wide_cells(quantity) if wide else _narrow_cells(quantity)
        table.add_row(Text(name), *map(Text, cells), style="" if quantity.agrees else "red")
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


def wide_cells(quantity: Quantity) -> tuple[str, ...]:
    """Symbol, equation, shape, values, measured slopes and their error."""
    name = f"{quantity.equation.name}: " if quantity.equation.name else ""
    measured = "" if quantity.measured is None else measured_text(quantity)
    values = array_text(quantity.values, 6, SHOWN)
    equation = name + quantity.equation.text
    return quantity.symbol, equation, shape_text(quantity.shape), values, measured, error_text(quantity)


def _narrow_cells(quantity: Quantity) -> tuple[str, ...]:
    """Symbol with the lecture's name of its equation, shape, values, error."""
    symbol = f"{quantity.symbol} {quantity.equation.name}".rstrip()
    return symbol, shape_text(quantity.shape), array_text(quantity.values, 4, 3), error_text(quantity)


def error_text(quantity: Quantity) -> str:
    """The error of a check: 0 where differences cannot tell it from nothing; empty if there was no check."""
    if quantity.error is None:
        return ""
    return f"{quantity.error:.0e}" if quantity.error else "0"


def measured_text(quantity: Quantity) -> str:
    """The slopes found by differences, or how many of them were."""
    assert quantity.measured is not None
    found = int(np.sum(~np.isnan(quantity.measured)))
    if found == quantity.measured.size:
        return array_text(quantity.measured, 6, SHOWN)
    return f"{found} of {quantity.measured.size} numbers"
