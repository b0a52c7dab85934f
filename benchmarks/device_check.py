"""Does mlpx compute rightly on this machine's device, and how fast? Sections of checks, each in a process of its own.

    python benchmarks/device_check.py                     # the best device here
    python benchmarks/device_check.py --device cupy:0     # or "numpy", "torch:cpu", "jax:cpu", "strict:device1", …
    python benchmarks/device_check.py --device numpy --tiny

Every section has its own time limit. One that fails, crashes or hangs does not stop the others, and the result file is
written anew after each of them. Needs a source tree and what mlpx needs; peers that are missing are said to be skipped.
The exit status is 1 if a section found something wrong, crashed or ran out of time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "backends"), str(ROOT / "benchmarks")]

from sections.record import Record, write_json  # noqa: E402 - the line above is what makes it importable

LIMITS = {"environment": 60, "random_bits": 40, "transfers": 60, "training": 90, "memory": 30, "timing": 80, "matrix": 150}
"""Seconds a section may take, in the order in which they run: the longest comes last, so that a shortage of time hits it."""

TOTAL = 520
"""Seconds after which nothing is waited for any more."""

MATRIX_GRACE = 30
"""Seconds that the matrix may take above its limit where the sections before it left them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections asked for, write the result file, print the table."""
    options = parsed(arguments)
    if options.record is not None:
        import_module("mlpx.testing")  # array-api-strict is a device once this is imported
        import_module(f"sections.{options.section[0]}").run(options.device, options.tiny, Record(options.record))
        return 0
    started = time.monotonic()
    result: dict[str, Any] = {
        "schema": 1,
        "device": options.device,
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit(),
        "tiny": options.tiny,
        "threads": options.threads,
        "sections": {},
    }
    unusable = ""
    chosen = [name for name in LIMITS if name in (options.section or LIMITS)]
    for name in chosen:
        left = options.total - (time.monotonic() - started)
        limit = min(left, LIMITS[name] * options.patience + (MATRIX_GRACE if name == "matrix" else 0))
        said = out_of_reach(unusable) if unusable else section(name, result["device"], limit, options)
        result["sections"][name] = said
        if name == "environment":
            result["device"] = said["facts"].pop("device", result["device"])
            result["machine"] = said["facts"].pop("machine", {})
            result["versions"] = said["facts"].pop("versions", {})
            unusable = said["facts"].get("unusable", "")
        result["seconds"] = round(time.monotonic() - started, 1)
        write_json(path_of(options.out, result), result)
        print(f"{name}: {said['status']} after {said['seconds']} s", flush=True)
    print("\n" + table(result) + f"\n{path_of(options.out, result)}")
    return int(any(said["status"] not in ("passed", "skipped") for said in result["sections"].values()))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="auto", help='as mlpx.device takes it (default "auto")')
    parser.add_argument("--tiny", action="store_true", help="small sizes: shows that everything runs, in under two minutes")
    parser.add_argument("--section", action="append", choices=list(LIMITS), help="only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the result file")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of every CPU library (default: the usable cores)")
    parser.add_argument("--total", type=float, default=TOTAL, help="seconds for everything")
    parser.add_argument("--patience", type=float, default=1.0, help="factor on the sections' time limits")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)  # given by this script to its own child processes
    return parser.parse_args(arguments)


def section(name: str, device: str, limit: float, options: argparse.Namespace) -> dict[str, Any]:
    """Run a section in a new process and say how it ended; what it had recorded when it was stopped is kept."""
    said: dict[str, Any] = {"failures": [], "facts": {}, "headline": "", "skipped": ""}
    if limit < 1:
        return {"status": "timed out", "seconds": 0.0, "limit": 0, **said, "failures": ["no time was left"]}
    with tempfile.TemporaryDirectory() as folder:
        record, output = Path(folder) / "record.json", Path(folder) / "output.txt"
        arguments = ["--section", name, "--device", device, "--record", str(record), *["--tiny"] * options.tiny]
        started = time.monotonic()
        with output.open("w") as sink:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=environment(options.threads),
                start_new_session=True,
            )
            status = waited(process, limit)
        seconds = round(time.monotonic() - started, 1)
        if record.exists():
            said |= json.loads(record.read_text(encoding="utf-8"))
        if status != 0:
            tail = without_places("\n".join(output.read_text(errors="replace").strip().splitlines()[-12:]))
            said["failures"].append("ran out of time" if status is None else f"ended with status {status}: {tail}")
    skipped = said.pop("skipped")
    ended = "timed out" if status is None else "failed" if said["failures"] else "skipped" if skipped else "passed"
    return {"status": ended, "seconds": seconds, "limit": round(limit), **({"reason": skipped} if skipped else {}), **said}


def out_of_reach(reason: str) -> dict[str, Any]:
    """What is said of a section where there is no such device."""
    return {"status": "skipped", "seconds": 0.0, "limit": 0, "reason": f"skipped: {reason}", "failures": [], "facts": {}}


def waited(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """Exit status of a process, or None after the limit, when it and its children have been ended."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        return None


def environment(threads: int) -> dict[str, str]:
    """Variables of a section's process: one number of threads for all, float64 in JAX, no library takes the whole GPU."""
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(pools, str(threads)),
        "JAX_ENABLE_X64": "1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONFAULTHANDLER": "1",
    }


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit() -> str:
    """The commit this tree is at, with "+" where it was changed since; empty where git cannot tell."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()


def path_of(folder: Path, result: dict[str, Any]) -> Path:
    """Where the result goes: named after device and day."""
    device = re.sub(r"[^\w.]+", "-", result["device"])
    return folder / f"device-{device}-{result['date'][:10]}{'-tiny' if result['tiny'] else ''}.json"


def without_places(text: str) -> str:
    """A message without the folders of this machine."""
    return text.replace(f"{ROOT}{os.sep}", "").replace(str(Path(sys.prefix)), "<python>").replace(str(Path.home()), "~")


def table(result: dict[str, Any]) -> str:
    """The result in a few lines: each section, then what failed."""
    where = result["commit"][:12] + " and changes since" * result["commit"].endswith("+")
    lines = [f"mlpx on {result['device']}, commit {where or 'unknown'}, {result['seconds']} s"]
    for name, said in result["sections"].items():
        first = (said.get("reason") or said.get("headline", "")).partition("\n")
        lines.append(f"{name:<12} {said['status']:<9} {said['seconds']:>6.1f} s  {first[0]}")
        lines += [" " * 33 + line for line in first[2].splitlines()]
    for name, said in result["sections"].items():
        lines += [f"FAILED in {name}: {failure}" for failure in said["failures"][:8]]
        if len(said["failures"]) > 8:
            lines.append(f"FAILED in {name}: and {len(said['failures']) - 8} more, see the file")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
