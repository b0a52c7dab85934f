"""A network as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from mlpx.errors import InvalidInputError
from mlpx.layers.base import Layer
from mlpx.typing import Shape

if TYPE_CHECKING:
    from mlpx.network import Network

FLOAT32_BYTES = 4


class Row(NamedTuple):
    """One line of the table."""

    name: str
    layer: str
    output_shape: str
    parameters: int


class Summary:
    """Layers, output shapes, parameters and memory of a network.

    Attributes
    ----------
    rows : list of Row
    parameters : int
        Number of trainable parameters.
    buffers : int
        Number of running statistics.
    nbytes : int
        Bytes of the parameters in float32; training holds as much again for gradients, and more for the optimizer.
    """

    def __init__(self, net: Network, input_shape: Shape | None = None) -> None:
        self.rows: list[Row] = []
        shape = input_shape if input_shape is not None else _first_input(net)
        if shape is not None:
            net.output_shape(shape)
        self._walk(net, "", shape, 0)
        self.parameters = net.layout.size
        self.buffers = net.buffer_layout.size
        self.nbytes = FLOAT32_BYTES * net.layout.length

    def _walk(self, layer: Layer, name: str, shape: Shape | None, depth: int) -> None:
        for number, child in enumerate(layer.children()):
            label = f"{name}{number}"
            after = None if shape is None else child.output_shape(shape)
            count = sum(math.prod(spec.shape) for spec in child.specs().values())
            text = "?" if after is None else "(" + ", ".join(["n", *map(str, after[1:])]) + ")"
            title = type(child).__name__ if child.children() else repr(child)
            self.rows.append(Row(label, "  " * depth + title, text, count))
            self._walk(child, f"{label}.", shape, depth + 1)
            if getattr(layer, "in_sequence", True):
                shape = after

    def table(self) -> Table:
        """The table, for rich."""
        table = Table(title=f"{self.parameters:,} parameters, {self.nbytes / 2**20:.2f} MiB in float32", title_justify="left")
        for heading in ("", "layer", "output shape"):
            table.add_column(heading)
        table.add_column("parameters", justify="right")
        for row in self.rows:
            table.add_row(row.name, row.layer, row.output_shape, f"{row.parameters:,}")
        return table

    def __str__(self) -> str:
        console = Console(width=110, no_color=True)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get().rstrip()

    __repr__ = __str__


def _first_input(net: Layer) -> Shape | None:
    """The input shape that the first layer with a fixed width asks for."""
    for child in net.children():
        for attribute in ("n_in", "features"):
            width = getattr(child, attribute, None)
            if isinstance(width, int) and not child.children() and type(child).__name__ != "Embedding":
                shape = (1, width)
                try:
                    net.output_shape(shape)
                except InvalidInputError:
                    return None
                return shape
        if child.children():
            return _first_input(child)
    return None
