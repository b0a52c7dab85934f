"""One backend in a process of its own: a library that crashes, hangs or takes all of a GPU's memory spoils only its lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from mlpx.certify.record import SECTIONS, Check, DeviceRecord

SECONDS = 900.0
"""Given to a backend, all its devices together."""
_CHILD = "import sys; from mlpx.certify.processes import answer; answer(*sys.argv[1:])"
_ENVIRONMENT = {
    "JAX_ENABLE_X64": "1",  # float64 is a dtype the library has, if it is asked before its first use
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several libraries use one GPU at a time
}


def certified_elsewhere(
    name: str, devices: Iterable[str] | None, sections: tuple[str, ...] = SECTIONS, seconds: float = SECONDS
) -> tuple[DeviceRecord, ...]:
    """The records of a backend's devices from a new process; a failed one if that process does not deliver."""
    environment = {**_ENVIRONMENT, **os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    with tempfile.TemporaryDirectory(prefix="mlpx-certify-") as folder:
        file = Path(folder) / "records.json"
        question = json.dumps({"name": name, "devices": devices and list(devices), "sections": sections})
        try:
            done = subprocess.run(
                [sys.executable, "-c", _CHILD, question, str(file)],
                capture_output=True,
                text=True,
                timeout=seconds,
                env=environment,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return (_undelivered(name, f"was given up: {error}"),)
        if done.returncode or not file.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return (_undelivered(name, f"ended with status {done.returncode}: {last[:500]}"),)
        return tuple(DeviceRecord.from_dict(record) for record in json.loads(file.read_text(encoding="utf-8")))


def answer(question: str, file: str) -> None:
    """Write to a file what `certified_elsewhere` asks a process of its own."""
    from mlpx.certify.certification import certify_backend  # which starts such processes

    asked = json.loads(question)
    records = certify_backend(asked["name"], asked["devices"], tuple(asked["sections"]))
    Path(file).write_text(json.dumps([asdict(record) for record in records]), encoding="utf-8")


def _undelivered(name: str, what: str) -> DeviceRecord:
    """The record of a backend whose process did not come to an end."""
    check = Check(SECTIONS[0], "all of it", "conduct", "", "", False, detail=f"the process that certifies {name} {what}")
    return DeviceRecord(device=name, backend=name, checks=(check,))
