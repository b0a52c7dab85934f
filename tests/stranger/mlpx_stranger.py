"""array-api-strict as a backend of mlpx."""

import numpy as np

from mlpx.machine import importable
from mlpx.registry import Backend


class StrangerBackend(Backend):
    """Runs everything on array-api-strict's arrays; device1 and device2 stand for GPUs."""

    name = "stranger"
    libraries = ("array_api_strict",)

    def probe(self):
        return importable("array_api_strict", cure="pip install array-api-strict")

    def devices(self):
        return ("CPU_DEVICE", "device1", "device2")

    def native_device(self, name):
        return self.namespace().Device(name)

    def device_name(self, array):
        return next(name for name in self.devices() if self.native_device(name) == array.device)

    def from_numpy(self, array, device):
        return self.namespace().asarray(np.array(array), device=self.native_device(device))

    def to_numpy(self, array):
        return np.array(array.to_device(self.native_device("CPU_DEVICE")))


backend = StrangerBackend()
