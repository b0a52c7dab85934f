"""Intel's dpnp as a backend of mlpx: SYCL devices, or the CPU through OpenCL."""

import os
import sys
from pathlib import Path

from mlpx.machine import importable
from mlpx.registry import Availability, Backend

DRIVER = Path(sys.prefix, "lib", "libintelocl.so")  # where the wheel puts OpenCL's CPU driver, and OpenCL does not look
CURE = "pip install dpnp"


class DpnpBackend(Backend):
    """Runs everything on dpnp arrays."""

    name = "dpnp"
    libraries = ("dpnp",)
    environment = ("OCL_ICD_FILENAMES", "ONEAPI_DEVICE_SELECTOR")

    def probe(self):
        if DRIVER.exists():
            os.environ.setdefault("OCL_ICD_FILENAMES", str(DRIVER))
        found = importable("dpnp", cure=CURE)
        if found.ok and not self.devices():
            return Availability(False, "SYCL finds no device", "install a driver, or set OCL_ICD_FILENAMES")
        return found

    def devices(self):
        import dpctl

        return tuple(device.filter_string for device in sorted(dpctl.get_devices(), key=lambda device: not device.is_gpu))

    def device_name(self, array):
        return array.device.sycl_device.filter_string

    def to_numpy(self, array):
        return array.asnumpy()


backend = DpnpBackend()
