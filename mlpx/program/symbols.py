"""Arrays without values that speak the Array API: whatever is done to them is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.errors import InvalidInputError, TraceError
from mlpx.program.ir import Value
from mlpx.typing import Shape

if TYPE_CHECKING:
    from mlpx.program.recorder import Recorder


class Symbol:
    """An array of a traced function.

    Attributes
    ----------
    recorder : Recorder
    value : Value
        What it is in the program.
    """

    __slots__ = ("recorder", "value")
    __array_ufunc__ = None  # NumPy's arrays and scalars leave operators with a symbol to the symbol
    __hash__ = None  # type: ignore[assignment]  # as of arrays: == gives an array
    device = None

    def __init__(self, recorder: Recorder, value: Value) -> None:
        self.recorder = recorder
        self.value = value

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        from mlpx.program import recording  # it is made of functions on symbols

        del api_version
        return recording

    @property
    def shape(self) -> Shape:
        """Lengths of the axes."""
        return self.value.shape

    @property
    def dtype(self) -> np.dtype:
        """NumPy's dtype object."""
        return self.value.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.value.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.value.shape)

    @property
    def T(self) -> Symbol:  # noqa: N802 - the standard's name
        """The transposed matrix."""
        if self.ndim != 2:
            raise InvalidInputError(f".T takes an array of two axes, got shape {self.shape}")
        return self.mT

    @property
    def mT(self) -> Symbol:  # noqa: N802 - the standard's name
        """The transposed matrices in the last two axes."""
        return self.recorder.apply("matrix_transpose", self)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Symbol:
        """Itself: a program runs on one device."""
        del device, stream
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"traced arrays speak the Array API standard, which has no x.{name}; is there an xp.{name}(x)?")

    def __repr__(self) -> str:
        return f"Symbol({self.value})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Symbol]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any, /) -> Symbol:
        from mlpx.program.indexing import indexed

        return indexed(self, key)

    def __pow__(self, other: Any, /) -> Symbol:
        # What an array library makes of these exponents of `**`, so that the program has the same bits.
        primitive = {2: "square", 0.5: "sqrt", -1: "reciprocal"}.get(other) if isinstance(other, int | float) else None
        if primitive is not None and (primitive == "square" or self.dtype.kind == "f"):
            return self.recorder.apply(primitive, self)
        return self.recorder.apply("pow", self, other)


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(self: Symbol, *_: Any, **__: Any) -> Any:
        raise self.recorder.refuse(name)

    return refuse


def _binary(primitive: str) -> Callable[[Symbol, Any], Any]:
    def forward(self: Symbol, other: Any, /) -> Any:
        return self.recorder.apply(primitive, self, other) if _is_operand(other) else NotImplemented

    return forward


def _reflected(primitive: str) -> Callable[[Symbol, Any], Any]:
    def backward(self: Symbol, other: Any, /) -> Any:
        return self.recorder.apply(primitive, other, self) if _is_operand(other) else NotImplemented

    return backward


def _unary(primitive: str) -> Callable[[Symbol], Symbol]:
    return lambda self: self.recorder.apply(primitive, self)


def _is_operand(other: Any) -> bool:
    return isinstance(other, Symbol | np.ndarray | np.generic | bool | int | float)


def _assignment(self: Symbol, *_: Any) -> None:
    raise TraceError(
        f"{self.recorder.label() or 'the function'} writes into an array; traced functions are pure: make a new one"
    )


BINARY = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
COMPARISONS = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
UNARY = {"neg": "negative", "pos": "positive", "invert": "bitwise_invert", "abs": "abs"}
NEEDS_VALUES = {
    "bool": "bool() (an if, a while, an `and`)",
    "float": "float()",
    "int": "int()",
    "index": "use as an index or a size",
    "complex": "complex()",
    "array": "conversion to a NumPy array",
    "dlpack": "an exchange with another library",
}
for _name, _primitive in BINARY.items():
    setattr(Symbol, f"__{_name}__", _binary(_primitive))
    setattr(Symbol, f"__r{_name}__", _reflected(_primitive))
for _name, _primitive in COMPARISONS.items():
    setattr(Symbol, f"__{_name}__", _binary(_primitive))
for _name, _primitive in UNARY.items():
    setattr(Symbol, f"__{_name}__", _unary(_primitive))
for _name, _what in NEEDS_VALUES.items():
    setattr(Symbol, f"__{_name}__", _refusal(_what))
Symbol.__rpow__ = _reflected("pow")  # type: ignore[attr-defined]
Symbol.__setitem__ = _assignment  # type: ignore[attr-defined]
Symbol.__hash__ = None  # type: ignore[assignment]  # setting __eq__ afterwards does not clear it
