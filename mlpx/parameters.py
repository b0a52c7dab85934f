"""All parameters of a network as one flat vector with a static layout."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from mlpx.errors import InvalidInputError, InvalidTypeError
from mlpx.layers.base import Spec
from mlpx.namespace import device_of, namespace_of, placed_as
from mlpx.typing import Array, Device, DType, Shape

ALIGNMENT = 64  # elements: 256 bytes of float32, what a GPU's widest loads and its BLAS like best


class Entry(NamedTuple):
    """Where one parameter lies in the flat vector: from `offset` to `stop`, and `gap` zeros behind it."""

    name: str
    spec: Spec
    shape: Shape
    offset: int
    stop: int
    gap: int

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return self.stop - self.offset


class Layout:
    """Names, offsets and shapes of parameters in a flat vector; the gaps that alignment leaves hold zeros.

    Attributes
    ----------
    entries : dict of str to Entry
    length : int
        Length of the flat vector, gaps included.
    size : int
        Number of parameters, gaps excluded.
    """

    def __init__(self, specs: Mapping[str, Spec]) -> None:
        self.entries: dict[str, Entry] = {}
        offset = 0
        for name, spec in specs.items():
            shape = tuple(spec.shape)
            stop = offset + math.prod(shape)
            gap = -stop % ALIGNMENT
            self.entries[name] = Entry(name, spec, shape, offset, stop, gap)
            offset = stop + gap
        self.length = offset
        self.size = sum(entry.size for entry in self.entries.values())

    def flatten(self, arrays: Mapping[str, Array], like: Array) -> Array:
        """One vector, of the dtype and on the device of `like`, holding all the named arrays.

        Raises
        ------
        InvalidInputError
            If a name is missing or unknown, or an array has another shape than its parameter.
        InvalidTypeError
            If an array has another dtype than `like`.
        """
        if arrays.keys() != self.entries.keys():
            missing = sorted(self.entries.keys() - arrays.keys())
            unknown = sorted(arrays.keys() - self.entries.keys())
            raise InvalidInputError(f"parameters do not fit the network: missing {missing}, unknown {unknown}")
        xp = namespace_of(like)
        where = placed_as(like)
        parts = []
        for name, entry in self.entries.items():
            array = arrays[name]
            if array.shape != entry.shape:
                raise InvalidInputError(f"{name!r} has shape {tuple(array.shape)}, its parameter has {entry.shape}")
            if array.dtype != like.dtype:
                raise InvalidTypeError(f"{name!r} is {array.dtype}, its parameter is {like.dtype}")
            parts.append(xp.reshape(array, (-1,)))
            if entry.gap:
                parts.append(xp.zeros((entry.gap,), dtype=like.dtype, **where))
        return xp.concat(parts) if parts else xp.zeros((0,), dtype=like.dtype, **where)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.shapes == other.shapes

    def __hash__(self) -> int:
        return hash(tuple(self.shapes.items()))

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every parameter, in order."""
        return {entry.name: entry.shape for entry in self.entries.values()}

    @cached_property
    def penalised(self) -> tuple[str, ...]:
        """Names of the parameters that the structural risk counts."""
        return tuple(entry.name for entry in self.entries.values() if entry.spec.penalised)


class Parameters(Mapping[str, "Array"]):
    """Named parameters, each a slice of one flat vector; `dict(parameters)` gives them all.

    Read only: nobody writes through a slice.

    Attributes
    ----------
    layout : Layout
    flat : (layout.length,) array
    buffers : Parameters or None
        Arrays that training updates without gradients (running statistics); found by name here too, but not counted.
    """

    def __init__(self, layout: Layout, flat: Array, buffers: Parameters | None = None) -> None:
        self.layout = layout
        self.flat = flat
        self.buffers = buffers
        self._slices: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        found = self._slices.get(name)
        if found is None:
            entry = self.layout.entries.get(name)
            if entry is None:
                if self.buffers is None:
                    raise KeyError(name)
                return self.buffers[name]
            piece = self.flat[entry.offset : entry.stop]
            found = self._slices[name] = namespace_of(self.flat).reshape(piece, entry.shape)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.entries)

    def __len__(self) -> int:
        return len(self.layout.entries)

    @property
    def dtype(self) -> DType:
        """Dtype of every parameter."""
        return self.flat.dtype

    @property
    def device(self) -> Device:
        """Device, the library's own object, that they all live on."""
        return device_of(self.flat)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.layout.size

    def replaced(self, flat: Array) -> Parameters:
        """Parameters of the same layout and buffers with other values."""
        return Parameters(self.layout, flat, self.buffers)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {shape}" for name, shape in self.layout.shapes.items())
        return f"Parameters({self.size} numbers, {self.dtype}; {shapes})"


class Scope(Mapping[str, "Array"]):
    """The parameters of one block, under the block's own names."""

    __slots__ = ("_params", "_prefix")

    def __init__(self, params: Mapping[str, Array], prefix: str) -> None:
        self._params = params
        self._prefix = prefix

    def __getitem__(self, name: str) -> Array:
        return self._params[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        start = len(self._prefix)
        return (name[start:] for name in self._params if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)
