"""The Array API namespace of traced arrays: functions of the standard 2024.12 that record what they are asked for.

What has no function here is recorded as a `call` of the function of that name, its result known from a rehearsal on zeros.
"""

from __future__ import annotations

import math
from operator import truth
from typing import Any

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.program.calls import Extension, call
from mlpx.program.primitives import ELEMENTWISE, broadcast, promoted
from mlpx.program.recorder import active_recorder
from mlpx.program.symbols import Symbol
from mlpx.typing import Shape

__array_api_version__ = "2024.12"
e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None
bool = np.dtype("bool")
int8, int16, int32, int64 = map(np.dtype, ("int8", "int16", "int32", "int64"))
uint8, uint16, uint32, uint64 = map(np.dtype, ("uint8", "uint16", "uint32", "uint64"))
float32, float64 = np.dtype("float32"), np.dtype("float64")
finfo, iinfo, isdtype, can_cast = np.finfo, np.iinfo, np.isdtype, np.can_cast
__array_namespace_info__ = np.__array_namespace_info__
linalg, fft = Extension("linalg"), Extension("fft")

_FUNCTIONS = ELEMENTWISE - {"astype", "clip", "where", "square", "reciprocal"}


def __getattr__(name: str) -> Any:
    """Elementwise functions, and calls of whatever else the standard has."""
    if name in _FUNCTIONS:
        made: Any = lambda *arrays: active_recorder().apply(name, *arrays)  # noqa: E731
    elif name.startswith("_"):
        raise AttributeError(name)
    else:
        made = lambda *args, **kwargs: call(name, args, kwargs)  # noqa: E731
    globals()[name] = made
    return made


# ------------------------------------------------------------------ elementwise


