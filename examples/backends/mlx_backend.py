"""Apple's MLX as a backend of mlpx, on its CPU device; `mlx.core` lacks a few names of the standard, which are added here."""

from functools import cache

import numpy as np

from mlpx.errors import ConfigError
from mlpx.machine import importable
from mlpx.namespace import adopt_namespace
from mlpx.registry import Backend


class Completed:
    """`mlx.core`, and what the standard has beyond it."""

    def __init__(self, core):
        self._core, self.bool = core, core.bool_

    def __getattr__(self, name):
        return getattr(self._core, name)

    def arange(self, *bounds, dtype=None, device=None):
        return self._core.arange(*bounds, dtype=dtype)

    def argsort(self, x, *, axis=-1, stable=True):  # merge sort: stable already
        return self._core.argsort(x, axis=axis).astype(self._core.int64)

    def clip(self, x, min=None, max=None):
        return self._core.clip(x, min, max)

    def sum(self, x, *, axis=None, dtype=None, keepdims=False):
        return self._core.sum(x if dtype is None else x.astype(dtype), axis=axis, keepdims=keepdims)


@cache
def completed_namespace():
    import mlx.core

    completed = Completed(mlx.core)
    adopt_namespace(mlx.core.array, completed)
    return completed


class MLXBackend(Backend):
    """Runs everything on MLX arrays."""

    name = "mlx"
    libraries = ("mlx",)

    def probe(self):
        found = importable("mlx.core", cure='pip install "mlx[cpu]"')
        if found.ok:
            self.namespace()
        return found

    def namespace(self):
        return completed_namespace()

    def check_dtype(self, dtype):
        if dtype == "float64":  # there is the dtype, but exp and its kind are only as exact as in float32
            raise ConfigError("MLX computes float64 functions in float32; use float32")

    def device_name(self, array):
        return "cpu"

    def from_numpy(self, array, device):
        return self.namespace().asarray(np.array(array), dtype=getattr(self.namespace(), array.dtype.name), copy=True)

    def to_numpy(self, array):
        return np.array(array)


backend = MLXBackend()
