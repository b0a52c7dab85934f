"""Running a program node by node with the functions of any array library: the oracle of every engine, and its fallback."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.namespace import device_of, namespace_of, placed_as
from mlpx.program import trees
from mlpx.program.calls import function_named
from mlpx.program.ir import Literal, Node, Program, Value
from mlpx.program.trace import dtype_of
from mlpx.typing import Array, Device, Namespace

OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "matmul": operator.matmul,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "bitwise_left_shift": operator.lshift,
    "bitwise_right_shift": operator.rshift,
    "bitwise_invert": operator.invert,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "negative": operator.neg,
    "square": lambda x: x**2,
    "reciprocal": lambda x: 1 / x,
}
Step = tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class Interpreter:
    """A program on the arrays of one library and device; called with a list of arrays, it returns a list.

    Operations are those of the definitions in the same order, so on NumPy the results have the same bits.
    """

    def __init__(self, program: Program, namespace: Namespace, placed: Mapping[str, Device]) -> None:
        self._xp = namespace
        self._placed = placed
        slots: dict[Any, int] = {value: i for i, value in enumerate(program.inputs)}
        held: list[Any] = [None] * len(slots)
        for value, known in program.constants.items():
            slots[value] = len(held)
            held.append(self._xp.asarray(known, dtype=self._dtype(known.dtype), **self._placed))
        steps: list[Step] = []
        last = _last_reads(program)
        for node in program.nodes:
            places = []
            for operand in node.inputs:
                if isinstance(operand, Literal):
                    places.append(len(held))
                    held.append(self._number(operand, node.primitive))
                else:
                    places.append(slots[operand])
            for value in node.outputs:
                slots[value] = len(held)
                held.append(None)
            freed = tuple(slots[value] for value in last.get(node, ()))
            steps.append((self._function(node), tuple(places), tuple(slots[v] for v in node.outputs), freed))
        self._held, self._steps = held, steps
        self._inputs, self._outputs = len(program.inputs), [slots[value] for value in program.outputs]

    def __call__(self, arrays: list[Array]) -> list[Array]:
        """The outputs for these inputs."""
        held = list(self._held)
        held[: self._inputs] = arrays
        for function, places, outputs, freed in self._steps:
            results = function(*[held[i] for i in places])
            if len(outputs) == 1:
                held[outputs[0]] = results
            else:
                for i, result in zip(outputs, results, strict=True):
                    held[i] = result
            for i in freed:
                held[i] = None
        return [held[i] for i in self._outputs]

    def _dtype(self, dtype: np.dtype) -> Any:
        return getattr(self._xp, dtype.name)

    def _number(self, literal: Literal, primitive: str) -> Any:
        """A number for an operator; an array of no axes for a function, because not every library's takes numbers."""
        if primitive in OPERATORS:
            return literal.value
        return self._xp.asarray(literal.value, dtype=self._dtype(literal.dtype), **self._placed)

    def _function(self, node: Node) -> Callable[..., Any]:
        """What computes a node, given its inputs in order."""
        xp, name, given = self._xp, node.primitive, node.attributes
        if node.body is not None:
            return self._body(node.body)
        if name in OPERATORS:
            return OPERATORS[name]
        special = _SPECIAL.get(name)
        if special is not None:
            return special(self, given)
        function = getattr(xp, name)
        if not given:
            return function
        keywords = {key: self._dtype(value) if isinstance(value, np.dtype) else value for key, value in given.items()}
        return lambda *arrays: function(*arrays, **keywords)

    def _body(self, body: Program) -> Callable[..., Any]:
        run = Interpreter(body, self._xp, self._placed)

        def region(*arrays: Any) -> Any:
            results = run(list(arrays))
            return results[0] if len(results) == 1 else results

        return region

    # ------------------------------------------------------------------ primitives whose call differs from their record

    def _astype(self, given: Any) -> Callable[..., Any]:
        xp, dtype = self._xp, self._dtype(given["dtype"])
        return lambda x: xp.astype(x, dtype)

    def _full(self, given: Any) -> Callable[..., Any]:
        xp, placed, dtype = self._xp, self._placed, self._dtype(given["dtype"])
        return lambda: xp.full(given["shape"], given["value"], dtype=dtype, **placed)

    def _arange(self, given: Any) -> Callable[..., Any]:
        xp, placed, dtype = self._xp, self._placed, self._dtype(given["dtype"])
        return lambda: xp.arange(given["start"], given["stop"], given["step"], dtype=dtype, **placed)

    def _slice(self, given: Any) -> Callable[..., Any]:
        # A step back from the first element ends "before" it, which a slice can only say by leaving the end open.
        key = tuple(slice(start, None if stop < 0 else stop, step) for start, stop, step in given["bounds"])
        return operator.itemgetter(key)

    def _gather(self, given: Any) -> Callable[..., Any]:
        del given
        return lambda x, *indices: x[indices]

    def _sequence(self, name: str) -> Callable[[Any], Callable[..., Any]]:
        function = getattr(self._xp, name)
        return lambda given: lambda *arrays: function(arrays, axis=given["axis"])

    def _clip(self, given: Any) -> Callable[..., Any]:
        del given
        xp = self._xp
        return lambda x, low, high: xp.clip(x, low, high)

    def _call(self, given: Any) -> Callable[..., Any]:
        function, arguments = function_named(self._xp, given["function"]), given["arguments"]

        def call(*arrays: Any) -> Any:
            positional, keyword = arguments.filled(list(arrays))
            results = [leaf for _, leaf in trees.flattened(function(*positional, **keyword))]
            return results[0] if len(results) == 1 else results

        return call


