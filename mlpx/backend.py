"""What mlpx has to know of an array library, and what a device of one is.

A library comes in by subclassing `Backend`; `mlpx.registry` says how an instance is found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from mlpx.errors import ConfigError, unknown_name
from mlpx.machine import Availability, Memory, installed_version
from mlpx.namespace import standard_namespace
from mlpx.typing import Array, Namespace

PRECISIONS = ("ieee", "tf32", "bf16", "fp16")


class Backend:
    """What mlpx needs to know of an array library. Subclass, override, and publish an instance as an entry point.

    Attributes
    ----------
    name : str
        How users name it: the part before the colon of a device name.
    libraries : tuple of str
        Top-level modules that define its array types; the first is the library itself.
    kernels : mapping of str to callable
        Faster twins of ops, by op name ("gelu", "gelu.backward"); same arguments and results as the definition.
    environment : tuple of str
        Environment variables that change what the library does; `mlpx doctor` shows those that are set.
    survives_fork : bool
        Whether a forked child may go on using the library after its parent has used it.
    """

    name: str = ""
    libraries: tuple[str, ...] = ()
    kernels: Mapping[str, Callable[..., Any]] = {}
    environment: tuple[str, ...] = ()
    survives_fork: bool = True

    def probe(self) -> Availability:
        """Say whether the library can work here, without importing it where that can be told otherwise."""
        raise TypeError(f"{type(self).__name__} says nothing of whether it can work: it must define probe()")

    def version(self) -> str:
        """The installed version of the library, or an empty string."""
        return installed_version(self.libraries[0])

    def namespace(self) -> Namespace:
        """The library's Array API namespace, the one that its arrays give too; imports the library."""
        return standard_namespace(self.libraries[0])

    def devices(self) -> tuple[str, ...]:
        """Names of the devices present, without the backend's own name; the default one first."""
        return ("cpu",)

    def native_device(self, name: str) -> Any:
        """The library's own device object for one of `devices()`."""
        return name

    def device_name(self, array: Array) -> str:
        """Which of `devices()` an array lives on."""
        return str(array.device)

    def from_numpy(self, array: np.ndarray, device: str) -> Array:
        """A new array on `device` with the values and dtype of a NumPy array; never shares its memory."""
        return self.namespace().asarray(array, device=self.native_device(device), copy=True)

    def to_numpy(self, array: Array) -> np.ndarray:
        """A new NumPy array with the values and dtype of one of this library's arrays."""
        return np.array(np.from_dlpack(cast("Any", array), device="cpu", copy=True))

    def move(self, array: Array, device: str) -> Array:
        """One of this library's arrays, copied to another of its devices."""
        return self.from_numpy(self.to_numpy(array), device)

    def compile(self, step: Callable[..., Any], example: tuple[Any, ...]) -> Callable[..., Any]:
        """A function equal to the pure `step(state, batch)`, free to overwrite the state it is given."""
        del example
        return step

    def trace_variants(self) -> Mapping[str, Callable[[Callable[..., Any]], Callable[..., Any]]]:
        """By name, other ways to run a pure function of arrays than calling it; tests run everything in each of them."""
        return {}

    def precision(self, name: str) -> AbstractContextManager[None]:
        """A context in which float32 products are computed as `precision=` asks; "ieee" must mean IEEE float32."""
        if name != "ieee":
            raise self.no_such_precision(name, "ieee")
        return nullcontext()

    def no_such_precision(self, name: str, *available: str) -> ConfigError:
        """The error about a precision that is not a name, or that this library does not have."""
        if name not in PRECISIONS:
            return unknown_name("precision", name, PRECISIONS)
        return ConfigError(f"precision={name!r} is not available on {self.name} (available: {', '.join(available)})")

    def check_dtype(self, dtype: str) -> None:
        """Raise ConfigError, with the cure, if the library would not really compute in `dtype`."""

    def synchronize(self, device: str) -> None:
        """Wait until the device has finished all work."""
        del device

    def hardware(self, device: str) -> str:
        """Model of the accelerator that a device is, such as "NVIDIA H100 80GB HBM3"; empty for the CPU."""
        del device
        return ""

    def memory(self, device: str) -> Memory | None:
        """Free and total memory of a device, or None where it cannot be told."""
        del device
        return None


@dataclass(frozen=True)
class Device:
    """A device of a backend: `str(device)` is the name that finds it again, such as "torch:cuda:0"."""

    backend: Backend = field(repr=False)
    name: str

    def __str__(self) -> str:
        return self.backend.name if self.backend.name == "numpy" else f"{self.backend.name}:{self.name}"

    @property
    def native(self) -> Any:
        """The library's own device object."""
        return self.backend.native_device(self.name)

    @property
    def namespace(self) -> Namespace:
        """The library's Array API namespace."""
        return self.backend.namespace()
