"""Where the elements of a value lie in the memory of another: offset and strides of what is only rearranged."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlpx.program.ir import Node
from mlpx.typing import Shape


@dataclass(frozen=True, slots=True)
class View:
    """An arrangement of elements in a buffer: (i, j, …) lies at offset + i·strides[0] + j·strides[1] + … elements.

    Attributes
    ----------
    shape : tuple of int
    offset : int
        In elements.
    strides : tuple of int
        In elements.
    """

    shape: Shape
    offset: int
    strides: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """First and last element touched, the last exclusive; (offset, offset) of nothing."""
        if 0 in self.shape:
            return self.offset, self.offset
        ends = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        return self.offset + sum(min(end, 0) for end in ends), self.offset + sum(max(end, 0) for end in ends) + 1

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie row by row without gaps."""
        return self.size == 0 or all(
            n == 1 or a == b for n, a, b in zip(self.shape, self.strides, dense(self.shape), strict=True)
        )

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def dense(shape: Shape) -> tuple[int, ...]:
    """The strides of rows without gaps."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def whole(shape: Shape, offset: int = 0) -> View:
    """All elements of a buffer from an offset on, row by row."""
    return View(shape, offset, dense(shape))


def viewed(node: Node, source: View) -> View | None:
    """How a view node's result lies in the memory of its input; None where its elements must be copied to lie so."""
    given, shape = node.attributes, node.output.shape
    steps, lengths = source.strides, source.shape
    match node.primitive:
        case "reshape":
            return whole(shape, source.offset) if source.contiguous else None
        case "slice":
            bounds = given["bounds"]
            offset = source.offset + sum(start * step for (start, _, _), step in zip(bounds, steps, strict=True))
            return View(shape, offset, tuple(by * step for (_, _, by), step in zip(bounds, steps, strict=True)))
        case "squeeze":
            kept = [axis for axis in range(len(lengths)) if axis not in given["axis"]]
            return View(shape, source.offset, tuple(steps[axis] for axis in kept))
        case "expand_dims":
            return View(shape, source.offset, (*steps[: given["axis"]], 0, *steps[given["axis"] :]))
        case "matrix_transpose":
            return View(shape, source.offset, (*steps[:-2], steps[-1], steps[-2]))
        case "permute_dims":
            return View(shape, source.offset, tuple(steps[axis] for axis in given["axes"]))
        case "broadcast_to":
            new = len(shape) - len(lengths)
            repeated = tuple(0 if n == 1 else step for n, step in zip(lengths, steps, strict=True))
            return View(shape, source.offset, (0,) * new + repeated)
        case _:
            return None
