"""A small layer of neurons worked out number by number, as one would on a blackboard.

Nothing is computed here: the numbers are those of the trace, put into its equations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mlpx.explain.equations import lower, upper
from mlpx.explain.number_text import number_text
from mlpx.explain.quantities import LayerTrace, Quantity, Trace
from mlpx.layers import Dense

UNITS = 8  # a layer with more is shown as statistics and pictures


def is_small(trace: Trace) -> bool:
    """Whether a step can be shown number by number: one row through layers of few neurons, one after another."""
    chain = all(len(layer.sources) == 1 for layer in trace.layers) and len(trace.flow.ways) == len(trace.flow.stations) - 1
    neurons = all(isinstance(layer.layer, Dense) for layer in trace.layers)
    widths = [trace.x.shape[-1], *(layer["a"].shape[-1] for layer in trace.layers)]
    return trace.x.ndim == 2 and trace.x.shape[0] == 1 and chain and neurons and max(widths) <= UNITS


def worked_lines(trace: Trace, layer: LayerTrace, quantity: Quantity) -> list[str]:
    """A quantity's equation with the numbers in it, element by element; empty where there is nothing to work out."""
    make = _LINES.get(quantity.key)
    return list(make(trace, layer)) if make else []


def factor(value: float) -> str:
    """A number inside a product: in brackets if it is negative."""
    text = number_text(value)
    return f"({text})" if text.startswith("−") else text


def _net_input(_trace: Trace, layer: LayerTrace) -> Iterator[str]:
    """z₁ = w₁₁ x₁ + w₁₂ x₂ + b₁."""
    weight, bias, x, z = layer.parameters["weight"], layer.parameters["bias"], layer.input[0], layer["z"].values[0]
    for i, row in enumerate(weight):
        terms = " + ".join(f"{factor(w)} · {factor(a)}" for w, a in zip(row, x, strict=True))
        yield f"z{lower(i)}{upper(layer.number)} = {terms} + {factor(bias[i])} = {number_text(z[i])}"


def _activation(_trace: Trace, layer: LayerTrace) -> Iterator[str]:
    unit = getattr(layer.layer, "activation", None)
    name = unit.name if unit is not None else "identity"
    for i, (z, a) in enumerate(zip(layer["z"].values[0], layer["a"].values[0], strict=True)):
        yield f"a{lower(i)}{upper(layer.number)} = {name}({number_text(z)}) = {number_text(a)}"


def _arriving(trace: Trace, layer: LayerTrace) -> Iterator[str]:
    """∂E/∂a of the output from the loss, of a hidden layer from the deltas behind it."""
    s = upper(layer.number)
    for i, value in enumerate(layer["da"].values[0]):
        inside = _before_slope(trace, layer, i)
        yield (
            f"∂E/∂a{lower(i)}{s} = {inside} = {number_text(value)}" if inside else f"∂E/∂a{lower(i)}{s} = {number_text(value)}"
        )


def _before_slope(trace: Trace, layer: LayerTrace, i: int) -> str:
    """What stands before f'(z) in BP-1 and BP-2; empty where a loss of another form gives it."""
    if layer is trace.layers[-1]:
        if trace.loss_name != "half_squared_error":
            return ""
        return f"−({number_text(trace.targets[0, i])} − {factor(layer['a'].values[0, i])})"
    following = trace.layers[trace.layers.index(layer) + 1]
    weight, delta = following.parameters["weight"], following["delta"].values[0]
    return " + ".join(f"{factor(w)} · {factor(d)}" for w, d in zip(weight[:, i], delta, strict=True))


def _slope(_trace: Trace, layer: LayerTrace) -> Iterator[str]:
    for i, (z, slope) in enumerate(zip(layer["z"].values[0], layer["f_prime"].values[0], strict=True)):
        yield f"f′({number_text(z)}) = {number_text(slope)}        (z{lower(i)}{upper(layer.number)})"


def _delta(trace: Trace, layer: LayerTrace) -> Iterator[str]:
    """δ₁ = (what arrives) · f'(z₁)."""
    arriving, slope, delta = layer["da"].values[0], layer["f_prime"].values[0], layer["delta"].values[0]
    for i in range(delta.size):
        inside = _before_slope(trace, layer, i) or number_text(arriving[i])
        left = inside if inside.startswith("−(") else f"({inside})"
        yield f"δ{lower(i)}{upper(layer.number)} = {left} · {factor(slope[i])} = {number_text(delta[i])}"


def _weight_gradient(_trace: Trace, layer: LayerTrace) -> Iterator[str]:
    """∂E/∂w₁₂ = δ₁ a₂."""
    delta, a, gradient, s = layer["delta"].values[0], layer.input[0], layer["dweight"].values, upper(layer.number)
    for i, j in np.ndindex(gradient.shape):
        yield f"∂E/∂w{lower(i, j)}{s} = {factor(delta[i])} · {factor(a[j])} = {number_text(gradient[i, j])}"


def _bias_gradient(_trace: Trace, layer: LayerTrace) -> Iterator[str]:
    for i, value in enumerate(layer["dbias"].values):
        yield f"∂E/∂b{lower(i)}{upper(layer.number)} = δ{lower(i)}{upper(layer.number)} = {number_text(value)}"


_LINES: dict[str, Callable[[Trace, LayerTrace], Iterator[str]]] = {
    "z": _net_input,
    "a": _activation,
    "da": _arriving,
    "f_prime": _slope,
    "delta": _delta,
    "dweight": _weight_gradient,
    "dbias": _bias_gradient,
}