_SPECIAL: dict[str, Callable[[Interpreter, Any], Callable[..., Any]]] = {
    "astype": Interpreter._astype,
    "full": Interpreter._full,
    "arange": Interpreter._arange,
    "slice": Interpreter._slice,
    "gather": Interpreter._gather,
    "concat": lambda self, given: self._sequence("concat")(given),
    "stack": lambda self, given: self._sequence("stack")(given),
    "reshape": lambda self, given: lambda x: self._xp.reshape(x, given["shape"]),
    "broadcast_to": lambda self, given: lambda x: self._xp.broadcast_to(x, given["shape"]),
    "permute_dims": lambda self, given: lambda x: self._xp.permute_dims(x, given["axes"]),
    "clip": Interpreter._clip,
    "call": Interpreter._call,
}


def interpret(program: Program, arrays: list[Array], namespace: Namespace | None = None) -> list[Array]:
    """The outputs of a program for given inputs, both in the program's order."""
    if not arrays:
        assert namespace is not None, "a program without inputs needs to be told its library"
        return Interpreter(program, namespace, {})(arrays)
    return Interpreter(program, namespace_of(arrays[0]), placed_as(arrays[0]))(arrays)


def interpreted(program: Program) -> Callable[..., Any]:
    """The function that was traced: of the same nested arguments, with the same nested result."""
    runs: dict[Any, Interpreter] = {}  # by library and device

    def run(*trees_of_arrays: Any) -> Any:
        arrays = matched(program, trees_of_arrays)
        xp = namespace_of(arrays[0])
        where = xp, device_of(arrays[0])
        if where not in runs:
            runs[where] = Interpreter(program, xp, placed_as(arrays[0]))
        return result_of(program, runs[where](arrays))

    return run


def matched(program: Program, given: tuple[Any, ...]) -> list[Array]:
    """The arrays in nested arguments in the order of the program's inputs; InvalidInputError if they do not fit."""
    arrays = [leaf for _, leaf in trees.flattened(given) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")]
    wanted = [(value.shape, value.dtype) for value in program.inputs]
    found = [(tuple(array.shape), dtype_of(array)) for array in arrays]
    if wanted != found:
        raise InvalidInputError(f"this program takes {wanted}, got {found}; trace it again")
    return arrays


def result_of(program: Program, outputs: list[Any]) -> Any:
    """The outputs in the nested form that the traced function returned."""
    return trees.mapped(program.result, lambda _, place: outputs[place])


def _last_reads(program: Program) -> dict[Node, list[Value]]:
    """The values that nothing needs after a node."""
    kept: set[Value] = {*program.inputs, *program.constants, *program.outputs}
    found: dict[Node, list[Value]] = {}
    for node in reversed(program.nodes):
        for value in (*node.outputs, *node.arrays):
            if value not in kept:
                kept.add(value)
                found.setdefault(node, []).append(value)
    return found
