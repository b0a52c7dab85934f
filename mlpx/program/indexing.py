"""x[key] of a traced array, in slices, dropped and added axes, and integer arrays."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from mlpx.errors import InvalidInputError, InvalidTypeError
from mlpx.program.symbols import Symbol


def indexed(x: Symbol, key: Any) -> Symbol:
    """What x[key] is: slices, integers, None and an Ellipsis; or integers and integer arrays alone.

    Raises
    ------
    TraceError
        For a mask: the result's shape would depend on its values.
    InvalidInputError, InvalidTypeError
        If the key does not fit the shape, or is none.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, Symbol | np.ndarray) for part in parts):
        return _gathered(x, parts)
    parts = _complete(x, parts)
    bounds, dropped, added, axis = [], [], [], 0
    for part in parts:
        if part is None:
            added.append(len(bounds) - len(dropped) + len(added))
            continue
        length = x.shape[axis]
        if isinstance(part, slice):
            bounds.append(part.indices(length))
        else:
            at = _position(part, length, axis)
            bounds.append((at, at + 1, 1))
            dropped.append(axis)
        axis += 1
    if bounds != [(0, n, 1) for n in x.shape]:
        x = x.recorder.apply("slice", x, bounds=tuple(bounds))
    if dropped:
        x = x.recorder.apply("squeeze", x, axis=tuple(dropped))
    for position in added:
        x = x.recorder.apply("expand_dims", x, axis=position)
    return x


def _complete(x: Symbol, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key with one entry for each axis, and None for each new one."""
    ellipses = [i for i, part in enumerate(parts) if part is Ellipsis]
    missing = x.ndim - sum(part is not None and part is not Ellipsis for part in parts)
    if missing < 0 or len(ellipses) > 1:
        raise InvalidInputError(f"an array of shape {x.shape} has no x[{', '.join(map(repr, parts))}]")
    at = ellipses[0] if ellipses else len(parts)
    return (*parts[:at], *(slice(None),) * missing, *parts[at + 1 :])


def _position(part: Any, length: int, axis: int) -> int:
    try:
        at = operator.index(part)
    except TypeError as error:
        if isinstance(error, InvalidTypeError):
            raise
        raise InvalidTypeError(f"index {part!r}: expected integers, slices, None, an Ellipsis or integer arrays") from None
    if not -length <= at < length:
        raise InvalidInputError(f"index {at} is out of range for axis {axis} of length {length}")
    return at % length


def _gathered(x: Symbol, parts: tuple[Any, ...]) -> Symbol:
    """x[i, j, …] by integer arrays; integers among them count as arrays."""
    indices = []
    for axis, part in enumerate(parts):
        if isinstance(part, slice) or part is None or part is Ellipsis:
            raise InvalidTypeError("the standard has no index that mixes arrays with slices; use xp.take(x, indices, axis=…)")
        if getattr(part, "dtype", None) == np.dtype(bool):
            raise x.recorder.refuse("a mask as an index")
        indices.append(part if hasattr(part, "dtype") else np.asarray(_position(part, x.shape[axis], axis)))
    if len(indices) > x.ndim:
        raise InvalidInputError(f"{len(indices)} indices for an array of shape {x.shape}")
    return x.recorder.apply("gather", x, *indices)
