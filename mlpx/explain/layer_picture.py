"""A network's layers as boxes, fed from left to right, with the norms of what goes through them."""

from __future__ import annotations

from mlpx.explain.number_text import number_text, shape_text
from mlpx.explain.picture import Box, Picture
from mlpx.explain.quantities import Quantity, Trace
from mlpx.explain.watching import INPUT


def layer_picture(trace: Trace) -> Picture:
    """Every layer with ‖a‖ above the wire behind it and ‖∂E/∂a‖ below."""
    layers = {layer.path: layer for layer in trace.layers}
    numbers = {station.path: number for number, station in enumerate(trace.flow.stations)}
    boxes = []
    for station in trace.flow.stations:
        if station.path in layers:
            layer = layers[station.path]
            note = f"{layer.path}: {layer.layer!r}, output {shape_text(layer['a'].shape)}"
            back = norm_text("∂a", layer["da"]) if "da" in layer else ""
            boxes.append(Box(station.label, norm_text("a", layer["a"]), back, note=note))
        elif station.path == INPUT:
            gradient = trace.input_gradient
            back = "" if gradient is None else norm_text("∂x", gradient)
            boxes.append(Box(f"x {shape_text(trace.x.shape)}", "", back, leaf=True))
        elif station is trace.flow.stations[-1]:
            boxes.append(Box(station.label, f"E {number_text(trace.loss)}", "1"))
        else:
            boxes.append(Box(station.label))
    ways = dict.fromkeys((numbers[source], numbers[target]) for source, target in trace.flow.ways)
    return Picture(boxes, list(ways), trace.title)


def norm_text(symbol: str, quantity: Quantity) -> str:
    """‖a‖ 3.21, the Euclidean norm of a quantity."""
    return f"‖{symbol}‖ {number_text(quantity.statistics().get('norm', 0.0), 3)}"
