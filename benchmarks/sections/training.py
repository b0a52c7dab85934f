"""Whole training runs on the device: float64 losses step by step against NumPy's, same bits twice, and a saved model."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import mlpx
from mlpx.registry import Device
from mlpx.train import Callback
from sections.record import Record
from sections.workloads import WORKLOADS, Workload, classifier, digits

LEAST_ACCURACY = 0.9
"""Of the float32 classifier on rows it has not seen: chance is 0.1, a classifier that learns has above 0.95."""


class Losses(Callback):
    """The epoch's summed loss after every step."""

    on_step = True

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_step_end(self, trainer: mlpx.Trainer, step: int) -> None:
        """Read the sum from the device."""
        del step
        assert trainer.state is not None  # there has been a step
        self.seen.append(float(mlpx.to_numpy(trainer.state.totals.loss)))


def run(device: str, tiny: bool, record: Record) -> None:
    """Every workload in float64, then the classifier in float32."""
    where = mlpx.device(device)
    runs: dict[str, Any] = {}
    for workload in WORKLOADS:
        with record.failing(workload.name):
            runs[workload.name] = compared(workload, where, record)
            record.note(runs=runs)
    with record.failing("float32"):
        record.note(float32=learned(where, 3 if tiny else 20, record))
    worst = max((one["difference"] for name, one in runs.items() if "L-BFGS" not in name), default=float("nan"))
    record.headline(f"{len(runs)} networks trained; float64 losses of 50 steps within {worst:.1e} of NumPy's")


def compared(workload: Workload, where: Device, record: Record) -> dict[str, Any]:
    """Train on NumPy, and twice on the device."""
    expected, _ = trained(workload, "numpy")
    found, first = trained(workload, where)
    again, second = trained(workload, where)
    difference = float(np.max(np.abs(np.subtract(found, expected)) / np.abs(expected)))
    record.check(
        len(found) == len(expected) and difference <= workload.tolerance,
        f"{workload.name}: losses are off by {difference:.2e} relative, allowed is {workload.tolerance:.0e}",
    )
    weights = [mlpx.to_numpy(trainer.params.flat) for trainer in (first, second)]
    record.check(found == again and weights[0].tobytes() == weights[1].tobytes(), f"{workload.name}: a second run differs")
    reloaded(workload, first, record)
    return {"steps": len(found), "difference": difference, "first_loss": found[0], "last_loss": first.history["loss"][-1]}


def trained(workload: Workload, device: str | Device) -> tuple[list[float], mlpx.Trainer]:
    """Losses after every step (after every epoch where an epoch is one), and the trainer."""
    losses = Losses()
    x, y = workload.data()
    trainer = mlpx.Trainer(workload.net(), device=device, dtype="float64", seed=0, **workload.trainer)
    history = trainer.fit(x, y, callbacks=[losses], progress=False, **workload.fit)
    whole = workload.fit["batch_size"] is None
    return (list(history["loss"]) if whole else losses.seen), trainer


def reloaded(workload: Workload, trainer: mlpx.Trainer, record: Record) -> None:
    """What the device predicts, a saved copy predicts on NumPy."""
    x, _ = workload.data()
    with tempfile.TemporaryDirectory() as folder:
        trainer.save(Path(folder) / "model.safetensors")
        copy = mlpx.load(Path(folder) / "model.safetensors", device="numpy")
    ours, theirs = mlpx.to_numpy(copy.predict(x)), mlpx.to_numpy(trainer.predict(x))
    off = float(np.max(np.abs(ours - theirs)) / np.max(np.abs(ours)))
    record.check(off <= 1e-12, f"{workload.name}: the saved model predicts otherwise on NumPy, by {off:.2e} relative")


def learned(where: Device, epochs: int, record: Record) -> dict[str, Any]:
    """Accuracy and seconds of the float32 classifier, on the device and on NumPy."""
    x, y = digits()
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order]
    said: dict[str, Any] = {"rows": len(x), "epochs": epochs}
    for device in (str(where), "numpy"):
        trainer = mlpx.Trainer(classifier(), device=device, seed=0)
        trainer.fit(x[:300], y[:300], epochs=1, progress=False)  # compiles, where something is compiled
        trainer = mlpx.Trainer(classifier(), device=device, seed=0)
        started = time.perf_counter()
        history = trainer.fit(x[300:], y[300:], epochs=epochs, progress=False)
        seconds = time.perf_counter() - started
        accuracy = trainer.evaluate(x[:300], y[:300])["accuracy"]
        said[device] = {"accuracy": accuracy, "loss": history["loss"][-1], "seconds": round(seconds, 3)}
        record.check(accuracy >= LEAST_ACCURACY, f"float32 on {device}: accuracy is {accuracy:.3f}")
    return said
