"""Checkpoints of a training run: everything that is needed to go on as if nothing had happened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx import transfer
from mlpx.errors import CheckpointMismatchError
from mlpx.namespace import namespace_of
from mlpx.optim import LBFGS, LBFGSState
from mlpx.step import Batch
from mlpx.store.checkpoints import Checkpoints
from mlpx.train.callbacks import Callback
from mlpx.typing import Array

if TYPE_CHECKING:
    from mlpx.train.fit import Fit
    from mlpx.train.trainer import Trainer

FINGERPRINT_ROWS = 64


class Checkpointing(Callback):
    """Write a checkpoint every so many steps, when training is interrupted, and at its end.

    Parameters
    ----------
    folder : Path
    every : int, optional
        Steps between two checkpoints; by default only at interruption and end.
    """

    def __init__(self, folder: Path, every: int | None = None) -> None:
        self.folder = folder
        self.every = every
        self.on_step = every is not None
        self._checkpoints = Checkpoints(folder)

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        """Save if it is time; at the end of an epoch the epoch's row is waited for."""
        fit = running(trainer)
        if self.every is not None and step % self.every == 0 and fit.rows_done < fit.rows:
            self.save(fit)

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        """Save if the epoch's last step was due."""
        del row
        fit = running(trainer)
        if self.every is not None and fit.steps_done % self.every == 0:
            self.save(fit)

    def on_interrupt(self, trainer: Trainer) -> None:
        """Save where training was interrupted."""
        self.save(running(trainer))
        self._checkpoints.close()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Save the end, so that a resumed run with more epochs goes on from it."""
        self.save(running(trainer))
        self._checkpoints.close()

    def save(self, fit: Fit) -> None:
        """Write the state of trainer, history and callbacks."""
        trainer = fit.trainer
        arrays = {f"state.{name}": transfer.to_numpy(array) for name, array in leaves(trainer.state)}
        for number, callback in enumerate(fit.callbacks):
            arrays |= {f"callback.{number}.{name}": array for name, array in callback.state().items()}
        arrays |= {f"history.{column}": np.asarray(trainer.history[column]) for column in trainer.history.columns}
        metadata = {
            "epoch": fit.epoch,
            "rows_done": fit.rows_done,
            "steps_done": fit.steps_done,
            "stopped": fit.stopped,
            "columns": list(trainer.history.columns),
            "of": identity(fit),
        }
        self._checkpoints.save(fit.steps_done, arrays, metadata)

    @staticmethod
    def resume(fit: Fit) -> None:
        """Put a run back to where the newest checkpoint in its folder is.

        Raises
        ------
        CheckpointNotFoundError
            If there is none.
        CheckpointMismatchError
            If it belongs to another network, optimizer, data set or setting: all differences are named.
        """
        assert fit.settings.checkpoint is not None  # Settings made sure
        with Checkpoints(fit.settings.checkpoint) as checkpoints:
            found = checkpoints.latest()
        _check_same(found.metadata["of"], identity(fit))
        trainer = fit.trainer
        saved = {name.removeprefix("state."): array for name, array in found.arrays.items() if name.startswith("state.")}
        trainer.state = rebuilt(_state_like(trainer, saved), saved, trainer)
        columns = found.metadata["columns"]
        values = zip(*(found.arrays[f"history.{column}"].tolist() for column in columns), strict=True)
        trainer.history.rows = [dict(zip(columns, row, strict=True)) for row in values]
        fit.epoch, fit.rows_done = found.metadata["epoch"], found.metadata["rows_done"]
        fit.steps_done = found.metadata["steps_done"]
        for number, callback in enumerate(fit.callbacks):
            prefix = f"callback.{number}."
            own = {name.removeprefix(prefix): array for name, array in found.arrays.items() if name.startswith(prefix)}
            callback.restore(own, trainer)


def running(trainer: Trainer) -> Fit:
    """The `fit` that a callback is called from."""
    assert trainer.running is not None  # callbacks are called by a Fit only
    return trainer.running


def leaves(state: Any, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """The arrays in nested NamedTuples, by path: "optimizer.m"."""
    if isinstance(state, tuple):
        names = getattr(state, "_fields", range(len(state)))
        for name, part in zip(names, state, strict=True):
            yield from leaves(part, f"{prefix}{name}.")
    else:
        yield prefix.removesuffix("."), state


def rebuilt(like: Any, saved: Mapping[str, np.ndarray], trainer: Trainer, prefix: str = "") -> Any:
    """Nested NamedTuples of the shape of `like`, with saved arrays on the trainer's device."""
    if isinstance(like, tuple):
        names = getattr(like, "_fields", range(len(like)))
        parts = [rebuilt(part, saved, trainer, f"{prefix}{name}.") for name, part in zip(names, like, strict=True)]
        return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)
    name = prefix.removesuffix(".")
    if name not in saved or saved[name].shape != tuple(like.shape):
        found = f"shape {saved[name].shape}" if name in saved else "nothing"
        raise CheckpointMismatchError(f"checkpoint: {name!r} should have shape {tuple(like.shape)}, it has {found}")
    return transfer.to_device(saved[name], trainer.device)


def identity(fit: Fit) -> dict[str, Any]:
    """What a checkpoint must agree with to be resumed, as JSON values."""
    trainer = fit.trainer
    return {
        "network": {name: list(shape) for name, shape in trainer.net.layout.shapes.items()},
        "optimizer": trainer.optimizer.config()["name"],
        "loss": trainer.loss.name,
        "dtype": trainer.dtype,
        "seed": trainer.seed,
        "batch_size": fit.settings.batch_size,
        "shuffle": fit.settings.shuffle,
        "data": fingerprint(fit.data),
    }


def fingerprint(data: Batch) -> str:
    """A digest of the shapes and of up to 64 evenly spaced rows of a data set."""
    digest = hashlib.sha256()
    n = data.x.shape[0]
    rows = sorted({i * (n - 1) // max(FINGERPRINT_ROWS - 1, 1) for i in range(FINGERPRINT_ROWS)})
    for part in data:
        if not isinstance(part, tuple):
            xp = namespace_of(part)
            taken = transfer.to_numpy(xp.take(part, xp.asarray(rows, dtype=xp.int32, device=part.device), axis=0))
            digest.update(f"{tuple(part.shape)} {taken.dtype}".encode() + taken.tobytes())
    return digest.hexdigest()


def _state_like(trainer: Trainer, saved: Mapping[str, np.ndarray]) -> Any:
    """A state of the structure that was saved: L-BFGS's own replaces the first one once it has begun."""
    state = trainer.state
    assert state is not None  # begin() placed it
    if isinstance(trainer.optimizer, LBFGS) and "optimizer.rho" in saved:
        searched = LBFGSState(*(saved[f"optimizer.{name}"] for name in LBFGSState._fields))
        state = state._replace(optimizer=searched)
    return state


def _check_same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    differences = [
        f"{name}: {found.get(name)!r} then, {value!r} now" for name, value in expected.items() if found.get(name) != value
    ]
    if differences:
        raise CheckpointMismatchError("the checkpoint is of another run: " + "; ".join(differences))
