"""The ways in which code under test is run: on which library and device, read-only, traced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from mlpx import registry
from mlpx.errors import MlpxError, unknown_name
from mlpx.namespace import device_of
from mlpx.registry import Backend
from mlpx.testing.strict_backend import register_strict
from mlpx.typing import Array, DType, Namespace

FLOATING = ("float64", "float32")
READONLY = "readonly"


@dataclass(frozen=True)
class Variant:
    """One way of running code under test.

    Attributes
    ----------
    name : str
        "numpy", "numpy:readonly", "strict:device1", "torch:cpu", "torch:meta", "jax:jit", "cupy:0".
    backend : Backend
    device : str
        One of the backend's devices, where inputs are put.
    trace : str
        One of the backend's `trace_variants()`, or "" where functions are simply called.
    readonly : bool
        Whether inputs are NumPy arrays that cannot be written.
    """

    name: str
    backend: Backend = field(repr=False)
    device: str
    trace: str = ""
    readonly: bool = False

    @property
    def namespace(self) -> Namespace:
        """The library's Array API namespace."""
        return self.backend.namespace()

    @cached_property
    def floating(self) -> tuple[str, ...]:
        """The floating dtypes in which the library really computes here."""
        return tuple(dtype for dtype in FLOATING if self._computes_in(dtype))

    @cached_property
    def dtypes(self) -> tuple[str, ...]:
        """The floating dtypes to test in: all, but of an eager library whose compiled form is tested in all, the coarsest."""
        compiled = any(Variant("", self.backend, self.device, trace).materialises for trace in self.backend.trace_variants())
        return self.floating[-1:] if compiled and not self.trace else self.floating

    @cached_property
    def result_device(self) -> Any:
        """The device object that results have: that of the inputs, unless tracing sends them elsewhere (torch's meta)."""
        return device_of(self.wrap(_identity)(self.put(np.zeros(1, dtype=self.floating[-1]))))

    @cached_property
    def materialises(self) -> bool:
        """Whether results have values."""
        return self.result_device == device_of(self.put(np.zeros(1, dtype=self.floating[-1])))

    def dtype(self, name: str) -> DType:
        """The library's dtype object of that name."""
        return getattr(self.namespace, name)

    def put(self, array: Any) -> Array:
        """A new array of this variant with the values and dtype of a NumPy array; a tuple item by item."""
        if isinstance(array, tuple):
            return tuple(self.put(one) for one in array)  # type: ignore[return-value]
        placed: Any = self.backend.from_numpy(np.asarray(array), self.device)
        if self.readonly:
            placed.flags.writeable = False
        return placed

    def get(self, array: Any) -> Any:
        """An array as a NumPy array; tuples and mappings item by item."""
        if isinstance(array, Mapping):
            return {name: self.get(one) for name, one in array.items()}
        if isinstance(array, tuple | list):
            return tuple(self.get(one) for one in array)
        return array if array is None else self.backend.to_numpy(array)

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of arrays as this variant runs it."""
        return self.backend.trace_variants()[self.trace](function) if self.trace else function

    def __str__(self) -> str:
        return self.name

    def _computes_in(self, dtype: str) -> bool:
        try:
            self.backend.check_dtype(dtype)
        except MlpxError:
            return False
        return hasattr(self.namespace, dtype)


Variants: TypeAlias = Iterable[Variant | str] | Variant | str | None


def _identity(array: Array) -> Array:
    return array


def variants_of(backend_name: str) -> tuple[Variant, ...]:
    """Every way in which a backend is tested: one device of each kind, and its traced forms.

    Raises
    ------
    ConfigError
        If no backend has that name.
    BackendMissingError
        If it cannot work here: with the reason and the cure.
    """
    register_strict()
    backend = registry.require(backend_name)
    devices = _one_of_each_kind(backend.devices())
    plain = [Variant(str(registry.Device(backend, device)), backend, device) for device in devices]
    readonly = [Variant(f"numpy:{READONLY}", backend, "cpu", readonly=True)] if backend_name == "numpy" else []
    traced = [Variant(f"{backend_name}:{trace}", backend, devices[0], trace) for trace in backend.trace_variants()]
    return (*plain, *readonly, *traced)


def variant(name: str) -> Variant:
    """The variant of that name, such as "numpy", "strict:device1" or "jax:jit"; any device of a backend may be named.

    Raises
    ------
    ConfigError
        If there is no backend, or no such variant of it.
    BackendMissingError
        If the backend cannot work here.
    """
    backend_name, _, rest = name.partition(":")
    known = {one.name: one for one in variants_of(backend_name)}
    if name in known:
        return known[name]
    backend = registry.require(backend_name)
    if not rest:
        return next(iter(known.values()))
    if rest in backend.devices():
        return Variant(name, backend, rest)
    raise unknown_name("variant", name, known)


def available_variants(names: Iterable[str] | None = None) -> tuple[Variant, ...]:
    """The variants of the named backends, or of all that work on this machine.

    Parameters
    ----------
    names : names of backends or of single variants, optional
        "torch" stands for all its variants, "torch:meta" for one. If not given, every backend that works here.

    Raises
    ------
    ConfigError
        If a name is unknown.
    BackendMissingError
        If a backend that was named cannot work here.
    """
    register_strict()
    if names is None:
        names = [name for name in registry.names() if registry.availability(name).ok]
    found: dict[str, Variant] = {}
    for name in names:
        chosen = (variant(name),) if ":" in name else variants_of(name)
        found |= {one.name: one for one in chosen}
    return tuple(found.values())


def as_variants(variants: Variants) -> tuple[Variant, ...]:
    """What a check's `variants` argument stands for: given ones, named ones, or by default all that work here."""
    if variants is None:
        return available_variants()
    if isinstance(variants, Variant | str):
        variants = (variants,)
    return tuple(
        one for given in variants for one in ((given,) if isinstance(given, Variant) else available_variants((given,)))
    )


def missing_backends() -> dict[str, registry.Availability]:
    """The known backends that do not work here, with reason and cure."""
    register_strict()
    return {name: registry.availability(name) for name in registry.names() if not registry.availability(name).ok}


def _one_of_each_kind(devices: Iterable[str]) -> tuple[str, ...]:
    """The first device of each kind: "cuda:0" stands for "cuda:1", "device1" for "device2"."""
    kinds: dict[str, str] = {}
    for device in devices:
        kinds.setdefault(re.sub(r"[:\d]+$", "", device), device)
    return tuple(kinds.values())
