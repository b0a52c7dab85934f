"""The CUDA driver, asked without CuPy: a tenth of a millisecond tells no driver from a broken one from no GPU."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


class Driver(NamedTuple):
    """What the CUDA driver says of itself.

    Attributes
    ----------
    load_error : str
        Why the driver library could not be loaded; empty where it could.
    status : int
        What the first of its functions that failed returned; 0 where none did.
    version : int
        Newest CUDA version it can run, as 1000 * major + 10 * minor.
    capabilities : tuple of (int, int)
        Compute capability of every visible device.
    """

    load_error: str = ""
    status: int = 0
    version: int = 0
    capabilities: tuple[tuple[int, int], ...] = ()


def ask_driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """Load the driver library and initialise it; `load` is `ctypes.CDLL`, or what a test puts in its place."""
    try:
        library = load(LIBRARY)
    except OSError as error:
        return Driver(load_error=str(error))
    number = ctypes.c_int(0)
    status = library.cuInit(0)
    if status:
        return Driver(status=status)
    status = library.cuDriverGetVersion(ctypes.byref(number))
    version = number.value
    if status:
        return Driver(status=status)
    status = library.cuDeviceGetCount(ctypes.byref(number))
    if status:
        return Driver(status=status, version=version)
    return Driver(version=version, capabilities=tuple(_capability(library, device) for device in range(number.value)))


def _capability(library: Any, ordinal: int) -> tuple[int, int]:
    """Compute capability of a device; (0, 0) where the driver does not tell."""
    device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    library.cuDeviceGet(ctypes.byref(device), ordinal)
    library.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
    library.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    return major.value, minor.value
