"""Variables and formulas of a computational graph: each operation computes at once and remembers what it read."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.errors import InvalidTypeError
from mlpx.explain.gates import OPERATIONS, Operation, activation_operation
from mlpx.namespace import constant, is_floating, namespace_of
from mlpx.typing import Array


class Node:
    """A variable, or the result of an operation on others; combine nodes with + − × / ** and the functions of this module.

    Attributes
    ----------
    value : array
        0-d for a number.
    name : str
        Of a variable; empty for results.
    operation : Operation or None
        None for a variable.
    operands : tuple of Node or float
    """

    __slots__ = ("name", "operands", "operation", "value")
    __array_ufunc__ = None  # array + node is the node's to compute

    def __init__(
        self, value: Array, name: str = "", operation: Operation | None = None, operands: tuple[Any, ...] = ()
    ) -> None:
        self.value = value
        self.name = name
        self.operation = operation
        self.operands = operands

    @property
    def label(self) -> str:
        """What the node is called in a picture: its name, or its operation with the numbers it holds."""
        if self.operation is None:
            return self.name or "const"
        forms = (self.operation.number_left, self.operation.number_right)
        for form, operand in zip(forms, self.operands, strict=False):
            if not isinstance(operand, Node):
                return form.format(f"{operand:g}".replace("-", "−"))
        return self.operation.symbol

    def __add__(self, other: Any) -> Node:
        return _apply("add", self, other)

    def __radd__(self, other: Any) -> Node:
        return _apply("add", other, self)

    def __sub__(self, other: Any) -> Node:
        return _apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Node:
        return _apply("subtract", other, self)

    def __mul__(self, other: Any) -> Node:
        return _apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Node:
        return _apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Node:
        return _apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return _apply("divide", other, self)

    def __pow__(self, other: Any) -> Node:
        return _apply("power", self, other)

    def __rpow__(self, other: Any) -> Node:
        return _apply("power", other, self)

    def __neg__(self) -> Node:
        return _apply("negate", self)

    def __repr__(self) -> str:
        return f"<{self.label}: {self.value}>"


def variable(value: Any, name: str = "") -> Node:
    """A leaf of a graph.

    Parameters
    ----------
    value : float or floating array of any library
        A Python number becomes a 0-d float64 NumPy array.
    name : str
        How it is called in the graph; needed if its gradient is to be found by name.

    Raises
    ------
    InvalidTypeError
        If it is no floating array.
    """
    array: Any = np.asarray(value, dtype=np.float64) if isinstance(value, int | float) else value
    if not is_floating(array):
        raise InvalidTypeError(f"variable {name!r} is {array.dtype}: only floating numbers have derivatives")
    return Node(array, name)


def exp(x: Node) -> Node:
    """Eˣ."""
    return _apply("exp", x)


def log(x: Node) -> Node:
    """Natural logarithm."""
    return _apply("log", x)


def maximum(a: Node | float, b: Node | float) -> Node:
    """The larger of two; at a tie each gets half of the gradient."""
    return _apply("maximum", a, b)


def activation(name: str, z: Node, **settings: float) -> Node:
    """An activation of `mlpx.ops` by name, such as "tanh", or "elu" with `alpha=`.

    Raises
    ------
    ConfigError
        If there is none of that name, or it learns its slope (prelu).
    """
    return computed(activation_operation(name, settings), (z,))


def _apply(name: str, *operands: Any) -> Node:
    return computed(OPERATIONS[name], operands)


def computed(operation: Operation, operands: tuple[Any, ...]) -> Node:
    """The node of an operation on nodes, numbers and arrays; an array becomes a leaf without a name."""
    given = tuple(one if isinstance(one, Node | int | float) else variable(one) for one in operands)
    if not any(isinstance(one, Node) for one in given):
        raise InvalidTypeError(f"{operation.name} of numbers alone: make one of them a variable, graph.variable(value, name)")
    arrays = arrays_of(given)
    return Node(as_array(operation.value(*arrays), arrays[0]), "", operation, given)


def arrays_of(operands: tuple[Any, ...]) -> tuple[Array, ...]:
    """The operands' values; a Python number as a constant of its partner's dtype and device."""
    like = next(one.value for one in operands if isinstance(one, Node))
    return tuple(one.value if isinstance(one, Node) else constant(float(one), like) for one in operands)


def as_array(value: Any, like: Array) -> Array:
    """An array also where the library gives a scalar for a 0-d result (NumPy)."""
    return namespace_of(like).asarray(value)
