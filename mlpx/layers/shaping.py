"""Layers that only choose or rearrange numbers, so that blocks of different inputs can be joined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlpx.arguments import whole_number
from mlpx.errors import ConfigError, InvalidInputError, checked_keywords
from mlpx.layers.base import Layer
from mlpx.namespace import namespace_of, placed_as
from mlpx.typing import Array, ParameterMapping, Residuals, Shape


class Margins(NamedTuple):
    """Empty arrays as wide as the columns left and right of the chosen ones."""

    left: Array
    right: Array


class Columns(Layer):
    """The columns [start, stop) of a table, for a branch of `Parallel`.

    Parameters
    ----------
    start, stop : int
        First column, and the one after the last.
    """

    @checked_keywords
    def __init__(self, start: int, stop: int) -> None:
        self.start = whole_number("start", start, at_least=0)
        self.stop = whole_number("stop", stop)
        if self.stop <= self.start:
            raise ConfigError(f"stop={stop} must be greater than start={start}")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Stop − start columns."""
        if len(input_shape) < 2 or input_shape[-1] < self.stop:
            raise InvalidInputError(f"{self!r} takes a table of at least {self.stop} columns, got shape {tuple(input_shape)}")
        return (*input_shape[:-1], self.stop - self.start)

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """The chosen columns."""
        del params, train, key
        xp = namespace_of(x)
        widths = self.start, x.shape[-1] - self.stop
        margins = (xp.zeros((0, width), dtype=x.dtype, **placed_as(x)) for width in widths)
        return x[..., self.start : self.stop], Margins(*margins)

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array, Mapping[str, Array]]:
        """Zero for the columns left out."""
        del params
        xp = namespace_of(dy)
        left, right = (xp.zeros((*dy.shape[:-1], margin.shape[1]), dtype=dy.dtype, **placed_as(dy)) for margin in residuals)
        return xp.concat([left, dy, right], axis=-1), {}

    def config(self) -> dict[str, Any]:
        """The range."""
        return {"start": self.start, "stop": self.stop}


class Flatten(Layer):
    """Every sample as one row: (n, a, b, …) becomes (n, a·b·…)."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Two axes."""
        return (input_shape[0], math.prod(input_shape[1:]))

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """X as a table; keeps an empty array of x's inner shape."""
        del params, train, key
        xp = namespace_of(x)
        return xp.reshape(x, self.output_shape(x.shape)), xp.zeros((0, *x.shape[1:]), dtype=x.dtype, **placed_as(x))

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array, Mapping[str, Array]]:
        """Dy in the shape of the input."""
        del params
        return namespace_of(dy).reshape(dy, (dy.shape[0], *residuals.shape[1:])), {}
