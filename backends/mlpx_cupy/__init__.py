"""CuPy for mlpx: the definitions on an NVIDIA GPU, through plain CuPy.

The library is imported only when it is used; whether it can work is found out by asking the driver (`mlpx_cupy.diagnosis`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

from mlpx.errors import ConfigError
from mlpx.machine import Availability, Memory
from mlpx.registry import Backend
from mlpx_cupy.diagnosis import Surroundings, diagnose

PRECISIONS = ("ieee", "tf32")


class CuPyBackend(Backend):
    """Runs everything on CuPy arrays; its devices are named by their ordinals: "cupy:0"."""

    name = "cupy"
    libraries = ("cupy",)
    environment = (
        "CUDA_VISIBLE_DEVICES",
        "CUDA_PATH",
        "LD_LIBRARY_PATH",
        "CUPY_TF32",
        "NVIDIA_TF32_OVERRIDE",
        "CUPY_ACCELERATORS",
        "CUPY_CACHE_DIR",
        "CUPY_GPU_MEMORY_LIMIT",
    )
    survives_fork = False

    def __init__(self, surroundings: Surroundings | None = None) -> None:
        self._surroundings = surroundings or Surroundings()

    def probe(self) -> Availability:
        """Whether CuPy, a driver, a GPU and CUDA's libraries are here and fit each other."""
        return diagnose(self._surroundings)

    def version(self) -> str:
        """Version of the one installed CuPy distribution, whatever its name."""
        return next(iter(self._surroundings.packages().values()), "")

    def devices(self) -> tuple[str, ...]:
        """Ordinals of the GPUs that CUDA_VISIBLE_DEVICES leaves visible."""
        import cupy

        return tuple(str(ordinal) for ordinal in range(cupy.cuda.runtime.getDeviceCount()))

    def native_device(self, name: str) -> Any:
        """The `cupy.cuda.Device`, which is also a context that makes it the current one."""
        import cupy

        return cupy.cuda.Device(int(name))

    def device_name(self, array: Any) -> str:
        """Ordinal of the GPU that an array is on."""
        return str(array.device.id)

    def from_numpy(self, array: np.ndarray, device: str) -> Any:
        """A C-contiguous array on a GPU."""
        import cupy

        with self.native_device(device):
            return cupy.array(array, copy=True, order="C")

    def to_numpy(self, array: Any) -> np.ndarray:
        """A C-contiguous copy on the host, once the GPU has computed it; bfloat16 becomes float32, which holds it exactly."""
        import cupy

        with array.device:
            values = cupy.asnumpy(array, order="C")
        return values.astype(np.float32) if values.dtype.kind == "V" else values

    def move(self, array: Any, device: str) -> Any:
        """A C-contiguous copy, from GPU to GPU without a stop on the host."""
        import cupy

        with self.native_device(device):
            return cupy.array(array, copy=True, order="C")

    def compile(self, step: Callable[..., Any], example: tuple[Any, ...]) -> Callable[..., Any]:
        """The step, run on the GPU that holds the example: CuPy launches on whichever device is current."""
        device = next((array.device for array in _arrays(example)), None)
        if device is None:
            return step

        @wraps(step)
        def on_its_device(*arguments: Any) -> Any:
            with device:
                return step(*arguments)

        return on_its_device

    def precision(self, name: str) -> AbstractContextManager[None]:
        """IEEE float32 whatever CUPY_TF32 says, or TF32; process-wide, and put back at the end.

        ConfigError too where this CuPy has no switch and CUPY_TF32 says otherwise.
        """
        if name not in PRECISIONS:
            raise self.no_such_precision(name, *PRECISIONS)
        switch = _switch()
        if switch is not None:
            return _compute_type(switch, name)
        if (name == "tf32") == (os.environ.get("CUPY_TF32", "0") not in ("", "0")):
            return nullcontext()
        raise ConfigError(
            f"precision={name!r} cannot be promised: this CuPy has no switch for TF32 but CUPY_TF32, which is read once; "
            f"start Python with CUPY_TF32={int(name == 'tf32')}, or install CuPy 14"
        )

    def synchronize(self, device: str) -> None:
        """Wait for every stream of a GPU."""
        self.native_device(device).synchronize()

    def hardware(self, device: str) -> str:
        """Model of a GPU."""
        import cupy

        return cupy.cuda.runtime.getDeviceProperties(int(device))["name"].decode()

    def memory(self, device: str) -> Memory | None:
        """Memory of a GPU; what CuPy's pool holds in reserve counts as used."""
        return Memory(*self.native_device(device).mem_info)


class Switch(NamedTuple):
    """CuPy's reader and writer of the compute type of a dtype's products, and the type for each precision."""

    read: Callable[[Any], int]
    write: Callable[[Any, int], None]
    types: Mapping[str, int]


def _switch() -> Switch | None:
    """CuPy's switch, where it has one: it is not public, and CUPY_TF32, which is, is read once a process."""
    import cupy

    try:
        routines = cupy._core._routines_linalg
        types = {"ieee": routines.COMPUTE_TYPE_FP32, "tf32": routines.COMPUTE_TYPE_TF32}
        return Switch(cupy._core.get_compute_type, cupy._core.set_compute_type, types)
    except AttributeError:
        return None


@contextmanager
def _compute_type(switch: Switch, precision: str) -> Iterator[None]:
    """The compute type of float32 products, set for a while."""
    before = switch.read(np.float32)
    switch.write(np.float32, switch.types[precision])
    try:
        yield
    finally:
        switch.write(np.float32, before)


def _arrays(value: Any) -> Iterator[Any]:
    """The arrays in nested tuples, lists and mappings."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)
    elif isinstance(value, Mapping):
        yield from _arrays(list(value.values()))
    elif hasattr(value, "device"):
        yield value


backend = CuPyBackend()
