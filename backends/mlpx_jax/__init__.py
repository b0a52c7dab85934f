"""JAX for mlpx: the definitions on JAX arrays, a training step compiled whole by XLA.

The library is imported only when it is used. Arrays are copied in and out: JAX takes it that nobody writes to its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np

from mlpx.errors import BackendMissingError, ConfigError, InvalidTypeError
from mlpx.machine import Availability, Memory, host_memory, importable
from mlpx.registry import Backend
from mlpx.typing import Namespace

CURE = 'pip install "mlpx[jax]"'
MINIMUM = "0.5"
_MATMUL_PRECISION = {"ieee": "highest", "tf32": "tensorfloat32"}


class JaxBackend(Backend):
    """Runs everything on JAX arrays."""

    name = "jax"
    libraries = ("jax", "jaxlib")
    environment = (
        "JAX_ENABLE_X64",
        "JAX_PLATFORMS",
        "JAX_DEFAULT_MATMUL_PRECISION",
        "XLA_FLAGS",
        "XLA_PYTHON_CLIENT_PREALLOCATE",
        "XLA_PYTHON_CLIENT_MEM_FRACTION",
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_TF32_OVERRIDE",
    )
    survives_fork = False

    def probe(self) -> Availability:
        """Whether JAX is installed, recent enough, and imports."""
        return importable("jax", minimum=MINIMUM, cure=CURE)

    def namespace(self) -> Namespace:
        """`jax.numpy`, which speaks the standard itself."""
        import jax.numpy

        return jax.numpy

    def devices(self) -> tuple[str, ...]:
        """Devices of JAX's default platform, then the CPU: "cpu", "cuda:0"."""
        return tuple(_devices())

    def native_device(self, name: str) -> Any:
        """The `jax.Device` of that name."""
        return _devices()[name]

    def device_name(self, array: Any) -> str:
        """Where an array is; InvalidTypeError for one spread over several devices."""
        where = list(array.devices())
        if len(where) > 1:
            raise InvalidTypeError(
                f"expected an array on one device, got one spread over {len(where)}; gather it with jax.device_put first"
            )
        return _name_of(where[0])

    def from_numpy(self, array: np.ndarray, device: str) -> Any:
        """An array with its own memory; ConfigError where JAX would quietly narrow the dtype."""
        import jax

        self.check_dtype(array.dtype.name)
        return jax.device_put(np.array(array, order="C"), self.native_device(device))

    def to_numpy(self, array: Any) -> np.ndarray:
        """A writable copy; dtypes that NumPy does not know (bfloat16, float8) become float32, which holds them exactly."""
        import jax

        if jax.numpy.issubdtype(array.dtype, jax.dtypes.extended):
            raise InvalidTypeError(f"expected an array of numbers, got dtype {array.dtype}; use jax.random.key_data(key) first")
        values = np.asarray(array)
        if values.dtype.kind == "V":
            values = values.astype(np.float32)
        return np.array(values, order="C")

    def move(self, array: Any, device: str) -> Any:
        """A copy, from device to device without a stop on the host."""
        import jax

        return jax.device_put(array, self.native_device(device), may_alias=False)

    def compile(self, step: Callable[..., Any], example: tuple[Any, ...]) -> Callable[..., Any]:
        """The step compiled by XLA; the state that it is given is overwritten."""
        del example
        import jax

        return jax.jit(step, donate_argnums=0)

    def trace_variants(self) -> Mapping[str, Callable[[Callable[..., Any]], Callable[..., Any]]]:
        """`jit`: traced and compiled, so that code that looks at a value is found out."""
        import jax

        return {"jit": jax.jit}

    def precision(self, name: str) -> AbstractContextManager[None]:
        """IEEE float32, where JAX by itself would take TF32 on a GPU; or leave to use TF32. For this thread, in this context.

        A compiled step belongs to the precision under which it is called: it is compiled anew under another.
        """
        if name not in _MATMUL_PRECISION:
            raise self.no_such_precision(name, *_MATMUL_PRECISION)
        import jax

        return jax.default_matmul_precision(_MATMUL_PRECISION[name])

    def check_dtype(self, dtype: str) -> None:
        """ConfigError for 64-bit dtypes while they are switched off."""
        import jax

        kept = str(jax.dtypes.canonicalize_dtype(dtype))
        if kept != dtype:
            raise ConfigError(
                f"JAX would turn {dtype} into {kept}: its 64-bit dtypes are switched off. Switch them on with "
                "JAX_ENABLE_X64=1 in the environment or jax.config.update('jax_enable_x64', True) at the start of the "
                f"program, or use {kept}"
            )

    def synchronize(self, device: str) -> None:
        """Wait until every array on the device has its values."""
        import jax

        wanted = self.native_device(device)
        jax.block_until_ready([array for array in jax.live_arrays() if wanted in array.devices()])

    def hardware(self, device: str) -> str:
        """Model of an accelerator."""
        return "" if device.startswith("cpu") else self.native_device(device).device_kind

    def memory(self, device: str) -> Memory | None:
        """Memory of an accelerator as JAX's allocator counts it, or of the machine."""
        statistics = self.native_device(device).memory_stats()
        if statistics is None or "bytes_limit" not in statistics:
            return host_memory() if device.startswith("cpu") else None
        return Memory(statistics["bytes_limit"] - statistics.get("bytes_in_use", 0), statistics["bytes_limit"])


def _devices() -> dict[str, Any]:
    """JAX's devices by name, those of the default platform first."""
    import jax

    try:
        present = list(jax.devices())
    except RuntimeError as error:
        raise BackendMissingError(
            f"JAX finds no device: {error}. Cure: unset JAX_PLATFORMS, or set JAX_PLATFORMS=cpu"
        ) from None
    with suppress(RuntimeError):  # JAX_PLATFORMS may leave the CPU out
        present += [device for device in jax.devices("cpu") if device not in present]
    return {_name_of(device): device for device in present}


def _name_of(device: Any) -> str:
    """A device in our words: "cpu" is the first CPU device, "cuda:0" the first NVIDIA GPU."""
    if device.platform == "cpu":
        return "cpu" if device.id == 0 else f"cpu:{device.id}"
    if device.platform != "gpu":
        return f"{device.platform}:{device.id}"
    return f"{'rocm' if 'rocm' in device.client.platform_version.lower() else 'cuda'}:{device.id}"


backend = JaxBackend()
