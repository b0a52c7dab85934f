"""Functions of the standard that are no primitive: recorded by name, their results known from a rehearsal on zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.errors import InvalidTypeError
from mlpx.program import trees
from mlpx.program.ir import Node, Value
from mlpx.program.recorder import active_recorder
from mlpx.program.symbols import Symbol

DATA_DEPENDENT = frozenset(["unique_all", "unique_counts", "unique_inverse", "unique_values", "nonzero", "from_dlpack"])


class Arguments:
    """Positional and keyword arguments of a call; arrays stand as the number of the node's input."""

    __slots__ = ("keyword", "positional")

    def __init__(self, positional: Any, keyword: Any) -> None:
        self.positional = positional
        self.keyword = keyword

    def filled(self, arrays: list[Any]) -> tuple[Any, Any]:
        """The arguments, with arrays in their places."""

        def filled(_: str, value: Any) -> Any:
            return arrays[value.number] if isinstance(value, Place) else value

        return trees.mapped(self.positional, filled), trees.mapped(self.keyword, filled)


class Place:
    """Where input `number` of a node goes."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Extension:
    """An extension of the standard, such as `linalg`."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: call(f"{self.__name__}.{name}", args, kwargs)


def function_named(namespace: Any, name: str) -> Any:
    """The function of that name, dotted or not, in a namespace."""
    for part in name.split("."):
        namespace = getattr(namespace, part)
    return namespace


def call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Record a call; its results are symbols in the shape of what NumPy returns.

    Raises
    ------
    TraceError
        If the shape of the result would depend on values.
    """
    recorder = active_recorder()
    if name in DATA_DEPENDENT:
        raise recorder.refuse(f"xp.{name}")
    inputs: list[Value] = []

    def place(_: str, value: Any) -> Any:
        if not isinstance(value, Symbol | np.ndarray):
            return value
        (known,) = recorder.operands(name, [value])
        assert isinstance(known, Value)  # a symbol or an array is never a literal
        inputs.append(known)
        return Place(len(inputs) - 1)

    arguments = Arguments(trees.mapped(args, place), trees.mapped(kwargs, place))
    result = _rehearsed(name, arguments, inputs)
    outputs = tuple(recorder.value(tuple(one.shape), one.dtype) for _, one in trees.flattened(result))
    recorder.nodes.append(Node("call", tuple(inputs), outputs, {"function": name, "arguments": arguments}))
    symbols = iter(outputs)
    return trees.mapped(result, lambda _, __: Symbol(recorder, next(symbols)))


def _rehearsed(name: str, arguments: Arguments, inputs: list[Value]) -> Any:
    """What NumPy returns for arrays of these shapes: ones on the diagonal, so that factorisations succeed."""
    try:
        function = function_named(np, name)
    except AttributeError:
        raise AttributeError(f"the Array API standard has no function {name!r}") from None
    stand_ins = [np.eye(*v.shape, dtype=v.dtype) if v.ndim == 2 else np.ones(v.shape, v.dtype) for v in inputs]
    positional, keyword = arguments.filled(stand_ins)
    try:
        with np.errstate(all="ignore"):
            return function(*positional, **keyword)
    except Exception as error:
        shapes = ", ".join(map(repr, inputs))
        raise InvalidTypeError(f"{name} of {shapes} cannot be recorded: {error}") from error
