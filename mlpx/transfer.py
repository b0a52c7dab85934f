"""Naming devices and moving arrays between them: the only code that moves data.

Every move is a copy; nothing returned from here shares memory with what was given.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx import registry
from mlpx.backend import Backend, Device
from mlpx.errors import BackendMissingError, ConfigError, InvalidInputError, InvalidTypeError
from mlpx.machine import Availability
from mlpx.namespace import is_tracer
from mlpx.typing import Array

_EVERYDAY_NAMES = {"cpu": "numpy", "cuda": "cupy", "gpu": "cupy", "mps": "torch"}
_HALF_WIDTH = {"float64": "float32", "int64": "int32"}


def backends() -> dict[str, Availability]:
    """What is here, what is not, why, and the cure.

    Returns
    -------
    availability : dict of str to Availability
        For every known backend: `ok`, and if not, `reason` and `cure`.
    """
    return {name: registry.availability(name) for name in registry.names()}


def device(spec: str | Device | Array = "auto") -> Device:
    """The device that a name, a device or an array stands for.

    Parameters
    ----------
    spec : str, Device or array
        "auto" is a working CUDA GPU through CuPy, else NumPy. "numpy", "cupy:0", "torch:cpu", "torch:cuda:0", "jax:cpu"
        are explicit; a backend's name alone is its first device. An array stands for the device it is on.

    Raises
    ------
    ConfigError
        If there is no backend of that name.
    BackendMissingError
        If the backend cannot work here, or has no such device: with the cure.
    InvalidTypeError
        If `spec` is none of these, or an array without a device (a JAX tracer).
    """
    if isinstance(spec, Device):
        return spec
    if not isinstance(spec, str):
        backend = _owner_of(spec, "a device name, a device or an array")
        return Device(backend, backend.device_name(spec))
    if spec == "auto":
        return _best_device()
    name, _, index = spec.partition(":")
    if name in _EVERYDAY_NAMES and name not in registry.names():
        raise ConfigError(
            f"unknown device {spec!r}: a device is named after its library; did you mean {_EVERYDAY_NAMES[name]!r}? "
            f"(allowed: auto, {', '.join(registry.names())}, or one of their devices, such as 'torch:cpu')"
        )
    backend = registry.require(name)
    present = backend.devices()
    chosen = index or present[0]
    if chosen not in present:
        here = ", ".join(str(Device(backend, one)) for one in present)
        raise BackendMissingError(
            f"there is no device {spec!r} on this machine (present: {here}); choose one of these or 'auto'"
        )
    return Device(backend, chosen)


def to_device(array: Any, target: str | Device) -> Array:
    """A copy of an array on another device, of whichever library.

    Parameters
    ----------
    array : array of any known library, or (nested lists of) Python numbers
        Python numbers have no dtype: they become float64, int64 or bool, or their 32-bit kin where the target has no more.
    target : str or Device
        As in `device`.

    Returns
    -------
    copy : array
        Of the target's library, on the target device, with the dtype and values of `array`, in C order and native byte
        order; never shares memory with it.

    Raises
    ------
    ConfigError
        If the target would not keep the dtype: with what to do.
    InvalidTypeError
        If it is not an array of numbers, or has no values that could be copied (a JAX tracer, torch's meta tensors).
    InvalidInputError
        If nested lists are ragged.
    """
    goal = device(target)
    if isinstance(array, list | tuple | bool | int | float):
        array = _from_python(array, goal.backend)
    source = _owner_of(array, "an array")
    if source is goal.backend and not isinstance(array, np.ndarray | np.generic):
        return goal.backend.move(array, goal.name)
    if not isinstance(array, np.ndarray | np.generic):
        array = np.asarray(source.to_numpy(array), order="C")
        if goal.backend.name == "numpy":
            return array  # a copy already
    return goal.backend.from_numpy(_numeric(array), goal.name)


def to_numpy(array: Any) -> np.ndarray:
    """A copy of an array as a NumPy array, writable and in C order; never shares memory with it.

    Raises
    ------
    InvalidTypeError
        If it is not an array of numbers, or has no values that could be copied (a JAX tracer, torch's meta tensors).
    InvalidInputError
        If nested lists are ragged.
    """
    return to_device(array, "numpy")  # type: ignore[return-value]


def _owner_of(array: Any, expected: str) -> Backend:
    """The backend of an array that has values here and now."""
    if not hasattr(array, "dtype") or not hasattr(array, "shape"):
        hint = "; call its .to_numpy() first" if hasattr(array, "to_numpy") else ""
        raise InvalidTypeError(f"expected {expected}, got {type(array).__name__}{hint}")
    if is_tracer(array):
        raise InvalidTypeError(
            f"expected an array with values, got a JAX tracer ({type(array).__name__}): inside jit, grad or vmap nothing can "
            "be moved or read. Call this outside of the transformed function"
        )
    if hasattr(array, "toarray"):
        raise InvalidTypeError(f"expected a dense array, got a sparse {type(array).__name__}; call its .toarray() first")
    return registry.backend_of(array)


def _numeric(array: np.ndarray | np.generic) -> np.ndarray:
    """A NumPy array of numbers in native byte order; not a copy unless it has to be."""
    array = np.asarray(array)
    widest = 16 if array.dtype.kind == "c" else 8
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > widest:
        raise InvalidTypeError(
            f"expected an array of numbers of at most 64 bits, got dtype {array.dtype}; convert it to float32 or float64 first"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _from_python(numbers: Any, goal: Backend) -> np.ndarray:
    """Nested lists as an array, as wide as the target can hold."""
    try:
        array = np.asarray(numbers)
    except ValueError as error:
        raise InvalidInputError(f"nested lists must have rows of one length: {error}") from None
    narrow = _HALF_WIDTH.get(array.dtype.name)
    if narrow is None:
        return array
    try:
        goal.check_dtype(array.dtype.name)
    except ConfigError:
        if narrow == "int32" and array.size and np.abs(array).max() > np.iinfo(np.int32).max:
            raise
        return array.astype(narrow)
    return array


def _best_device() -> Device:
    if "cupy" in registry.names() and registry.availability("cupy").ok:
        return device("cupy")
    return device("numpy")
