"""Whether CuPy can work here, and if not what is wrong: every finding with its cause and its cure.

Findings are looked for in the order in which they have to be mended: the package, the driver, the GPU, CUDA's own libraries.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PathDistribution
from pathlib import Path

from mlpx.machine import Availability, imports_cleanly, module_installed, release
from mlpx_cupy.driver import Driver, ask_driver

MINIMUM = "14"
CURE = 'pip install "mlpx[cuda13]" (or "mlpx[cuda12]" for drivers before 580)'
_PACKAGE = re.compile(r"cupy(?:[-_](?:cuda\d+x?|rocm[-_\d]+))?", re.IGNORECASE)
_OLDEST_GPU = {13: (7, 5)}  # compute capability that a CUDA major still has code for
_NEEDED_LIBRARIES = ("nvrtc", "cublas", "cudart")

_STATUS = {
    3: (
        "CUDA was initialised before this process was forked (cuInit returned 3)",
        "start worker processes with multiprocessing.get_context('spawn')",
    ),
    100: ("the driver finds no GPU (cuInit returned 100){visible}", "{show_gpu}"),
    304: (
        "the operating system refused the driver (cuInit returned 304)",
        "check the permissions of /dev/nvidia*, and that no other library (numba.cuda) broke the driver in this process",
    ),
    802: (
        "the GPUs are not ready yet (cuInit returned 802)",
        "start NVIDIA's Fabric Manager in the driver's version: systemctl start nvidia-fabricmanager",
    ),
    803: (
        "the driver library and the kernel driver are of different versions (cuInit returned 803)",
        "reboot after a driver update; in a container, restart the container",
    ),
    804: (
        "CUDA's forward-compatibility libraries are in use on a GPU that does not support them (cuInit returned 804)",
        "take the cuda-compat folder out of LD_LIBRARY_PATH, or update the driver",
    ),
    999: (
        "the driver reports an unknown error (cuInit returned 999)",
        "reload the driver (sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm) or reboot; this is common after suspend",
    ),
}


@dataclass(frozen=True)
class Surroundings:
    """What a diagnosis looks at; tests put others in.

    Attributes
    ----------
    packages : callable
        Versions of the installed CuPy distributions, by name.
    module_installed : callable
        Whether there is a module of the given name.
    driver : callable
    imports_cleanly : callable
        Imports the named module; takes a cure for the case that it fails.
    missing_libraries : callable
        Which of the named CUDA libraries cannot be found.
    environment : mapping
    """

    packages: Callable[[], Mapping[str, str]] = field(default=lambda: installed_packages(sys.path))
    module_installed: Callable[[str], bool] = module_installed
    driver: Callable[[], Driver] = ask_driver
    imports_cleanly: Callable[[str, str], Availability] = imports_cleanly
    missing_libraries: Callable[[Iterable[str]], tuple[str, ...]] = field(default=lambda names: missing_libraries(names))
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


def diagnose(here: Surroundings) -> Availability:
    """Whether CuPy can work in these surroundings; CuPy is imported only where nothing else speaks against it."""
    packages = here.packages()
    finding = _package_finding(packages, here.module_installed("cupy"))
    if finding is None:
        finding = _driver_finding(here.driver(), cuda_major(packages), here.environment)
    if finding is not None:
        return Availability(False, *finding)
    imported = here.imports_cleanly("cupy", _reinstall(packages))
    if not imported.ok:
        return imported
    missing = here.missing_libraries(_NEEDED_LIBRARIES)
    if missing:
        return Availability(False, f"CuPy is installed, but not CUDA's {', '.join(missing)}", _cuda_extra(packages))
    return Availability(True)


def installed_packages(path: Iterable[str]) -> dict[str, str]:
    """Versions of the CuPy distributions on a module search path, by name; several are one too many."""
    return {found.name: found.version for found in _distributions(path)}


def _distributions(path: Iterable[str]) -> Iterator[PathDistribution]:
    """Metadata folders are matched by name: to read those of every package would take 50 ms."""
    for folder in path:
        for pattern in ("cupy*.dist-info", "cupy*.egg-info"):
            for found in Path(folder or ".").glob(pattern):
                if _PACKAGE.fullmatch(found.name.partition("-")[0].removesuffix(".egg")) and found.is_dir():
                    yield PathDistribution(found)


def cuda_major(packages: Mapping[str, str]) -> int | None:
    """The CUDA major version that the installed wheel is built for, where its name tells."""
    for name in packages:
        named = re.search(r"cuda(\d+)", name)
        if named:
            digits = named.group(1)
            return int(digits) if len(digits) <= 2 else int(digits[:-1])  # cuda13x, but cuda113 is 11.3
    return None


def missing_libraries(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the CUDA libraries that CuPy would not find, by the very way CuPy looks for them."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib
    except ImportError:  # CuPy then looks for them in another way
        return ()
    missing = []
    for name in names:
        try:
            load_nvidia_dynamic_lib(name)
        except Exception:  # not found, or found and not loadable: for the user the same
            missing.append(name)
    return tuple(missing)


def _package_finding(packages: Mapping[str, str], module: bool) -> tuple[str, str] | None:
    """What is wrong with the installed CuPy, if anything."""
    names = ", ".join(sorted(packages))
    if not packages and not module:
        return "CuPy is not installed", CURE
    if len(packages) > 1:
        return f"{len(packages)} CuPy packages are installed ({names}); they overwrite each other's files", _reinstall(packages)
    if not module:
        return f"{names} is installed, but its module cupy is gone, as happens when another CuPy is removed", _reinstall(
            packages
        )
    if "rocm" in names.lower():
        return f"{names} is built for AMD GPUs", f"pip uninstall {names}, then {CURE}"
    version = next(iter(packages.values()), "")
    if version and release(version) < release(MINIMUM):
        return f"CuPy {version} is older than {MINIMUM}", f"pip uninstall {names}, then {CURE}"
    return None


def _driver_finding(driver: Driver, major: int | None, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """What is wrong with the driver or the GPUs, if anything."""
    if driver.load_error:
        return (
            f"there is no NVIDIA driver here ({driver.load_error})",
            "install the NVIDIA driver; a container needs the NVIDIA container toolkit and --gpus all; under WSL the driver "
            "belongs in Windows, none inside",
        )
    if driver.status:
        return _status_finding(driver.status, environment)
    if major is not None and driver.version < 1000 * major:
        return (
            f"the driver is too old: it runs CUDA {_dotted(driver.version)}, the installed CuPy is built for CUDA {major}",
            f"update the driver, or install CuPy for CUDA {driver.version // 1000}: "
            f'pip uninstall cupy-cuda{major}x, then pip install "mlpx[cuda{driver.version // 1000}]"',
        )
    if not driver.capabilities:
        return _status_finding(100, environment)
    oldest = _OLDEST_GPU.get(major or 0)
    if oldest and max(driver.capabilities) < oldest and max(driver.capabilities) > (0, 0):
        found = ".".join(map(str, max(driver.capabilities)))
        return (
            f"the GPU is of compute capability {found}, CUDA {major} starts at {oldest[0]}.{oldest[1]}",
            f'pip uninstall cupy-cuda{major}x, then pip install "mlpx[cuda12]"',
        )
    return None


def _status_finding(status: int, environment: Mapping[str, str]) -> tuple[str, str]:
    """Reason and cure of a status other than 0."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    visible = "" if chosen is None else f"; CUDA_VISIBLE_DEVICES={chosen!r} says which ones it may see"
    show_gpu = (
        "check nvidia-smi; a container needs --gpus all" if chosen is None else "unset CUDA_VISIBLE_DEVICES, or set it to 0"
    )
    reason, cure = _STATUS.get(
        status,
        (f"the NVIDIA driver failed with status {status}", "look the number up among CUDA's CUresult values; try nvidia-smi"),
    )
    return reason.format(visible=visible), cure.format(show_gpu=show_gpu)


def _reinstall(packages: Mapping[str, str]) -> str:
    names = " ".join(sorted(packages))
    return f"pip uninstall {names}, then {CURE}" if names else CURE


def _cuda_extra(packages: Mapping[str, str]) -> str:
    major = cuda_major(packages)
    return f'pip install "mlpx[cuda{major}]"' if major else CURE


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
