"""Which Array API namespace an array belongs to, and constants that live where an array lives.

The only module that uses array-api-compat. NumPy 2 speaks the standard itself, so it is used plain.
"""

from __future__ import annotations

import importlib
from typing import Any

import array_api_compat
import numpy as np

from mlpx.errors import DeviceMismatchError, InvalidTypeError
from mlpx.typing import Array, Device, DType, Namespace

_NAMESPACES: dict[type, Namespace] = {}
_TRACERS: dict[type, bool] = {}


def namespace_of(array: Array, *others: Array) -> Namespace:
    """The Array API namespace all the given arrays belong to.

    Parameters
    ----------
    array, *others : arrays
        Arrays of one library, on one device.

    Returns
    -------
    namespace
        The library's standard-conforming module; found once per array type, then a dict look-up.

    Raises
    ------
    DeviceMismatchError
        If the arrays come from different libraries or devices.
    InvalidTypeError
        If something is not an array of a library that speaks the standard.
    """
    kind = type(array)
    xp = _NAMESPACES.get(kind)
    if xp is None:
        xp = _resolve(array)
    for other in others:
        if type(other) is not kind and (_NAMESPACES.get(type(other)) or _resolve(other)) is not xp:
            raise _mismatch(array, other)
        if xp is not np and not _same_device(array, other):
            raise _mismatch(array, other)
    return xp


def standard_namespace(library: str) -> Namespace:
    """A library's Array API namespace, by the library's name: array-api-compat's wrapper where there is one. Imports it.

    NumPy is plain NumPy. For a library whose arrays name another namespace (JAX: `jax.numpy`) a backend says so itself.
    """
    if library == "numpy":
        return np
    try:
        return importlib.import_module(f"{array_api_compat.__name__}.{library}")
    except ModuleNotFoundError as error:
        if error.name != f"{array_api_compat.__name__}.{library}":
            raise
        return importlib.import_module(library)


def adopt_namespace(kind: type, xp: Namespace) -> None:
    """Let `xp` stand for the namespace that arrays of a type give: for a backend whose library lacks names of the standard."""
    _NAMESPACES[kind] = xp


def device_of(array: Array) -> Device:
    """The device object of an array; None where the library gives its arrays none (JAX tracers, MLX, dask)."""
    return getattr(array, "device", None)


def is_tracer(array: Any) -> bool:
    """Whether an array is JAX's stand-in for one inside `jit`, `grad` or `vmap`: it has a shape, but no values yet."""
    kind = type(array)
    found = _TRACERS.get(kind)
    if found is None:
        found = _TRACERS[kind] = any(base.__name__ == "Tracer" and _library(base) == "jax" for base in kind.__mro__)
    return found


def constant(value: float, like: Array, dtype: DType | None = None) -> Array:
    """A 0-d array of `value` with the dtype (unless given) and on the device of `like`."""
    xp = namespace_of(like)
    return xp.asarray(value, dtype=like.dtype if dtype is None else dtype, **placed_as(like))


def placed_as(like: Array) -> dict[str, Device]:
    """Keyword arguments that make a creation function put its result where `like` is."""
    device = device_of(like)
    return {} if device is None else {"device": device}


def describe(array: Any) -> str:
    """An array in a few words, for messages: library, device, dtype and shape."""
    if not hasattr(array, "dtype") or not hasattr(array, "shape"):
        return type(array).__qualname__
    library, device = _library(type(array)), device_of(array)
    if library == "jaxlib":
        library = "jax"
    where = f"{library} on {device}" if device is not None else library
    return f"{where}, {array.dtype}, shape {tuple(array.shape)}"


def is_floating(array: Array) -> bool:
    """Whether an array has a real floating dtype."""
    return namespace_of(array).isdtype(array.dtype, "real floating")


def _library(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _resolve(array: Any) -> Namespace:
    if isinstance(array, np.ndarray | np.generic):
        xp = np
    else:
        try:
            xp = array_api_compat.array_namespace(array)
        except TypeError:
            raise InvalidTypeError(
                f"expected an array, got {type(array).__name__}; pass an array of NumPy, CuPy, PyTorch, JAX or another "
                "Array API library"
            ) from None
    _NAMESPACES[type(array)] = xp
    return xp


def _same_device(a: Array, b: Array) -> bool:
    device_a, device_b = device_of(a), device_of(b)
    return device_a is None or device_b is None or device_a == device_b


def _mismatch(a: Array, b: Array) -> DeviceMismatchError:
    return DeviceMismatchError(
        f"arrays of two libraries or devices in one call: {describe(a)}; and {describe(b)}. "
        "Move one of them with mlpx.to_device(array, device) first"
    )
