"""PyTorch for mlpx: the definitions on tensors, on the CPU or on CUDA, without autograd.

The library is imported only when it is used. With `MLPX_TORCH_COMPILE=1` in the environment a training step goes through
`torch.compile`: its first call then takes seconds to minutes, and later ones run faster; off by default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any

import numpy as np

from mlpx.errors import InvalidTypeError
from mlpx.machine import Availability, Memory, host_memory, importable
from mlpx.namespace import namespace_of
from mlpx.registry import Backend, kernel_for

CURE = 'pip install "mlpx[torch]"'
MINIMUM = "2.6"
COMPILE_VARIABLE = "MLPX_TORCH_COMPILE"
_MATMUL_PRECISION = {"ieee": "highest", "tf32": "high"}


class TorchBackend(Backend):
    """Runs everything on PyTorch tensors. Tensors that require a gradient come in detached."""

    name = "torch"
    libraries = ("torch",)
    environment = (
        COMPILE_VARIABLE,
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_TF32_OVERRIDE",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "OMP_NUM_THREADS",
    )

    def probe(self) -> Availability:
        """Whether PyTorch is installed, recent enough, and imports."""
        return importable("torch", minimum=MINIMUM, cure=CURE)

    def devices(self) -> tuple[str, ...]:
        """The CPU, and every CUDA device."""
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return ("cpu", *(f"cuda:{index}" for index in range(count)))

    def native_device(self, name: str) -> Any:
        """The `torch.device` of that name."""
        import torch

        return torch.device(name)

    def device_name(self, array: Any) -> str:
        """Where a tensor is; InvalidTypeError for one that is nowhere."""
        return str(_dense(array).device)

    def from_numpy(self, array: np.ndarray, device: str) -> Any:
        """A contiguous tensor with its own memory."""
        import torch

        return torch.from_numpy(np.array(array, order="C")).to(device)

    def to_numpy(self, array: Any) -> np.ndarray:
        """A copy, detached; dtypes that NumPy does not know (bfloat16, float8) become float32, which holds them exactly."""
        import torch

        tensor = _dense(array).detach().resolve_conj().resolve_neg().cpu()
        if tensor.dtype.is_floating_point and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
            tensor = tensor.float()
        return np.array(tensor.numpy(), order="C")

    def move(self, array: Any, device: str) -> Any:
        """A contiguous, detached copy, from device to device without a stop on the host."""
        import torch

        return _dense(array).detach().to(device, copy=True, memory_format=torch.contiguous_format)

    def compile(self, step: Callable[..., Any], example: tuple[Any, ...]) -> Callable[..., Any]:
        """The step without autograd's bookkeeping; through `torch.compile` where the environment asks for it."""
        del example
        import torch

        chosen = step
        if os.environ.get(COMPILE_VARIABLE, "0") not in ("", "0"):
            kernel_for("", torch.empty(0))  # found out now and remembered: how it is found out cannot be traced
            namespace_of(torch.empty(0))
            chosen = torch.compile(step)

        @wraps(step)
        def without_autograd(*arguments: Any) -> Any:
            with torch.no_grad():
                return chosen(*arguments)

        return without_autograd

    def trace_variants(self) -> Mapping[str, Callable[[Callable[..., Any]], Callable[..., Any]]]:
        """`meta`: on tensors that have shapes but no values, so that code that looks at a value is found out."""
        return {"meta": _on_meta}

    def precision(self, name: str) -> AbstractContextManager[None]:
        """IEEE float32, or leave to use TF32 where the device has it; process-wide, and put back at the end."""
        if name not in _MATMUL_PRECISION:
            raise self.no_such_precision(name, *_MATMUL_PRECISION)
        return _matmul_precision(_MATMUL_PRECISION[name])

    def synchronize(self, device: str) -> None:
        """Wait for a CUDA device; the CPU never runs behind."""
        import torch

        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    def hardware(self, device: str) -> str:
        """Model of a CUDA device."""
        import torch

        return torch.cuda.get_device_name(device) if device.startswith("cuda") else ""

    def memory(self, device: str) -> Memory | None:
        """Memory of a CUDA device, or of the machine."""
        import torch

        if device.startswith("cuda"):
            return Memory(*torch.cuda.mem_get_info(device))
        return host_memory()


def _dense(tensor: Any) -> Any:
    """The tensor, which has values in memory; InvalidTypeError otherwise."""
    import torch

    if tensor.is_meta:
        raise InvalidTypeError("expected a tensor with values, got one on torch's meta device; make it on 'cpu' or 'cuda'")
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
        raise InvalidTypeError(f"expected a dense tensor, got a {kind} one; call its .to_dense() first")
    if tensor.is_quantized:
        raise InvalidTypeError("expected a tensor of numbers, got a quantized one; call its .dequantize() first")
    return tensor


@contextmanager
def _matmul_precision(setting: str) -> Iterator[None]:
    """PyTorch's own setting of that name, for a while."""
    import torch

    restore = _precision_settings()
    torch.set_float32_matmul_precision(setting)
    try:
        yield
    finally:
        restore()


def _precision_settings() -> Callable[[], None]:
    """A function that puts the precision of float32 products back to what it is now.

    PyTorch 2.9 gave every library (cuBLAS, oneDNN) a setting of its own beside the global one, which refuses to be read
    while they disagree.
    """
    import torch

    known: tuple[Any, ...] = (torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None))
    own = [module for module in known if hasattr(module, "fp32_precision")]
    before = [module.fp32_precision for module in own]
    try:
        overall = torch.get_float32_matmul_precision()
    except RuntimeError:
        overall = "high" if "tf32" in before[:1] else "highest"

    def restore() -> None:
        torch.set_float32_matmul_precision(overall)
        for module, precision in zip(own, before, strict=True):
            module.fp32_precision = precision

    return restore


def _on_meta(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called with its tensors on the meta device."""

    @wraps(function)
    def run(*arguments: Any) -> Any:
        return function(*_to_meta(arguments))

    return run


def _to_meta(value: Any) -> Any:
    """Tensors in nested tuples, lists and mappings, each sent to the meta device."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to("meta")
    if isinstance(value, tuple):
        parts = [_to_meta(one) for one in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [_to_meta(one) for one in value]
    if isinstance(value, dict):
        return {key: _to_meta(one) for key, one in value.items()}
    return value


backend = TorchBackend()
