"""Checkpoints of a training run: everything that is needed to go on as if nothing had happened."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx import transfer
from mlpx.errors import CheckpointMismatchError
from mlpx.namespace import namespace_of, placed_as
from mlpx.optim import LBFGS, LBFGSState
from mlpx.registry import Device
from mlpx.step import Batch, State
from mlpx.store.checkpoint_folder import Checkpoint
from mlpx.store.checkpoints import Checkpoints
from mlpx.train.callbacks import Callback
from mlpx.train.divergence import check_finite, diverged_at_and_finite
from mlpx.typing import Array

if TYPE_CHECKING:
    from mlpx.train.fit import Fit

FINGERPRINT_ROWS = 64


class Checkpointing:
    """Writes a checkpoint every so many steps, when training is interrupted, and at its end.

    Parameters
    ----------
    folder : Path
    every : int, optional
        Steps between two checkpoints; by default only at interruption and end.
    """

    def __init__(self, folder: Path, every: int | None = None) -> None:
        self.every = every
        self._checkpoints = Checkpoints(folder)

    def after_step(self, fit: Fit) -> None:
        """Save if it is time; at the end of an epoch the epoch's row is waited for."""
        if self._due(fit) and fit.rows_done < fit.rows:
            self.save(fit)

    def after_epoch(self, fit: Fit) -> None:
        """Save if the epoch's last step was due."""
        if self._due(fit):
            self.save(fit)

    def save(self, fit: Fit) -> None:
        """Write the state of trainer, history and callbacks.

        Raises
        ------
        DivergenceError
            If a parameter or loss is not finite: such a state is not kept.
        """
        trainer = fit.trainer
        check_finite(fit, *diverged_at_and_finite(fit.state))
        arrays = {f"state.{name}": transfer.to_numpy(array) for name, array in _leaves(fit.state)}
        for prefix, callback in _numbered(fit.settings.callbacks):
            arrays |= {prefix + name: array for name, array in callback.state().items()}
        arrays |= {f"history.{column}": np.asarray(trainer.history[column]) for column in trainer.history.columns}
        metadata = {
            "epoch": fit.epoch,
            "rows_done": fit.rows_done,
            "epochs_done": trainer.epochs_done,
            "columns": list(trainer.history.columns),
            "of": _identity(fit),
        }
        self._checkpoints.save(trainer.steps_done, arrays, metadata)

    def close(self) -> None:
        """Let others save into the folder."""
        self._checkpoints.close()

    def latest(self, fit: Fit) -> Checkpoint:
        """The newest checkpoint of this very run.

        Raises
        ------
        CheckpointNotFoundError
            If there is none.
        CheckpointMismatchError
            If it belongs to another network, optimizer, data set or setting: all differences are named.
        """
        with self._checkpoints as checkpoints:
            found = checkpoints.latest()
        then, now = found.metadata.get("of", {}), _identity(fit)
        wrong = [f"{name}: {then.get(name)!r} then, {value!r} now" for name, value in now.items() if then.get(name) != value]
        if wrong:
            raise CheckpointMismatchError("the checkpoint is of another run: " + "; ".join(wrong))
        return found

    def _due(self, fit: Fit) -> bool:
        return self.every is not None and fit.trainer.steps_done % self.every == 0


def saved_state(found: Checkpoint, like: State, device: Device) -> State:
    """The state in a checkpoint, on a device; `like` is a state of the same training.

    Raises
    ------
    CheckpointMismatchError
        If an array is missing or has another shape or dtype.
    """
    saved = {name.removeprefix("state."): array for name, array in found.arrays.items() if name.startswith("state.")}
    if "optimizer.rho" in saved:  # L-BFGS's own state replaces the first one once it has begun
        searched: Any = [saved[f"optimizer.{name}"] for name in LBFGSState._fields]
        like = like._replace(optimizer=LBFGSState(*searched))
    return _rebuilt(like, saved, device)


def restore(fit: Fit, found: Checkpoint) -> None:
    """Put history, counters and callbacks to where the checkpoint's are."""
    trainer, columns = fit.trainer, found.metadata["columns"]
    values = zip(*(found.arrays[f"history.{column}"].tolist() for column in columns), strict=True)
    trainer.history.rows = [dict(zip(columns, row, strict=True)) for row in values]
    trainer.epochs_done = found.metadata["epochs_done"]
    fit.epoch, fit.rows_done = found.metadata["epoch"], found.metadata["rows_done"]
    for prefix, callback in _numbered(fit.settings.callbacks):
        own = {name.removeprefix(prefix): array for name, array in found.arrays.items() if name.startswith(prefix)}
        callback.restore(own, trainer)


def _numbered(callbacks: tuple[Callback, ...]) -> Iterator[tuple[str, Callback]]:
    """Every callback with the prefix of its arrays: its class, and how many of that class came before."""
    seen: Counter[str] = Counter()
    for callback in callbacks:
        kind = type(callback).__name__
        yield f"callback.{kind}.{seen[kind]}.", callback
        seen[kind] += 1


def _leaves(state: Any, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """The arrays in nested NamedTuples, by path: "optimizer.m"."""
    if isinstance(state, tuple):
        names = getattr(state, "_fields", range(len(state)))
        for name, part in zip(names, state, strict=True):
            yield from _leaves(part, f"{prefix}{name}.")
    else:
        yield prefix.removesuffix("."), state


def _rebuilt(like: Any, saved: Mapping[str, np.ndarray], device: Device, prefix: str = "") -> Any:
    """Nested NamedTuples of the shape of `like`, with saved arrays on the device."""
    if isinstance(like, tuple):
        names = getattr(like, "_fields", range(len(like)))
        parts = [_rebuilt(part, saved, device, f"{prefix}{name}.") for name, part in zip(names, like, strict=True)]
        return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)
    name = prefix.removesuffix(".")
    if name not in saved or saved[name].shape != tuple(like.shape):
        found = f"shape {saved[name].shape}" if name in saved else "nothing"
        raise CheckpointMismatchError(f"checkpoint: {name!r} should have shape {tuple(like.shape)}, it has {found}")
    return transfer.to_device(saved[name], device)


def _identity(fit: Fit) -> dict[str, Any]:
    """What decides the numbers of a run, as JSON values: a checkpoint must agree with it to be resumed."""
    told = fit.trainer.settings
    return {
        "network": repr(told.net),
        "shapes": {name: list(shape) for name, shape in told.net.layout.shapes.items()},
        "loss": repr(told.loss),
        "optimizer": told.optimizer.config(),
        "dtype": told.dtype,
        "precision": told.precision,
        "seed": told.seed,
        "l2": told.l2,
        "clip_norm": told.clip_norm,
        "clip_value": told.clip_value,
        "ema": told.ema,
        "batch_size": None if isinstance(told.optimizer, LBFGS) else fit.settings.batch_size,
        "shuffle": fit.settings.shuffle,
        "data": _fingerprint(fit.data),
    }


def _fingerprint(data: Batch) -> str:
    """A digest of the shapes and of up to 64 evenly spaced rows of a data set, weights included."""
    digest = hashlib.sha256()
    n = data.x.shape[0]
    rows = sorted({i * (n - 1) // max(FINGERPRINT_ROWS - 1, 1) for i in range(FINGERPRINT_ROWS)})
    for part in data:
        if not isinstance(part, tuple):
            xp = namespace_of(part)
            taken = transfer.to_numpy(xp.take(part, xp.asarray(rows, dtype=xp.int32, **placed_as(part)), axis=0))
            digest.update(f"{tuple(part.shape)} {taken.dtype}".encode() + taken.tobytes())
    return digest.hexdigest()
