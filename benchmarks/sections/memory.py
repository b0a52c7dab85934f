"""Memory of the device: none is lost over many steps, what cannot fit is refused, and training goes on after that."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np

import mlpx
from mlpx import layers, optim
from mlpx.errors import ResourceLimitError
from mlpx.registry import Device
from sections.places import is_gpu
from sections.record import Record

WARM, LONG = 30, 300
ALLOWED = 8 * 2**20
"""Bytes by which memory may have grown between step WARM and step LONG: one kept gradient a step would be 100 times that."""


def run(device: str, tiny: bool, record: Record) -> None:
    """Train, look, train on, look again."""
    where = mlpx.device(device)
    width = 256 if tiny else 1024
    trainer, data = trainer_of(where, width)
    trainer.fit(*data, epochs=WARM, batch_size=None, progress=False)
    before = used(where)
    trainer.fit(*data, epochs=LONG, batch_size=None, progress=False)
    after = used(where)
    record.note(parameters=trainer.params.size, used_after_warm_up=before, used_at_end=after, steps=LONG)
    grown, mib = max(0, after - before), 2**20
    record.check(grown <= ALLOWED, f"{grown / mib:.1f} MiB more after {LONG} steps, allowed are {ALLOWED / mib:.0f}")
    refused(where, record)
    if is_gpu(where):
        exhausted(where, record)
    with record.failing("training after that"):
        trainer.fit(*data, epochs=2, batch_size=None, progress=False)
    grows = f"{grown / mib:.1f} MiB more after {LONG} steps of {trainer.params.size:,} parameters"
    record.headline(f"{grows}; what cannot fit is refused")


def trainer_of(where: Device, width: int) -> tuple[mlpx.Trainer, tuple[np.ndarray, np.ndarray]]:
    """A network of some million parameters and data for it."""
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((64, width)).astype(np.float32), draw.integers(0, 10, 64)
    net = mlpx.Sequential(layers.Dense(width, width, "relu"), layers.Dropout(0.1), layers.Dense(width, 10))
    return mlpx.Trainer(net, optimizer=optim.Adam(1e-4), device=where), (x, y)


def used(where: Device) -> int:
    """Bytes in use: of a GPU as its driver counts, of the host what this process holds."""
    gc.collect()
    where.backend.synchronize(where.name)
    memory = where.backend.memory(where.name)
    if memory is not None and is_gpu(where):
        return memory.total - memory.free
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def refused(where: Device, record: Record) -> None:
    """A network whose parameters cannot fit is refused before anything is allocated."""
    memory = where.backend.memory(where.name)
    if memory is None:
        record.note(refusal="skipped: the library does not say how much memory there is")
        return
    rows = memory.total // (4 * 65_536) + 1
    try:
        mlpx.Sequential(layers.Dense(65_536, rows)).init(device=where)
    except ResourceLimitError as error:
        record.note(refusal=str(error))
    else:
        record.fail("a network larger than the device's memory was not refused")


def exhausted(where: Device, record: Record) -> None:
    """Ask a GPU for twice its memory: an error, after which everything is as before."""
    memory = where.backend.memory(where.name)
    assert memory is not None  # a GPU says
    xp: Any = where.namespace
    try:
        with_too_much = xp.zeros((2 * memory.total,), dtype=xp.uint8, device=where.native)
    except Exception as error:
        record.note(exhaustion=f"{type(error).__name__}: {str(error)[:200]}")
    else:
        record.fail(f"{with_too_much.shape[0]} bytes were allocated on a device of {memory.total}")
