"""What works on this machine, what does not, why, and the cure: the facts behind `mlpx doctor`.

Every backend is examined in a process of its own, so that one that crashes, hangs or takes all of a GPU's memory spoils
nothing but its own line.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx import registry, transfer
from mlpx.machine import installed_version
from mlpx.registry import Backend

if TYPE_CHECKING:
    from rich.console import Console

SIDE = 64  # of the square matrices that are multiplied
LARGEST_ERROR = 64.0  # eps: a sum of 64 IEEE products; TF32 is off by thousands
SECONDS = 120.0  # that a backend may take to answer
_GENERAL_VARIABLES = ("LD_LIBRARY_PATH", "PYTHONPATH")
_CHILD = "import sys; from mlpx.cli import doctor; doctor.answer(*sys.argv[1:])"


@dataclass(frozen=True)
class DeviceReport:
    """One device and its first product.

    Attributes
    ----------
    name : str
        As `mlpx.device` takes it.
    free, total : int or None
        Memory in bytes.
    error : float or None
        Largest error of a 64 × 64 float32 product against NumPy's in float64, in eps of the largest entry.
    problem : str
        What went wrong; empty where nothing did.
    """

    name: str
    free: int | None = None
    total: int | None = None
    error: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class BackendReport:
    """One backend: whether it works, and if not why and what to do."""

    name: str
    ok: bool
    reason: str = ""
    cure: str = ""
    version: str = ""
    devices: tuple[DeviceReport, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything `mlpx doctor` says; `to_dict` gives JSON values.

    Attributes
    ----------
    versions : dict
        Of mlpx, Python and what mlpx stands on.
    system : str
    blas : list of dict
        The linear algebra libraries in NumPy: name, version, threads.
    backends : tuple of BackendReport
    environment : dict
        Those environment variables that change what a backend does, and are set.
    auto : str
        The device that "auto" picks.
    """

    versions: dict[str, str]
    system: str
    blas: list[dict[str, Any]]
    backends: tuple[BackendReport, ...]
    environment: dict[str, str] = field(default_factory=dict)
    auto: str = "numpy"

    @property
    def healthy(self) -> bool:
        """Whether every backend that is available also computes rightly on each of its devices."""
        return not any(device.problem for backend in self.backends for device in backend.devices)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def report(quick: bool = False) -> Report:
    """Examine this machine.

    Parameters
    ----------
    quick : bool
        Ask the backends only whether they are available: no device is touched, nothing is computed.

    Returns
    -------
    report : Report
    """
    names = registry.names()
    with ThreadPoolExecutor(len(names) + 1) as threads:
        auto = threads.submit(_ask, "auto")
        backends = tuple(threads.map(lambda name: _examined(name, quick), names))
    picked = auto.result()
    return Report(
        versions=_versions(),
        system=f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} logical CPUs",
        blas=_blas(),
        backends=backends,
        environment=_environment(names),
        auto=picked if isinstance(picked, str) else f"unknown: {picked['reason']}",
    )


def examine(name: str, quick: bool = False) -> BackendReport:
    """Examine one backend in this process."""
    ok, reason, cure = registry.availability(name)
    if not ok:
        return BackendReport(name, False, reason, cure)
    backend = registry.find(name)
    try:
        version = backend.version()
        devices = () if quick else tuple(_first_product(backend, device) for device in backend.devices())
    except Exception as error:
        return BackendReport(name, False, f"its devices cannot be listed: {_said(error)}", "see the message")
    return BackendReport(name, True, reason, cure, version, devices)


def answer(subject: str, quick: str = "") -> None:
    """Print, as one line of JSON, what `report` asks a process of its own."""
    found = str(transfer.device("auto")) if subject == "auto" else asdict(examine(subject, bool(quick)))
    print(json.dumps(found), flush=True)


def _examined(name: str, quick: bool) -> BackendReport:
    """One backend's report, from a process of its own where its entry point can be found there."""
    if name in registry.registered():
        return examine(name, quick)
    found = _ask(name, "quick" if quick else "")
    devices = tuple(DeviceReport(**device) for device in found.pop("devices", ()))
    return BackendReport(name=found.pop("name", name), devices=devices, **found)


