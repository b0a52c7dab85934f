"""NumPy for mlpx: the definitions on the CPU of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlpx.machine import host_memory
from mlpx.registry import Availability, Backend, Memory
from mlpx_numpy import threefry


class NumPyBackend(Backend):
    """Runs everything on NumPy arrays; always there."""

    name = "numpy"
    libraries = ("numpy",)
    kernels: Mapping[str, Callable[..., Any]] = {
        "threefry2x32": threefry.threefry2x32,
        "normal_from_words": threefry.normal_from_words,
    }
    environment = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR")

    def probe(self) -> Availability:
        """NumPy is what mlpx is built on."""
        return Availability(True)

    def device_name(self, array: np.ndarray) -> str:
        """Every NumPy array is on the CPU."""
        del array
        return "cpu"

    def from_numpy(self, array: np.ndarray, device: str) -> np.ndarray:
        """A C-contiguous, writable copy."""
        del device
        return np.array(array, order="C")

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        """A C-contiguous, writable copy."""
        return np.array(array, order="C")

    def memory(self, device: str) -> Memory | None:
        """Memory of the machine, or of its container."""
        del device
        return host_memory()


backend = NumPyBackend()
