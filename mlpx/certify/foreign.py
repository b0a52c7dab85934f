"""An array of no library: it has a shape, a dtype and a namespace of its own, and refuses to become anything else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

NAMESPACE = SimpleNamespace(__name__="foreign")


class ForeignArray:
    """Stands for an array of another library, where no other library need be installed.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        Of the library it is mixed with, so that the dtype is no reason to refuse it.
    device : str
    """

    device = "elsewhere"

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))

    @property
    def T(self) -> ForeignArray:  # noqa: N802 - the standard's name
        """The transpose."""
        return ForeignArray(self.shape[::-1], self.dtype)

    def __array_namespace__(self, api_version: str | None = None) -> SimpleNamespace:
        """A namespace that no library has."""
        del api_version
        return NAMESPACE

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: this is the silent conversion that must not happen."""
        raise TypeError("an array of another library was converted without being asked to")

    def __len__(self) -> int:
        return self.shape[0]
