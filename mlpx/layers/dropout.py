"""Dropout as a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpx import random
from mlpx.arguments import real_number
from mlpx.errors import InvalidInputError, checked_keywords
from mlpx.layers.base import Layer
from mlpx.ops.dropout import dropout
from mlpx.typing import Array, ParameterMapping, Residuals


class Dropout(Layer):
    """In training, set each number to zero with probability `rate` and scale the others by 1 / (1 - rate).

    Parameters
    ----------
    rate : float
        Probability in [0, 1) that a number is dropped.

    Raises
    ------
    ConfigError
        If the rate is outside [0, 1).
    """

    @checked_keywords
    def __init__(self, rate: float) -> None:
        self.rate = real_number("rate", rate, 0, 1, open_high=True)
        self.stochastic = self.rate > 0

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """X with numbers dropped in training; x itself otherwise."""
        del params
        if not train or not self.stochastic:
            return x, ()
        if key is None:
            raise InvalidInputError(f"{self!r} draws random numbers in training: pass key=mlpx.random.key(seed)")
        return dropout(x, random.bernoulli(key, 1 - self.rate, x.shape), rate=self.rate)

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array, Mapping[str, Array]]:
        """Pass on the gradient of the numbers that were kept."""
        del params
        return (dropout.gradient(dy, residuals) if residuals else dy), {}

    def config(self) -> dict[str, Any]:
        """The rate."""
        return {"rate": self.rate}
