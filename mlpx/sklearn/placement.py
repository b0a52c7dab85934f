"""Where a fit computes: the library and device that X came in, or those that `device=` names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from mlpx import transfer
from mlpx.backend import Device
from mlpx.errors import ConfigError, MlpxError
from mlpx.namespace import describe, device_of, namespace_of
from mlpx.typing import Array, DType, Namespace


@dataclass(frozen=True)
class Place:
    """A library and one of its devices.

    Attributes
    ----------
    xp : namespace
    native : the library's own device object, or None where its arrays have none
    device : Device, or None for a library that speaks the standard but has no backend in mlpx
    """

    xp: Namespace
    native: Any
    device: Device | None

    @property
    def is_host(self) -> bool:
        """Whether arrays here are NumPy's."""
        return self.xp is np

    def put(self, array: Any) -> Any:
        """A NumPy array, as it is here or as a copy in this library."""
        if self.is_host:
            return array
        if array.dtype == np.float64 and self.floating(None) == self.xp.float32:
            array = array.astype(np.float32)
        if self.device is not None:
            return transfer.to_device(array, self.device)
        return self.xp.asarray(array, device=self.native)

    def bring(self, array: Any) -> Any:
        """An array of any library, here; the array itself if that is where it is."""
        if place_of(array) == self:
            return array
        return self.put(read(array))

    def floating(self, dtype: DType | None) -> DType:
        """The dtype here for an array of `dtype`: float32 and float64 are kept, all else becomes the default float."""
        for name in ("float32", "float64"):
            if dtype is not None and dtype == getattr(self.xp, name, None):
                return dtype
        kinds = self.xp.__array_namespace_info__().dtypes(kind="real floating")
        return kinds.get("float64", kinds["float32"])

    def number(self, array: Array) -> float:
        """The value of a 0-d array; the host waits for it."""
        return float(array) if self.is_host else float(read(array))

    def compile(self, step: Callable[..., Any], example: tuple[Any, ...]) -> Callable[..., Any]:
        """The step as this library runs it best."""
        return step if self.device is None else self.device.backend.compile(step, example)

    def precision(self, name: str) -> AbstractContextManager[None]:
        """A context in which products are computed as `precision=` asks."""
        if self.device is not None:
            return self.device.backend.precision(name)
        if name != "ieee":
            raise ConfigError(f"precision={name!r}: arrays of {self.xp.__name__} are computed in IEEE precision only")
        return nullcontext()


_default: dict[str, str | Device | None] = {"device": None}


def use_device(spec: str | Device | None) -> None:
    """Where host data is computed when an estimator's `device` is not given: None is where it is."""
    _default["device"] = None if spec is None else transfer.device(spec)


def chosen_device(given: str | Device | None) -> str | Device | None:
    """An estimator's own `device`, or the one set for all."""
    return _default["device"] if given is None else given


@cache
def host() -> Place:
    """NumPy on the CPU."""
    return Place(np, "cpu", transfer.device("numpy"))


def named(spec: str | Device) -> Place:
    """What `device=` names."""
    device = transfer.device(spec)
    return host() if device.namespace is np else Place(device.namespace, device.native, device)


def place_of(array: Any) -> Place:
    """Where an array is; lists, data frames, sparse matrices and whatever else is no array of a library are on the host."""
    if isinstance(array, np.ndarray | np.generic | list | tuple) or not hasattr(array, "dtype"):
        return host()
    try:
        xp = namespace_of(array)
    except MlpxError:
        return host()
    if xp is np:
        return host()
    try:
        device = transfer.device(array)
    except MlpxError:
        return Place(xp, device_of(array), None)
    return Place(device.namespace, device_of(array), device)


def read(array: Any) -> np.ndarray:
    """The values of an array as a NumPy array."""
    place = place_of(array)
    if place.is_host:
        return np.asarray(array)
    if place.device is not None:
        return transfer.to_numpy(array)
    try:
        return np.array(np.from_dlpack(array, device="cpu"))
    except (BufferError, RuntimeError, TypeError, ValueError):
        raise ConfigError(
            f"the values of {describe(array)} cannot be read by the host, and no backend of mlpx knows how"
        ) from None
