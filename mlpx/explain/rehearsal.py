"""The same step again, in float64 on NumPy, as often as central differences need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlpx import transfer
from mlpx.explain.numerical import BUDGET, STEP, Measured, measure
from mlpx.explain.watching import INPUT, Pass, Recording, activation_pass, watched_network
from mlpx.losses import Loss
from mlpx.network import Network
from mlpx.parameters import Parameters
from mlpx.typing import Array


class Rehearsal:
    """A step that can be repeated with one value replaced; the gradients checked are those of float64, too."""

    def __init__(
        self, net: Network, params: Parameters, x: Array, targets: Array, loss: Loss, *, train: bool, key: Array | None
    ) -> None:
        arrays = {**params, **(params.buffers or {})}
        self._params = {name: as_float64(array) for name, array in arrays.items()}
        self._x, self._targets = as_float64(x), as_float64(targets)
        self._key: Any = None if key is None else transfer.to_numpy(key)
        self._loss, self._train = loss, train
        self._recording = Recording()
        self._net = watched_network(net, self._recording)
        output, residuals = self._forward({}, self._x)
        _, delta = loss(output, self._targets)
        self._dx: Any
        self._gradients: Any
        self._dx, self._gradients = self._net.backward(self._params, residuals, delta)
        self._passes = dict(self._recording.passes)

    def measured(self, path: str, key: str) -> Measured | None:
        """The slopes of a quantity of the layer at `path`; None where it is not a gradient or there is nothing to move."""
        if path == INPUT:
            return self._of_input()
        seen = self._passes[path]
        unit = activation_pass(self._passes, path)
        if key == "da" or (key == "delta" and unit is None):
            return self._of_value(path, "y", seen.y, seen.dy)
        if key == "delta" and unit is not None:
            return self._of_value(unit.path, "x", unit.x, unit.dx)
        if key == "dx":
            return self._of_value(path, "x", seen.x, seen.dx)
        if key == "f_prime":
            return None if unit is None else _slope_of_activation(unit)
        if key.startswith("d") and key[1:] in seen.gradients:
            return self._of_parameter(f"{path}.{key[1:]}")
        return None

    def _of_input(self) -> Measured | None:
        if self._dx is None:
            return None
        return measure(lambda x: self._value(self._params, x), self._x, self._dx)

    def _of_value(self, path: str, side: str, values: Any, gradient: Any) -> Measured | None:
        """The slopes with respect to what enters (x) or leaves (y) a layer."""
        if gradient is None or not np.issubdtype(values.dtype, np.floating):
            return None

        def moved(array: Any) -> float:
            self._recording.replaced = {(path, side): array}
            try:
                return self._value(self._params, self._x)
            finally:
                self._recording.replaced = {}

        return measure(moved, values, gradient)

    def _of_parameter(self, name: str) -> Measured:
        moved: Callable[[np.ndarray], float] = lambda array: self._value({**self._params, name: array}, self._x)  # noqa: E731
        return measure(moved, self._params[name], self._gradients[name])

    def _value(self, params: dict[str, np.ndarray], x: np.ndarray) -> float:
        return float(self._loss.value(self._forward(params, x)[0], self._targets))

    def _forward(self, params: Any, x: Any) -> Any:
        return self._net.forward(params or self._params, x, train=self._train, key=self._key)


def as_float64(array: Array) -> Any:
    """A NumPy copy, in float64 if it is floating."""
    copy = transfer.to_numpy(array)
    return copy.astype(np.float64) if np.issubdtype(copy.dtype, np.floating) else copy


def _slope_of_activation(unit: Pass) -> Measured:
    """f'(z), element by element at once: (f(z + h) − f(z − h)) / 2h."""
    x: Any = unit.x
    ones: Any = np.ones_like(x)
    gradient: Any = unit.layer.backward(unit.parameters, unit.residuals, ones)[0]
    values: Callable[[Any], Any] = lambda z: unit.layer.forward(unit.parameters, z)[0]  # noqa: E731
    h = STEP * np.maximum(1.0, np.abs(x))
    above, here, below = values(x + h), values(x), values(x - h)
    slopes = (above - below) / (2 * h)
    left, right = (here - below) / h, (above - here) / h
    outside = np.maximum(np.minimum(left, right) - gradient, gradient - np.maximum(left, right))
    off = np.abs(slopes - gradient)
    off = np.where(off > BUDGET, np.maximum(0.0, outside), off)  # at a kink every number between the two sides is right
    return Measured(slopes, float(np.max(off, initial=0.0)))