def astype(x: Symbol, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Symbol:
    """X itself where it has the dtype already: a copy has the same values."""
    del copy, device
    return x if x.dtype == np.dtype(dtype) else x.recorder.apply("astype", x, dtype=np.dtype(dtype))


def square(x: Symbol, /) -> Symbol:
    """x²."""
    return x.recorder.apply("square", x)


def where(condition: Symbol, x1: Any, x2: Any, /) -> Symbol:
    """One or the other."""
    return active_recorder().apply("where", condition, x1, x2)


def clip(x: Symbol, /, min: Any = None, max: Any = None) -> Symbol:
    """Between bounds, of which one may be missing."""
    if min is None and max is None:
        return x
    if min is None or max is None:
        bound = max if min is None else min
        return x.recorder.apply("minimum" if min is None else "maximum", x, bound)
    return x.recorder.apply("clip", x, min, max)


def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """The dtype that the standard promotes to."""
    return promoted("result_type", [np.dtype(getattr(one, "dtype", one)) for one in arrays_and_dtypes])


# ------------------------------------------------------------------ reductions


def _reduction(name: str) -> Any:
    def reduce(x: Symbol, /, *, axis: Any = None, keepdims: Any = False, **others: Any) -> Symbol:
        if others.get("dtype", ...) is None:
            del others["dtype"]
        if "dtype" in others:
            others["dtype"] = np.dtype(others["dtype"])
        return x.recorder.apply(name, x, axis=_axes(axis, x.ndim), keepdims=truth(keepdims), **others)

    return reduce


sum, mean, prod, max, min, any, all, var, std = map(
    _reduction, ("sum", "mean", "prod", "max", "min", "any", "all", "var", "std")
)


def _index_reduction(name: str) -> Any:
    def reduce(x: Symbol, /, *, axis: Any = None, keepdims: Any = False) -> Symbol:
        axis = None if axis is None else _axis(axis, x.ndim)
        return x.recorder.apply(name, x, axis=axis, keepdims=truth(keepdims))

    return reduce


argmax, argmin = map(_index_reduction, ("argmax", "argmin"))


def _ordering(name: str) -> Any:
    def order(x: Symbol, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Symbol:
        if descending:
            return call(name, (x,), {"axis": axis, "descending": True, "stable": stable})
        return x.recorder.apply(name, x, axis=_axis(axis, x.ndim), stable=truth(stable))

    return order


sort, argsort = map(_ordering, ("sort", "argsort"))


def searchsorted(x1: Symbol, x2: Symbol, /, *, side: str = "left", sorter: Any = None) -> Symbol:
    """Where the elements of x2 belong in the sorted x1."""
    x1 = x1 if sorter is None else take(x1, sorter)
    return active_recorder().apply("searchsorted", x1, x2, side=side)


# ------------------------------------------------------------------ arrangement


def matmul(x1: Symbol, x2: Symbol, /) -> Symbol:
    """x1 @ x2."""
    return active_recorder().apply("matmul", x1, x2)


def matrix_transpose(x: Symbol, /) -> Symbol:
    """The last two axes exchanged."""
    return x.mT


def permute_dims(x: Symbol, /, axes: Any) -> Symbol:
    """The axes in another order."""
    return x.recorder.apply("permute_dims", x, axes=_axes(tuple(axes), x.ndim))


def reshape(x: Symbol, /, shape: Any, *, copy: Any = None) -> Symbol:
    """The same elements, row by row, in another shape."""
    del copy
    wanted = _shape(shape)
    if -1 in wanted:
        rest = math.prod(n for n in wanted if n != -1)
        wanted = tuple((x.size // rest if rest else 0) if n == -1 else n for n in wanted)
    if math.prod(wanted) != x.size:
        raise InvalidInputError(f"reshape: shape {x.shape} has {x.size} elements, {tuple(_shape(shape))} does not")
    return x if wanted == x.shape else x.recorder.apply("reshape", x, shape=wanted)


def expand_dims(x: Symbol, /, *, axis: int = 0) -> Symbol:
    """A new axis of length 1."""
    return x.recorder.apply("expand_dims", x, axis=_axis(axis, x.ndim + 1))


def squeeze(x: Symbol, /, axis: Any) -> Symbol:
    """Without these axes of length 1."""
    return x.recorder.apply("squeeze", x, axis=_axes(axis, x.ndim))


def broadcast_to(x: Symbol, /, shape: Any) -> Symbol:
    """Repeated along axes that are missing or of length 1."""
    wanted = _shape(shape)
    if broadcast("broadcast_to", [x.shape, wanted]) != wanted:
        raise InvalidInputError(f"broadcast_to: shape {x.shape} does not become {wanted}")
    return x if wanted == x.shape else x.recorder.apply("broadcast_to", x, shape=wanted)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Symbol:
    """One after the other."""
    parts = [reshape(one, (-1,)) for one in arrays] if axis is None else list(arrays)
    return active_recorder().apply("concat", *parts, axis=_axis(axis or 0, parts[0].ndim))


def stack(arrays: Any, /, *, axis: int = 0) -> Symbol:
    """Side by side along a new axis."""
    parts = list(arrays)
    return active_recorder().apply("stack", *parts, axis=_axis(axis, parts[0].ndim + 1))


def take(x: Symbol, indices: Symbol, /, *, axis: int = 0) -> Symbol:
    """The elements at these places along an axis."""
    return active_recorder().apply("take", x, indices, axis=_axis(axis, x.ndim))


def flip(x: Symbol, /, *, axis: Any = None) -> Symbol:
    """In reverse order."""
    return x.recorder.apply("flip", x, axis=_axes(axis, x.ndim))


# ------------------------------------------------------------------ creation


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Symbol:
    """A symbol as it is; numbers, lists of them and NumPy arrays as constants of the program."""
    del device, copy
    if isinstance(obj, Symbol):
        return obj if dtype is None else astype(obj, dtype)
    recorder = active_recorder()
    if isinstance(obj, list | tuple) and _holds_symbols(obj):
        parts = [asarray(part, dtype=dtype) for part in obj]
        return stack(parts)
    return recorder.constant(obj, None if dtype is None else np.dtype(dtype))


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Symbol:
    """One number everywhere."""
    del device
    if isinstance(fill_value, Symbol):
        return broadcast_to(fill_value if dtype is None else astype(fill_value, dtype), shape)
    chosen = np.asarray(fill_value).dtype if dtype is None else np.dtype(dtype)
    number = chosen.type(fill_value).item()
    return active_recorder().apply("full", shape=_shape(shape), value=number, dtype=chosen)


def zeros(shape: Any, *, dtype: Any = float64, device: Any = None) -> Symbol:
    """0 everywhere."""
    return full(shape, 0, dtype=float64 if dtype is None else dtype, device=device)


def ones(shape: Any, *, dtype: Any = float64, device: Any = None) -> Symbol:
    """1 everywhere."""
    return full(shape, 1, dtype=float64 if dtype is None else dtype, device=device)


def full_like(x: Symbol, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Symbol:
    """One number everywhere, shaped like x."""
    return full(x.shape, fill_value, dtype=x.dtype if dtype is None else dtype, device=device)


def zeros_like(x: Symbol, /, *, dtype: Any = None, device: Any = None) -> Symbol:
    """0 everywhere, shaped like x."""
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: Symbol, /, *, dtype: Any = None, device: Any = None) -> Symbol:
    """1 everywhere, shaped like x."""
    return full_like(x, 1, dtype=dtype, device=device)


empty, empty_like = zeros, zeros_like  # pure functions cannot tell


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Symbol:
    """Numbers at equal distances."""
    del device
    if stop is None:
        start, stop = 0, start
    rehearsed = np.arange(start, stop, step)
    chosen = rehearsed.dtype if dtype is None else np.dtype(dtype)
    return active_recorder().apply("arange", start=start, step=step, stop=stop, shape=rehearsed.shape, dtype=chosen)


# ------------------------------------------------------------------ arguments


def _holds_symbols(obj: Any) -> Any:
    return isinstance(obj, Symbol) or (isinstance(obj, list | tuple) and not all_plain(obj))


def all_plain(parts: Any) -> Any:
    """Whether there is no symbol in nested lists."""
    return not [part for part in parts if _holds_symbols(part)]


def _shape(shape: Any) -> Shape:
    return tuple(map(int, shape)) if isinstance(shape, tuple | list) else (int(shape),)


def _axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise InvalidInputError(f"axis {axis} is out of range for an array of {ndim} axes")
    return axis % ndim


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(_axis(one, ndim) for one in (axis if isinstance(axis, tuple) else (axis,)))
