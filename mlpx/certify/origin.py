"""When, where and with what a certificate was made."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mlpx import registry
from mlpx.machine import installed_version


def origin(backends: Iterable[str]) -> dict[str, Any]:
    """Versions, machine and environment, as JSON values."""
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlpx": installed_version("mlpx") or "source tree",
        "commit": commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "array-api-compat": installed_version("array-api-compat"),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": processor(),
        "environment": _environment(backends),
    }


def commit() -> str | None:
    """Commit of the source tree that mlpx runs from, "+" behind it if files differ; None where there is no such tree."""
    tree = Path(__file__).parents[2]
    if not (tree / ".git").exists():
        return None
    try:
        head = _git(tree, "rev-parse", "HEAD")
        return head + ("+" if _git(tree, "status", "--porcelain", "--untracked-files=no", "mlpx", "backends") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(tree: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(tree), *arguments], capture_output=True, text=True, timeout=10, check=True, stdin=subprocess.DEVNULL
    )
    return done.stdout.strip()


def processor() -> str:
    """Model of the CPU, as far as the system tells, and how many threads it runs."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(models, "") or platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} logical CPUs"


def _environment(backends: Iterable[str]) -> dict[str, str]:
    """Those variables that change what these backends compute, and are set."""
    wanted: set[str] = set()
    for name in backends:
        try:
            wanted.update(registry.find(name).environment)
        except Exception:  # noqa: S112 - a plug-in that breaks wants nothing; its own line says so
            continue
    return {name: os.environ[name] for name in sorted(wanted) if name in os.environ}
