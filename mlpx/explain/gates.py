"""The operations of a computational graph: the value of each, and its local derivative with respect to each operand.

The activations are not here: their value and derivative come from `mlpx.ops`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlpx.errors import ConfigError, unknown_name
from mlpx.namespace import namespace_of
from mlpx.ops.activations import ACTIVATIONS
from mlpx.typing import Array

Derivative = Callable[..., Array]


@dataclass(frozen=True)
class Operation:
    """What a gate computes of its operands a and b, and how steep that is, element by element.

    Attributes
    ----------
    name, symbol : str
    value : callable
        Operands -> y.
    derivatives : tuple of callable
        For each operand, (operands…, y) -> ∂y/∂operand, of y's shape.
    rule : str
        The derivatives in words, for the reader.
    number_left, number_right : str
        How a gate is labelled whose left or right operand is a Python number `{}`.
    """

    name: str
    symbol: str
    value: Callable[..., Array]
    derivatives: tuple[Derivative, ...]
    rule: str
    number_left: str = ""
    number_right: str = ""


def _one(*arrays: Array) -> Array:
    return namespace_of(arrays[-1]).ones_like(arrays[-1])


def _wins(a: Array, b: Array, y: Array) -> Array:
    """I(a > b) + ½ I(a = b): at a tie each operand gets half of the gradient, a subgradient that takes no side."""
    xp = namespace_of(y)
    return xp.astype(a > b, y.dtype) + 0.5 * xp.astype(a == b, y.dtype)


def _power_of_base(a: Array, b: Array, y: Array) -> Array:
    """The derivative b a^(b − 1), and 0 for b = 0 also at a = 0, where 0 · a^(−1) would be NaN."""
    xp = namespace_of(y)
    nothing = xp.astype(b == 0, y.dtype)
    return b * a ** (b - 1 + nothing)


OPERATIONS = {
    one.name: one
    for one in (
        Operation("add", "+", lambda a, b: a + b, (_one, _one), "∂(a + b)/∂a = 1,  ∂(a + b)/∂b = 1", "+ {}", "+ {}"),
        Operation(
            "subtract",
            "−",
            lambda a, b: a - b,
            (_one, lambda _a, _b, y: -_one(y)),
            "∂(a − b)/∂a = 1,  ∂(a − b)/∂b = −1",
            "{} −",
            "− {}",
        ),
        Operation(
            "multiply",
            "×",
            lambda a, b: a * b,
            (lambda _a, b, y: b * _one(y), lambda a, _b, y: a * _one(y)),
            "∂(a b)/∂a = b,  ∂(a b)/∂b = a",
            "× {}",
            "× {}",
        ),
        Operation(
            "divide",
            "÷",
            lambda a, b: a / b,
            (lambda _a, b, y: _one(y) / b, lambda _a, b, y: -y / b),
            "∂(a/b)/∂a = 1/b,  ∂(a/b)/∂b = −a/b²",
            "{}/x",
            "÷ {}",
        ),
        Operation("negate", "× (−1)", lambda a: -a, (lambda _a, y: -_one(y),), "∂(−a)/∂a = −1"),
        Operation("exp", "exp", lambda a: namespace_of(a).exp(a), (lambda _a, y: y,), "∂eᵃ/∂a = eᵃ"),
        Operation("log", "log", lambda a: namespace_of(a).log(a), (lambda a, _y: 1 / a,), "∂(log a)/∂a = 1/a"),
        Operation(
            "maximum",
            "max",
            lambda a, b: namespace_of(a, b).maximum(a, b),
            (_wins, lambda a, b, y: _wins(b, a, y)),
            "∂max(a, b)/∂a = I(a > b),  ∂max(a, b)/∂b = I(b > a),  ½ each where a = b",
            "max({}, x)",
            "max(x, {})",
        ),
        Operation(
            "power",
            "aᵇ",
            lambda a, b: a**b,
            (_power_of_base, lambda a, _b, y: y * namespace_of(a).log(a)),
            "∂aᵇ/∂a = b aᵇ⁻¹,  ∂aᵇ/∂b = aᵇ log a",
            "{}^x",
            "x^{}",
        ),
    )
}


def activation_operation(name: str, settings: dict[str, Any]) -> Operation:
    """An activation as a gate; its derivative is the op's own gradient of ones."""
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    if name == "prelu" or not all(isinstance(value, int | float) for value in settings.values()):
        raise ConfigError(f"activation {name!r} learns its slope: as a gate, write it with maximum and ×, or take leaky_relu")
    op = ACTIVATIONS[name]

    def derivative(a: Array, y: Array) -> Array:
        return op.gradient(_one(y), op(a, **settings)[1])

    return Operation(name, name, lambda a: op(a, **settings)[0], (derivative,), f"∂{name}(a)/∂a = {name}'(a)")
