"""array-api-strict as a backend: the language police, and with its `device1` a GPU that every machine has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, wraps
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import numpy as np

from mlpx import registry
from mlpx.registry import Availability, Backend
from mlpx.typing import Array, Namespace

API_VERSION = "2024.12"


class StrictBackend(Backend):
    """Knows nothing but the standard, and refuses to mix its three devices or to become NumPy by accident."""

    name = "strict"
    libraries = ("array_api_strict",)

    def probe(self) -> Availability:
        """Whether the library is installed."""
        if find_spec("array_api_strict") is None:
            return Availability(False, "array-api-strict is not installed", "pip install array-api-strict")
        return Availability(True)

    def namespace(self) -> Namespace:
        """The library, held to the revision of the standard that mlpx is written in."""
        return _namespace()

    def devices(self) -> tuple[str, ...]:
        """device1 and device2 behave like GPUs; cpu may be read by NumPy."""
        return ("device1", "device2", "cpu")

    def native_device(self, name: str) -> Any:
        """The library's device object."""
        return self.namespace().Device("CPU_DEVICE" if name == "cpu" else name)

    def device_name(self, array: Array) -> str:
        """Which of `devices()` the array is on."""
        name = str(array.device).partition("'")[2].rstrip("')")
        return "cpu" if name == "CPU_DEVICE" else name

    def from_numpy(self, array: np.ndarray, device: str) -> Array:
        """A copy on one of the devices."""
        return self.namespace().asarray(np.array(array), device=self.native_device(device))

    def to_numpy(self, array: Any) -> np.ndarray:
        """A copy, by way of the CPU device, the only one NumPy may read."""
        return np.array(np.asarray(array.to_device(self.native_device("cpu"))))

    def trace_variants(self) -> Mapping[str, Callable[[Callable[..., Any]], Callable[..., Any]]]:
        """`static`: values are not known and arrays not writable, as under a compiler."""
        return {"static": _static}


@cache
def _namespace() -> Namespace:
    import array_api_strict

    array_api_strict.set_array_api_strict_flags(api_version=API_VERSION)
    return array_api_strict


def _static(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run as a compiler would see it: nothing may depend on a value, nothing is written in place."""

    @wraps(function)
    def run(*arrays: Array) -> Any:
        xp = _namespace()
        array_type = type(xp.zeros(()))
        flags = xp.ArrayAPIStrictFlags(api_version=API_VERSION, boolean_indexing=False, data_dependent_shapes=False)
        refusals: dict[str, Any] = {name: _refusal(name) for name in ("__bool__", "__float__", "__int__", "__setitem__")}
        with flags, patch.multiple(array_type, **refusals):
            return function(*arrays)

    return run


def _refusal(method: str) -> Callable[..., Any]:
    """A method that refuses what a traced array refuses."""

    def refuse(*arguments: Any) -> Any:
        del arguments
        raise TypeError(f"{method} of an array whose values are not known while a function is traced")

    return refuse


def register_strict() -> None:
    """Make the backend known for the rest of this process, unless somebody else's `strict` is."""
    if "strict" not in registry.names():
        registry.register(StrictBackend())
