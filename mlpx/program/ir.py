"""The data that a program is made of; immutable, so that a rewrite gives a new program and the old one stays for comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from mlpx.typing import Shape


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """An array that exists while a program runs. Two values are the same only if they are one object.

    Attributes
    ----------
    id : int
        Unique within a program, its regions included: %id in print.
    shape : tuple of int
    dtype : numpy.dtype
    label : str
        The definition that it was computed in: "gelu.backward", "adam"; for an input its name.
    """

    id: int
    shape: Shape
    dtype: np.dtype
    label: str = ""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"%{self.id}: {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Literal:
    """A Python number among the inputs of a node, and the dtype that it takes there.

    Attributes
    ----------
    value : bool, int or float
    dtype : numpy.dtype
    """

    value: bool | int | float
    dtype: np.dtype
    shape: Shape = field(default=(), init=False)

    def __repr__(self) -> str:
        return repr(self.value)


Operand: TypeAlias = Value | Literal


@dataclass(frozen=True, slots=True)
class Region:
    """How the body of a node is to be looped over.

    Attributes
    ----------
    kind : str
        "rows": every row by itself; reductions over the last axis are used within the row. "columns": every column by itself;
        reductions over the other axes are used within the column. "product": the body holds one `matmul`; what is upstream of
        it makes the elements of its operands, what is downstream is done to the rows of the product.
    space : (rows, columns)
        The two loops; the leading axes counted as one.
    roles : mapping of Value to str
        For every value of the body: "full" (rows, columns), "row" (one number a row), "column" (one a column), "scalar".
        An engine may be asked to put an output where an input lies: an element that it reads before it writes the one in its
        place; in a region of columns a "column" output, written when its column is done.
    accumulated : tuple of Value
        Outputs of the body that are summed (or else reduced) across the outer loop: nothing in the body reads them.
    """

    kind: str
    space: tuple[int, int]
    roles: Mapping[Value, str]
    accumulated: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One computation.

    Attributes
    ----------
    primitive : str
    inputs : tuple of Value or Literal
    outputs : tuple of Value
        One, but for regions and some calls.
    attributes : mapping of str to hashable
        Static arguments: axis, keepdims, dtype, shape.
    body : Program, optional
        What a region computes.
    region : Region, optional
        How it is looped over.
    """

    primitive: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    body: Program | None = None
    region: Region | None = None

    @property
    def output(self) -> Value:
        """The only output."""
        (only,) = self.outputs
        return only

    @property
    def arrays(self) -> tuple[Value, ...]:
        """The inputs that are values."""
        return tuple(operand for operand in self.inputs if isinstance(operand, Value))


@dataclass(frozen=True, eq=False)
class Program:
    """What a function of arrays computes.

    Attributes
    ----------
    inputs : tuple of Value
    outputs : tuple of Value
        An output may be an input, a constant, or the same value as another output.
    nodes : tuple of Node
        Each after those it reads from.
    constants : mapping of Value to numpy.ndarray
    input_names, output_names : tuple of str
        "state.params", "batch.x"; "state.params", "result.1.loss".
    donated : mapping of int to int
        Number of an output to the number of the input whose memory it may take: the caller gives that input away.
    arguments, result : nested tuples and dicts
        The function's arguments and its result, with the number of an input or output in the place of every array.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[Value, np.ndarray] = field(default_factory=dict)
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    donated: Mapping[int, int] = field(default_factory=dict)
    arguments: Any = None
    result: Any = None

    @cached_property
    def producers(self) -> dict[Value, Node]:
        """The node that computes each value; inputs and constants have none."""
        return {output: node for node in self.nodes for output in node.outputs}

    @cached_property
    def consumers(self) -> dict[Value, tuple[Node, ...]]:
        """The nodes that read each value, in order, each once; a value that none reads is missing."""
        found: dict[Value, dict[Node, None]] = {}
        for node in self.nodes:
            for value in node.arrays:
                found.setdefault(value, {})[node] = None
        return {value: tuple(nodes) for value, nodes in found.items()}

    def walk(self) -> Iterator[Node]:
        """All nodes, those in the bodies of regions after the region itself."""
        for node in self.nodes:
            yield node
            if node.body is not None:
                yield from node.body.walk()

    def next_id(self) -> int:
        """A number that no value bears yet, nor any above it."""
        values = [value.id for program in self.programs() for value in program.values()]
        return max(values, default=-1) + 1

    def programs(self) -> Iterator[Program]:
        """The program itself and the bodies of all regions."""
        yield self
        for node in self.walk():
            if node.body is not None:
                yield node.body

    def values(self) -> Iterator[Value]:
        """Inputs, constants and everything computed here, regions not entered."""
        yield from self.inputs
        yield from self.constants
        for node in self.nodes:
            yield from node.outputs

    def replaced(self, **changes: Any) -> Program:
        """The program with some fields changed."""
        return replace(self, **changes)

    def check(self) -> None:
        """Raise AssertionError if something is read before it is computed, computed twice, or misses its body's shape."""
        known: set[Value] = {*self.inputs, *self.constants}
        assert len(known) == len(self.inputs) + len(self.constants), "an input occurs twice"
        for node in self.nodes:
            for value in node.arrays:
                assert value in known, f"{node.primitive} reads {value} before it is computed"
            for value in node.outputs:
                assert value not in known, f"{node.primitive} computes {value} again"
                known.add(value)
            if node.body is not None:
                node.body.check()
                for outer, inner in ((node.arrays, node.body.inputs), (node.outputs, node.body.outputs)):
                    assert [(v.shape, v.dtype) for v in outer] == [(v.shape, v.dtype) for v in inner], node.primitive
        for value in self.outputs:
            assert value in known, f"output {value} is never computed"
        assert all(self.outputs[o].shape == self.inputs[i].shape for o, i in self.donated.items())
