"""What is certified: one device of a backend, and the ways in which it runs functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from mlpx.registry import Backend, Device
from mlpx.testing.variants import FLOATING, Variant


@dataclass(frozen=True)
class Subject:
    """A device under certification.

    Attributes
    ----------
    backend : Backend
    device : str
        One of its devices.
    """

    backend: Backend = field(repr=False)
    device: str

    def __str__(self) -> str:
        return str(Device(self.backend, self.device))

    @cached_property
    def eager(self) -> Variant:
        """Functions simply called."""
        return Variant(str(self), self.backend, self.device)

    @cached_property
    def traced(self) -> tuple[Variant, ...]:
        """The backend's other ways to run a function, values or not."""
        return tuple(Variant(f"{self}:{name}", self.backend, self.device, name) for name in self.backend.trace_variants())

    @property
    def ways(self) -> tuple[Variant, ...]:
        """All ways that give values, `eager` first."""
        return (self.eager, *(one for one in self.traced if one.materialises))

    @property
    def whole(self) -> Variant:
        """How something large is run: traced into one function where that gives values, else simply called."""
        return self.ways[-1]

    @property
    def floating(self) -> tuple[str, ...]:
        """The floating dtypes in which the library computes here."""
        return tuple(dtype for dtype in FLOATING if dtype in self.eager.floating)
