"""From a pure function of arrays to the program that it computes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from mlpx.errors import InvalidTypeError
from mlpx.program import trees
from mlpx.program.ir import Program, Value
from mlpx.program.recorder import Recorder
from mlpx.program.symbols import Symbol


def trace(function: Callable[..., Any], *examples: Any, donated: int | None = None) -> Program:
    """Call a pure function once on arrays without values, and record what it does.

    Parameters
    ----------
    function : callable
        Of nested tuples, named tuples, lists and dicts of arrays; written in Array API functions.
    *examples : nested arrays
        Its arguments: their shapes and dtypes count, of any array library. Python numbers stay what they are.
    donated : int, optional
        Which argument the caller gives away: of that structure must be the result, or the first part of a result that is a
        tuple; each of its arrays may then take the memory of its namesake.

    Returns
    -------
    program : Program

    Raises
    ------
    TraceError
        If what the function does depends on the values of an array.
    InvalidInputError, InvalidTypeError
        If arrays do not fit together.
    """
    recorder = Recorder()
    inputs: list[tuple[str, Value]] = []

    def symbol(path: str, leaf: Any) -> Any:
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            return leaf
        value = recorder.value(tuple(leaf.shape), dtype_of(leaf), path)
        inputs.append((path, value))
        return Symbol(recorder, value)

    names = _argument_names(function, len(examples))
    with recorder.recording():
        given = [trees.mapped(tree, symbol, name) for name, tree in zip(names, examples, strict=True)]
        result = function(*given)
        outputs = _outputs(recorder, result, None if donated is None else (names[donated], given[donated]))
    numbers = iter(range(len(inputs)))
    places = iter(range(len(outputs)))
    by_name = {path: number for number, (path, _) in enumerate(inputs)}
    program = Program(
        inputs=tuple(value for _, value in inputs),
        outputs=tuple(value for _, value in outputs),
        nodes=tuple(recorder.nodes),
        constants=recorder.constants,
        input_names=tuple(path for path, _ in inputs),
        output_names=tuple(path for path, _ in outputs),
        donated=_pairs(inputs, outputs, by_name),
        arguments=trees.mapped(tuple(given), lambda _, leaf: next(numbers) if isinstance(leaf, Symbol) else None),
        result=trees.mapped(result, lambda _, __: next(places)),
    )
    program.check()
    return program


def dtype_of(array: Any) -> np.dtype:
    """NumPy's dtype object of an array of any library."""
    try:
        return np.dtype(array.dtype)
    except TypeError:
        return np.dtype(str(array.dtype).rpartition(".")[2])


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """The names of a function's positional parameters; numbers for what has no name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    named = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return [named[i] if i < len(named) else f"argument{i}" for i in range(count)]


def _outputs(recorder: Recorder, result: Any, given: tuple[str, Any] | None) -> list[tuple[str, Value]]:
    """Every array of the result with its name: that of the donated argument's array which it may replace, or its own."""

    def value(path: str, leaf: Any) -> tuple[str, Value]:
        if isinstance(leaf, np.ndarray | np.generic | bool | int | float):
            leaf = recorder.constant(leaf)
        if not isinstance(leaf, Symbol):
            raise InvalidTypeError(f"{path} is a {type(leaf).__name__}: a traced function returns arrays")
        if leaf.recorder is not recorder:
            raise InvalidTypeError(f"{path} belongs to another trace")
        return path, leaf.value

    plain = isinstance(result, tuple) and not hasattr(result, "_fields")
    parts = [(f"result.{i}", part) for i, part in enumerate(result)] if plain else [("result", result)]
    if given is not None and parts and trees.structure(parts[0][1]) == trees.structure(given[1]):
        parts[0] = given[0], parts[0][1]
    return [value(path, leaf) for name, part in parts for path, leaf in trees.flattened(part, name)]


def _pairs(inputs: list[tuple[str, Value]], outputs: list[tuple[str, Value]], numbers: dict[str, int]) -> dict[int, int]:
    """Which output may take the memory of which input: those of one name and size."""
    found = {}
    for place, (path, value) in enumerate(outputs):
        number = numbers.get(path)
        if number is not None and (inputs[number][1].shape, inputs[number][1].dtype) == (value.shape, value.dtype):
            found[place] = number
    return found
