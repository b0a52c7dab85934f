"""Worked examples with fixed numbers: the lecture's figure 1, and Mazur's published one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlpx.compositions import Sequential
from mlpx.explain.quantities import Trace
from mlpx.explain.tracing import trace
from mlpx.layers import Dense


def perceptron_3_3_2() -> Trace:
    """The lecture's figure 1: three inputs, three hidden units, two outputs, logistic, E = ½‖y − o‖²; with small numbers."""
    parameters = {
        "0.weight": [[0.1, 0.2, -0.3], [-0.2, 0.4, 0.1], [0.3, -0.1, 0.2]],
        "0.bias": [0.1, -0.1, 0.2],
        "1.weight": [[0.2, -0.3, 0.4], [-0.1, 0.5, 0.2]],
        "1.bias": [0.1, -0.2],
    }
    made = _perceptron((3, 3, 2), parameters, [0.5, -1.0, 2.0], [1.0, 0.0])
    return replace(made, title="The lecture's figure 1: a perceptron 3-3-2")


def mazur() -> Trace:
    """Mazur's "A Step by Step Backpropagation Example" (2015): a perceptron 2-2-2, every number published to nine digits."""
    parameters = {
        "0.weight": [[0.15, 0.20], [0.25, 0.30]],
        "0.bias": [0.35, 0.35],
        "1.weight": [[0.40, 0.45], [0.50, 0.55]],
        "1.bias": [0.60, 0.60],
    }
    made = _perceptron((2, 2, 2), parameters, [0.05, 0.10], [0.01, 0.99])
    return replace(made, title="Mazur, A Step by Step Backpropagation Example")


def _perceptron(sizes: tuple[int, int, int], parameters: dict[str, list], x: list[float], y: list[float]) -> Trace:
    """A trace of a logistic perceptron with one hidden layer, on one row, in float64."""
    net = Sequential(Dense(sizes[0], sizes[1], activation="logistic"), Dense(sizes[1], sizes[2], activation="logistic"))
    arrays: dict[str, Any] = {name: np.asarray(values) for name, values in parameters.items()}
    row: Any = np.asarray([x])
    targets: Any = np.asarray([y])
    return trace(net, net.parameters(arrays), row, targets, "half_squared_error")
