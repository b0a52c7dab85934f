"""What a trace is made of: quantities, each with equation, values and check; layers of them; the whole step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.explain.equations import Equation
from mlpx.explain.flow import Flow
from mlpx.explain.number_text import number_text
from mlpx.explain.numerical import BUDGET
from mlpx.layers.base import Layer
from mlpx.network import Network
from mlpx.optim.sgd import sgd_update

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Quantity:
    """An array of a step.

    Attributes
    ----------
    key : str
        "z", "a", "da", "f_prime", "delta", "dweight", "dbias", "dx", or "d" and the name of another parameter.
    symbol : str
        As the lecture writes it: "δ⁽²⁾".
    equation : Equation
    values : array
        A NumPy copy, in the dtype of the computation.
    measured : array or None
        Of a gradient: the slopes found by central differences in float64, NaN where not measured; None if not checked.
    error : float or None
        Largest difference between them and the float64 gradient, over its largest number.
    """

    key: str
    symbol: str
    equation: Equation
    values: np.ndarray
    measured: np.ndarray | None = None
    error: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.values.shape

    @property
    def agrees(self) -> bool:
        """Whether the check, if there was one, found no error."""
        return self.error is None or self.error <= BUDGET

    def statistics(self) -> dict[str, float]:
        """Smallest and largest number, mean, standard deviation, Euclidean norm, and the share of exact zeros."""
        if not self.values.size:
            return {}
        flat = self.values.astype(np.float64).ravel()
        found = (flat.min(), flat.max(), flat.mean(), flat.std(), np.linalg.norm(flat), np.mean(flat == 0))
        return dict(zip(("min", "max", "mean", "std", "norm", "zeros"), map(float, found), strict=True))


@dataclass(frozen=True)
class LayerTrace:
    """All quantities of one layer.

    Attributes
    ----------
    number : int
        l; the input is layer 1, as in the lecture's chapter on backpropagation.
    path : str
        Where it stands in the network: "0", "2.1".
    layer : Layer
    sources : tuple of str
        Paths of the stations that feed it.
    input, input_symbol : array, str
        What came in.
    parameters : dict of str to array
    forward, backward : tuple of Quantity
    """

    number: int
    path: str
    layer: Layer
    sources: tuple[str, ...]
    input: np.ndarray
    input_symbol: str
    parameters: dict[str, np.ndarray]
    forward: tuple[Quantity, ...]
    backward: tuple[Quantity, ...]

    def __getitem__(self, key: str) -> Quantity:
        for quantity in (*self.forward, *self.backward):
            if quantity.key == key:
                return quantity
        raise KeyError(
            f"layer {self.path} has no {key!r} (it has: {', '.join(one.key for one in (*self.forward, *self.backward))})"
        )

    def __contains__(self, key: str) -> bool:
        return any(one.key == key for one in (*self.forward, *self.backward))


@dataclass(frozen=True)
class Trace:
    """One step of a network, every value of it.

    Attributes
    ----------
    net : Network
    loss_name : str
    train : bool
    device, dtype : str
        Where and in which precision it was computed.
    x, targets, output, prediction : arrays
        NumPy copies; prediction is what the loss's link makes of the output.
    loss : float
        E, the mean over the rows.
    layers : tuple of LayerTrace
        In forward order, however deeply nested in the network.
    input_gradient : Quantity or None
        ∂E/∂x; None where whole numbers came in.
    flow : Flow
        Which layer feeds which.
    title : str
    """

    net: Network
    loss_name: str
    train: bool
    device: str
    dtype: str
    x: np.ndarray
    targets: np.ndarray
    output: np.ndarray
    prediction: np.ndarray
    loss: float
    layers: tuple[LayerTrace, ...]
    input_gradient: Quantity | None
    flow: Flow
    title: str = ""

    def __getitem__(self, path: str | int) -> LayerTrace:
        """The layer at a path ("0", "2.1"), or of a number l (2 is the first after the input)."""
        for layer in self.layers:
            if path in (layer.path, layer.number):
                return layer
        raise KeyError(f"no layer {path!r} (paths: {', '.join(layer.path for layer in self.layers)})")

    def __iter__(self) -> Iterator[LayerTrace]:
        return iter(self.layers)

    def quantities(self) -> Iterator[tuple[LayerTrace | None, Quantity]]:
        """Every quantity with its layer: forward in order, then backward from the last layer to ∂E/∂x."""
        for layer in self.layers:
            yield from ((layer, quantity) for quantity in layer.forward)
        for layer in reversed(self.layers):
            yield from ((layer, quantity) for quantity in layer.backward)
        if self.input_gradient is not None:
            yield None, self.input_gradient

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """∂E/∂parameter by the parameter's name in the network: "0.weight"."""
        return {f"{layer.path}.{name}": layer[f"d{name}"].values for layer in self.layers for name in layer.parameters}

    @property
    def worst_error(self) -> float | None:
        """The largest error of all checks; None if nothing was checked."""
        return max((one.error for _, one in self.quantities() if one.error is not None), default=None)

    @property
    def agrees(self) -> bool:
        """Whether every check that was made found the gradient right."""
        return all(one.agrees for _, one in self.quantities())

    def after_step(self, learning_rate: float) -> dict[str, np.ndarray]:
        """Every parameter after one step of gradient descent, by name."""
        if not learning_rate > 0:
            raise InvalidInputError(f"learning_rate={learning_rate!r}: expected a number greater than 0")
        after = {}
        for layer in self.layers:
            for name, values in layer.parameters.items():
                rate = np.asarray(learning_rate, dtype=values.dtype)
                after[f"{layer.path}.{name}"] = sgd_update(values, layer[f"d{name}"].values, rate)
        return after

    def table(self, *, wide: bool = True) -> Table:
        """A table for rich: every quantity, its equation, shape, numbers, and check; without equations if not `wide`."""
        from mlpx.explain.table import trace_table

        return trace_table(self, wide=wide)

    def to_dict(self, *, numbers: int | None = None) -> dict[str, Any]:
        """JSON values; arrays of more than `numbers` numbers (all are written if not given) as statistics alone."""
        from mlpx.explain.record import trace_record

        return trace_record(self, numbers)

    def to_markdown(self) -> str:
        """The derivation as Markdown with formulas."""
        from mlpx.explain.markdown import trace_markdown

        return trace_markdown(self)

    def to_html(self) -> str:
        """A self-contained page in which one steps forward and backward through the layers."""
        from mlpx.explain.scenes import trace_scene

        return trace_scene(self).to_html()

    def to_svg(self) -> str:
        """The network drawn with its numbers."""
        from mlpx.explain.scenes import trace_scene

        return trace_scene(self).svg

    def to_dot(self) -> str:
        """The network's layers as text for Graphviz."""
        from mlpx.explain.layer_picture import layer_picture

        return layer_picture(self).to_dot()

    def write_html(self, path: str | Path) -> None:
        """Write the page of `to_html` to a file."""
        Path(path).write_text(self.to_html(), encoding="utf-8")

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=160, no_color=True)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get().rstrip()

    def __repr__(self) -> str:
        checked = "not checked" if self.worst_error is None else f"worst error {self.worst_error:.0e}"
        return f"Trace(E = {number_text(self.loss)}, {len(self.layers)} layers, {self.x.shape[0]} rows, {checked})"
