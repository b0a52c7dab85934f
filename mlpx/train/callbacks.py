"""What can watch training and stop it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlpx import transfer
from mlpx.arguments import real_number, whole_number
from mlpx.errors import ConfigError
from mlpx.train import metrics
from mlpx.train.metrics import Metric
from mlpx.typing import Array

if TYPE_CHECKING:
    from mlpx.train.trainer import Trainer


class Callback:
    """Watches training; override what is of interest, call `trainer.stop(reason)` to end it after the current step.

    Attributes
    ----------
    on_step : bool
        Whether `on_step_end` is to be called; leave it false where it is not needed.
    """

    on_step = False

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        """After a step, counted from 1 over all calls of `fit`.

        `trainer.state` holds arrays on the device: reading one waits for it, and the next step may overwrite them.
        `trainer.params` is a copy, to keep.
        """

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        """After an epoch, with its row of the history."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when training was stopped; not after an error or an interruption."""

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that a checkpoint must hold for this callback to go on where it was."""
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray], trainer: Trainer) -> None:
        """Go on from arrays that `state` returned, and from `trainer.history`; before `on_fit_begin`."""


class Tolerance(Callback):
    """Stop when the loss changes by less than `tolerance` between two epochs.

    With batch gradient descent an epoch is an iteration, and this is the lecture's first stopping criterion; its second, a
    limit of iterations, is `epochs`.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = real_number("tolerance", tolerance, 0)

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        """Compare with the epoch before."""
        del row
        self._judge(trainer)

    def restore(self, arrays: Mapping[str, np.ndarray], trainer: Trainer) -> None:
        """Nothing but the history counts."""
        del arrays
        self._judge(trainer)

    def _judge(self, trainer: Trainer) -> None:
        losses = [row["loss"] for row in trainer.history.rows]
        if len(losses) > 1 and abs(losses[-1] - losses[-2]) < self.tolerance:
            trainer.stop(f"the loss changed by less than {self.tolerance:g}")


class EarlyStopping(Callback):
    """Stop when a monitored column has not improved for `patience` epochs, and restore the best parameters.

    Parameters
    ----------
    monitor : str
        A column of the history.
    patience : int
        Epochs without improvement that are waited for.
    min_delta : float
        A smaller change is no improvement.
    restore_best : bool
        Whether the parameters of the best epoch are put back at the end.

    Notes
    -----
    A value that is not finite is never the best.
    """

    def __init__(
        self, monitor: str = "validation_loss", patience: int = 10, min_delta: float = 0.0, *, restore_best: bool = True
    ) -> None:
        self.monitor = monitor
        self.patience = whole_number("patience", patience)
        self.min_delta = real_number("min_delta", min_delta, 0)
        self.restore_best = restore_best
        self._best: tuple[Array, Array] | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Forget an earlier training run, unless it is being resumed."""
        if not len(trainer.history):
            self._best = None

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        """Remember the parameters if this was the best epoch; stop if patience is out."""
        if self.monitor not in row:
            columns = ", ".join(row)
            raise ConfigError(f"EarlyStopping monitors {self.monitor!r}; this history has {columns}; pass validation=(x, y)")
        if self._waited(trainer) == 0 and self.restore_best:
            self._best = trainer.copy_of_weights()
        self._judge(trainer)

    def _waited(self, trainer: Trainer) -> int:
        """Epochs since the best one, or since the start if none was; a function of the history, so a resumed run agrees."""
        sign = -1.0 if better_when_higher(self.monitor, trainer.metrics) else 1.0
        best, found = math.inf, -1
        for epoch, row in enumerate(trainer.history.rows):
            value = sign * row.get(self.monitor, math.nan)
            if math.isfinite(value) and value < best - (self.min_delta if found >= 0 else 0.0):
                best, found = value, epoch
        return len(trainer.history) - 1 - found

    def _judge(self, trainer: Trainer) -> None:
        if self._waited(trainer) >= self.patience:
            trainer.stop(f"{self.monitor} has not improved for {self.patience} epochs")

    def on_fit_end(self, trainer: Trainer) -> None:
        """Put the best parameters back."""
        if self.restore_best and self._best is not None:
            trainer.set_weights(*self._best)

    def state(self) -> dict[str, np.ndarray]:
        """The best parameters and buffers."""
        if self._best is None:
            return {}
        return {name: transfer.to_numpy(array) for name, array in zip(("params", "buffers"), self._best, strict=True)}

    def restore(self, arrays: Mapping[str, np.ndarray], trainer: Trainer) -> None:
        """The best parameters and buffers; patience may be out already."""
        self._best = None
        if arrays:
            params, buffers = (transfer.to_device(arrays[name], trainer.device) for name in ("params", "buffers"))
            self._best = params, buffers
        self._judge(trainer)


def better_when_higher(column: str, measured: Sequence[Metric] = ()) -> bool:
    """Whether a column of the history is better when it is higher: an accuracy is, a loss is not.

    Parameters
    ----------
    column : str
    measured : sequence of Metric
        Those of the trainer, where there may be some of the user's own.
    """
    name = column.removeprefix("validation_")
    own = [metric.better for metric in measured if metric.name == name]
    if not own and metrics.is_named(name):
        own = [metrics.get(name).better]
    return own == ["higher"]
