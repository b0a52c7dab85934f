"""dask.array as a backend of mlpx: every array a graph of tasks, computed when it is read."""

import numpy as np

from mlpx.machine import importable
from mlpx.registry import Backend


class DaskBackend(Backend):
    """Runs everything on dask arrays of one chunk."""

    name = "dask"
    libraries = ("dask",)

    def probe(self):
        return importable("dask", cure='pip install "dask[array]"')

    def namespace(self):
        import array_api_compat.dask.array

        return array_api_compat.dask.array

    def device_name(self, array):
        return "cpu"

    def from_numpy(self, array, device):
        import dask.array

        return dask.array.from_array(np.array(array), chunks=-1)

    def to_numpy(self, array):
        return np.array(array.compute())


backend = DaskBackend()
