"""What this machine is: processor, GPU, driver, versions, and what `mlpx doctor` says of it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import mlpx
from mlpx import registry
from mlpx.cli import doctor
from mlpx.errors import MlpxError
from sections.places import is_gpu
from sections.record import Record

PACKAGES = (
    "mlpx",
    "numpy",
    "array-api-compat",
    "array-api-strict",
    "safetensors",
    "scikit-learn",
    "torch",
    "jax",
    "jaxlib",
    "jax-cuda13-plugin",
    "jax-cuda12-plugin",
    "nvidia-cublas",
    "nvidia-cublas-cu12",
    "nvidia-cuda-nvrtc",
)
GPU_FIELDS = "name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit"
PLACES = ("PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_PATH", "CUPY_CACHE_DIR", "NUMBA_CACHE_DIR")


def run(device: str, tiny: bool, record: Record) -> None:
    """Facts first, as they need nothing; then the device, then the doctor."""
    del tiny
    record.note(machine={"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "gpus": gpus()})
    record.note(versions={"python": platform.python_version(), **versions()})

    record.note(devices=device_names())
    examine(record)
    try:
        found = mlpx.device(device)
    except MlpxError as error:
        record.note(unusable=str(error))
        record.fail(str(error))
        return
    memory = found.backend.memory(found.name)
    record.note(device=str(found), memory={"free": memory.free, "total": memory.total} if memory else None)
    if found.backend.name == "cupy":
        record.note(cuda=cuda_versions())
    names = [gpu["name"] for gpu in gpus()]
    record.headline(f"{found} on {names[0] if is_gpu(found) and names else processor()}")


def examine(record: Record) -> None:
    """The doctor's report, less the folders of this machine; a device that computes wrongly is a failure."""
    report = doctor.report()
    said = report.to_dict()
    said["environment"] = {name: "(set)" if name in PLACES else value for name, value in said["environment"].items()}
    record.note(doctor=said)
    for backend in report.backends:
        for one in backend.devices:
            record.check(not one.problem, f"doctor: {one.name}: {one.problem}")


def device_names() -> dict[str, Any]:
    """The devices of every backend that works here, and why the others do not."""
    found: dict[str, Any] = {}
    for name in registry.names():
        ok, reason, cure = registry.availability(name)
        found[name] = list(registry.find(name).devices()) if ok else f"{reason} (cure: {cure})"
    return found


def versions() -> dict[str, str]:
    """Versions of the packages that matter, CuPy under whatever name it is installed."""
    wanted: dict[str, str] = {}
    for one in distributions():
        name = (one.metadata["Name"] or "").lower()
        if name in PACKAGES or name.startswith("cupy"):
            wanted[name] = one.version
    return dict(sorted(wanted.items()))


def cuda_versions() -> dict[str, Any]:
    """What CuPy says of driver, runtime and compiler."""
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    return {
        "driver": runtime.driverGetVersion(),
        "runtime": runtime.runtimeGetVersion(),
        "nvrtc": list(cupy.cuda.nvrtc.getVersion()),
        "multiprocessors": properties["multiProcessorCount"],
        "l2_bytes": properties["l2CacheSize"],
    }


def processor() -> str:
    """The CPU's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def gpus() -> list[dict[str, str]]:
    """What nvidia-smi says of every GPU; empty without one."""
    try:
        told = subprocess.run(
            ["nvidia-smi", f"--query-gpu={GPU_FIELDS}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    names = GPU_FIELDS.split(",")
    return [dict(zip(names, map(str.strip, line.split(",")), strict=False)) for line in told.stdout.strip().splitlines()]
