"""What this machine offers: whether a library can be imported, and how much memory is free."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from pathlib import Path
from typing import NamedTuple


class Availability(NamedTuple):
    """Whether a backend can work here; if not, why, and what to do about it."""

    ok: bool
    reason: str = ""
    cure: str = ""


class Memory(NamedTuple):
    """Memory of a device, in bytes."""

    free: int
    total: int


def importable(library: str, *, cure: str, minimum: str = "") -> Availability:
    """Say whether a library can be imported, importing it only when it is there and recent enough.

    Parameters
    ----------
    library : str
        Name of both the module and the distribution.
    cure : str
        What to run where it is missing or too old.
    minimum : str
        Oldest version that will do, such as "2.6".

    Returns
    -------
    availability : Availability
        A library that is installed but fails to import is an answer too, whatever it raised.
    """
    if not module_installed(library):
        return Availability(False, f"{library} is not installed", cure)
    found = installed_version(library)
    if found and minimum and release(found) < release(minimum):
        return Availability(False, f"{library} {found} is older than {minimum}", cure)
    return imports_cleanly(library, cure)


def imports_cleanly(library: str, cure: str) -> Availability:
    """Import a library that is installed; a broken installation is an answer, whatever it raised."""
    try:
        importlib.import_module(library)
    except Exception as error:
        said = " ".join(str(error).split())[:200] or "no message"
        return Availability(
            False, f"{library} is installed but does not import ({type(error).__name__}: {said})", f"reinstall it: {cure}"
        )
    return Availability(True)


def module_installed(library: str) -> bool:
    """Whether a top-level module is there, told without importing it; folders that an uninstall left behind do not count."""
    try:
        spec = importlib.util.find_spec(library)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def installed_version(distribution: str) -> str:
    """Version of an installed distribution, or an empty string."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and seldom needed

    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def release(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.13.0+cpu" gives (2, 13, 0)."""
    numbers = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(number) for number in numbers.group().split(".")) if numbers else ()


def host_memory() -> Memory | None:
    """Memory that a process may still take, and that there is, a container's limit included; None where it cannot be told."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    free = _reclaimable()
    if free is None:
        return None
    limit, used = _container_limit()
    if limit is not None and limit < total:
        return Memory(max(0, min(free, limit - used)), limit)
    return Memory(free, total)


def _reclaimable() -> int | None:
    """Bytes the kernel can hand out without swapping: page cache counts as free."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return None if found is None else 1024 * int(found.group(1))


def _container_limit(folder: Path = Path("/sys/fs/cgroup")) -> tuple[int | None, int]:
    """Memory limit of this process's control group (version 2) and what of it cannot be reclaimed."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        cache = re.search(r"^inactive_file (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None, 0
    return limit, used - (int(cache.group(1)) if cache else 0)