def _ask(*subject: str, command: tuple[str, ...] = (sys.executable, "-c", _CHILD), seconds: float = SECONDS) -> Any:
    """What `answer` prints in a new process, or, where none comes, why."""
    environment = {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several libraries look at one GPU at a time
        **os.environ,
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
    }
    try:
        done = subprocess.run(
            [*command, *subject], capture_output=True, text=True, timeout=seconds, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"ok": False, "reason": f"its examination was given up: {error}", "cure": "look at nvidia-smi; try again"}
    if done.returncode == 0 and done.stdout.strip():
        return json.loads(done.stdout.strip().splitlines()[-1])
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return {
        "ok": False,
        "reason": f"its examination ended with status {done.returncode}: {last}",
        "cure": "the library or its driver is broken: reinstall it",
    }


def _first_product(backend: Backend, name: str) -> DeviceReport:
    """Multiply two matrices on a device and compare with NumPy in float64."""
    device = registry.Device(backend, name)
    draw = np.random.default_rng(0)
    a, b = (draw.standard_normal((SIDE, SIDE)).astype(np.float32) for _ in range(2))
    expected = a.astype(np.float64) @ b.astype(np.float64)
    try:
        memory = backend.memory(name)
        with backend.precision("ieee"):
            product = transfer.to_device(a, device) @ transfer.to_device(b, device)
            backend.synchronize(name)
            found = transfer.to_numpy(product)
    except Exception as error:
        return DeviceReport(str(device), problem=_said(error))
    scale = np.finfo(np.float32).eps * np.abs(expected).max()
    off = float(np.abs(found - expected).max() / scale)
    problem = (
        "" if off <= LARGEST_ERROR else f"a float32 product is off by {off:.0f} eps (at most {LARGEST_ERROR:.0f} expected)"
    )
    return DeviceReport(str(device), *(memory or (None, None)), error=off, problem=problem)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _versions() -> dict[str, str]:
    return {
        "mlpx": installed_version("mlpx") or "source tree",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "array-api-compat": installed_version("array-api-compat"),
    }


def _blas() -> list[dict[str, Any]]:
    """The thread pools in this process, where threadpoolctl can tell; else what NumPy was built with."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        built: Mapping[str, Any] = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index]
        return [{"name": built.get("name", ""), "version": built.get("version", "")}]
    return [
        {"name": pool["internal_api"], "version": pool["version"], "threads": pool["num_threads"]} for pool in threadpool_info()
    ]


def _environment(names: tuple[str, ...]) -> dict[str, str]:
    wanted: set[str] = set(_GENERAL_VARIABLES)
    for name in names:
        try:
            wanted.update(registry.find(name).environment)
        except Exception:  # noqa: S112 - a plug-in that breaks wants nothing; its own line says so
            continue
    return {name: os.environ[name] for name in sorted(wanted) if name in os.environ}


def render(report: Report, console: Console | None = None) -> None:
    """Show a report in the terminal."""
    from rich.console import Console
    from rich.table import Table

    screen = console or Console()
    screen.print("  ".join(f"[bold]{name}[/bold] {version}" for name, version in report.versions.items()), highlight=False)
    screen.print(report.system, highlight=False, markup=False)
    for blas in report.blas:
        screen.print("BLAS  " + ", ".join(f"{name} {value}" for name, value in blas.items()), highlight=False, markup=False)
    table = Table("backend", "version", "device", "memory free", "first product")
    for backend in report.backends:
        mark = "[green]✓[/green]" if backend.ok else "[red]✗[/red]"
        for row, device in enumerate(backend.devices or (DeviceReport(""),)):
            table.add_row(*((f"{mark} {backend.name}", backend.version) if row == 0 else ("", "")), *_cells(device))
    screen.print(table)
    for backend in report.backends:
        if backend.reason:
            screen.print(f"{backend.name}: {backend.reason}\n    → {backend.cure}", highlight=False, markup=False)
    for name, value in report.environment.items():
        screen.print(f"{name}={value}", highlight=False, markup=False)
    screen.print(f'device="auto" picks [bold]{report.auto}[/bold]', highlight=False)


def _cells(device: DeviceReport) -> tuple[str, str, str]:
    """A device as table cells."""
    from rich.markup import escape

    memory = (
        "" if device.free is None or device.total is None else f"{device.free / 2**30:.1f} of {device.total / 2**30:.1f} GiB"
    )
    product = escape(device.problem) or ("" if device.error is None else f"within {device.error:.1f} eps")
    return device.name, memory, f"[red]{product}[/red]" if device.problem else product
