"""A trace as JSON values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mlpx.explain.quantities import LayerTrace, Quantity, Trace


def trace_record(trace: Trace, numbers: int | None = None) -> dict[str, Any]:
    """Everything in a trace; arrays of more than `numbers` numbers as statistics alone, all in full if not given."""
    return {
        "title": trace.title or None,
        "network": repr(trace.net),
        "loss": {"name": trace.loss_name, "value": _number(trace.loss)},
        "train": trace.train,
        "device": trace.device,
        "dtype": trace.dtype,
        "rows": trace.x.shape[0],
        "x": plain(trace.x, numbers),
        "targets": plain(trace.targets, numbers),
        "output": plain(trace.output, numbers),
        "prediction": plain(trace.prediction, numbers),
        "layers": [_layer(layer, numbers) for layer in trace.layers],
        "input_gradient": None if trace.input_gradient is None else _quantity(trace.input_gradient, numbers),
        "flow": [list(way) for way in trace.flow.ways],
        "check": {"agrees": trace.agrees, "worst_error": trace.worst_error},
    }


def _layer(layer: LayerTrace, numbers: int | None) -> dict[str, Any]:
    return {
        "number": layer.number,
        "path": layer.path,
        "layer": repr(layer.layer),
        "sources": list(layer.sources),
        "parameters": {name: plain(values, numbers) for name, values in layer.parameters.items()},
        "forward": [_quantity(one, numbers) for one in layer.forward],
        "backward": [_quantity(one, numbers) for one in layer.backward],
    }


def _quantity(quantity: Quantity, numbers: int | None) -> dict[str, Any]:
    return {
        "key": quantity.key,
        "symbol": quantity.symbol,
        "name": quantity.equation.name or None,
        "equation": quantity.equation.text,
        "latex": quantity.equation.latex or None,
        "shape": list(quantity.shape),
        "statistics": {name: _number(value) for name, value in quantity.statistics().items()},
        "values": plain(quantity.values, numbers),
        "central_differences": None if quantity.measured is None else plain(quantity.measured, numbers),
        "error": None if quantity.error is None else _number(quantity.error),
    }


def plain(values: np.ndarray, numbers: int | None) -> Any:
    """Nested lists, with null for what is not finite; None for an array of more than `numbers` numbers."""
    if numbers is not None and values.size > numbers:
        return None
    return _finite(values.tolist())


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
