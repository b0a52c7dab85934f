"""What part each value of a loop over rows and columns has: one number an element, a row, a column, or one alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mlpx.program.ir import Node, Operand, Value
from mlpx.program.primitives import ELEMENTWISE
from mlpx.typing import Shape

REARRANGEMENT = frozenset(["reshape", "expand_dims", "squeeze", "broadcast_to"])
REDUCIBLE = frozenset(["sum", "mean", "max", "min", "any", "all", "prod"])


def is_fusable(node: Node) -> bool:
    """Whether a node can be part of a loop: elementwise, a reduction, or a change of shape that leaves the loop its axes."""
    if node.primitive in REARRANGEMENT:
        return _significant(node.arrays[0].shape) == _significant(node.output.shape) and node.arrays[0].size == node.output.size
    if node.primitive in REDUCIBLE:
        return node.arrays[0].size > 0 and _reduces(node) is not None
    return node.primitive in ELEMENTWISE and node.output.size > 0 and node.body is None


def space_of(node: Node) -> Shape | None:
    """The shape that a node loops over; None for a rearrangement, which follows its neighbours."""
    if node.primitive in REARRANGEMENT:
        return None
    shape = node.arrays[0].shape if node.primitive in REDUCIBLE else node.output.shape
    return () if math.prod(shape) == 1 else shape


def _significant(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)


def _reduces(node: Node) -> str | None:
    """Which axes a reduction is over: the "last", the "leading" ones, "all", or others (None)."""
    ndim, axes = node.arrays[0].ndim, tuple(sorted(node.attributes["axis"]))
    if axes == tuple(range(ndim)):
        return "all"
    if axes == (ndim - 1,):
        return "last"
    return "leading" if axes == tuple(range(ndim - 1)) else None


@dataclass
class Roles:
    """The roles of values in a loop over a shape: its leading axes are rows, its last one columns.

    A shape of one axis, or one that only whole arrays and scalars occur in, is a single row.
    """

    space: Shape
    of: dict[Value, str] = field(default_factory=dict)
    accumulated: set[Value] = field(default_factory=set)
    across: bool = False
    within: bool = False

    @property
    def rows(self) -> Shape:
        """The leading axes."""
        return self.space[:-1]

    def admit(self, node: Node) -> bool:
        """Take a node into the loop, if it fits; where it does not, this object is spoilt."""
        if any(value in self.accumulated for value in node.arrays):
            return False
        if node.primitive in REDUCIBLE:
            return self._admit_reduction(node)
        if node.primitive in REARRANGEMENT:
            return self._admit_rearrangement(node)
        return self._admit_elementwise(node)

    def _admit_elementwise(self, node: Node) -> bool:
        shape = node.output.shape
        if math.prod(self.space) == 1:
            role = "full" if math.prod(shape) == 1 else None
        elif shape == self.space:
            role = "full"
        else:
            role = "row" if self._is_row(shape) else None
        if role is None or not all(self._reads(operand, role, shape) for operand in node.inputs):
            return False
        self.of[node.output] = role
        return True

    def _admit_rearrangement(self, node: Node) -> bool:
        source, shape = node.arrays[0], node.output.shape
        role = self.of.get(source) or self._external(source.shape)
        if role is None or not (role == self._external(shape) or (role == "row" and self._is_row(shape))):
            return False
        return self._note(source, role) and self._note(node.output, role)

    def _admit_reduction(self, node: Node) -> bool:
        source, over = node.arrays[0], _reduces(node)
        role = self.of.get(source) or ("full" if source.shape == self.space else None)
        if math.prod(self.space) == 1:
            return source.size == 1 and self._note(source, "full") and self._note(node.output, "full")
        if role == "full" and over == "last":
            self.within = True
            return self._note(source, role) and self._note(node.output, "row")
        if role == "full":
            return self._accumulate(node, "column" if over == "leading" else "scalar")
        if role == "row" and over == "all":
            return self._accumulate(node, "scalar")
        return False

    def _accumulate(self, node: Node, role: str) -> bool:
        """A reduction across the rows, which nothing in the loop may read."""
        source = node.arrays[0]
        self.across = True
        self.accumulated.add(node.output)
        return self._note(source, self.of.get(source, "full")) and self._note(node.output, role)

    def _reads(self, operand: Operand, role: str, shape: Shape) -> bool:
        """Whether an operand of a node with a result of that role and shape is what its shape says, and note it."""
        if not isinstance(operand, Value):
            return True
        seen = (1,) * (len(shape) - operand.ndim) + operand.shape
        if operand.size == 1:
            kind = "scalar" if math.prod(self.space) != 1 else "full"
        elif role == "row":
            kind = "row" if seen == shape else None
        elif seen == shape:
            kind = "full"
        elif seen == (*shape[:-1], 1):
            kind = "row"
        else:
            kind = "column" if seen == (1,) * (len(shape) - 1) + shape[-1:] else None
        known = self.of.get(operand)
        if kind == "scalar" and known == "row":
            return True  # a loop with a single row
        return kind is not None and self._note(operand, kind)

    def _external(self, shape: Shape) -> str | None:
        """The role of a value of which only the shape is known."""
        if math.prod(self.space) == 1 or shape == self.space:
            return "full"
        if math.prod(shape) == 1:
            return "scalar"
        if self._is_row(shape) and (shape != self.rows or self.rows != self.space[-1:]):
            return "row"
        return "column" if _significant(shape) == self.space[-1:] and shape[-1:] == self.space[-1:] else None

    def _is_row(self, shape: Shape) -> bool:
        return bool(self.rows) and shape in (self.rows, (*self.rows, 1))

    def _note(self, value: Value, role: str) -> bool:
        return self.of.setdefault(value, role) == role
