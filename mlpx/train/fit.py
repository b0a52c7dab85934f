"""One call of `Trainer.fit`: its settings, its data on the device, its epochs."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx import optim, random, transfer
from mlpx.arguments import real_number
from mlpx.errors import ConfigError
from mlpx.namespace import constant, namespace_of
from mlpx.optim import LBFGS
from mlpx.registry import Device
from mlpx.step import Batch, Epoch, State, empty_totals, epoch_step, training_step
from mlpx.train import inputs
from mlpx.train.callbacks import Callback
from mlpx.train.checkpointing import Checkpointing
from mlpx.train.divergence import check_finite, out_of_memory
from mlpx.train.full_batch import FullBatch
from mlpx.train.history import History
from mlpx.train.interrupt import Interrupt
from mlpx.train.model import warn_of_nan
from mlpx.train.progress import Progress
from mlpx.train.settings import FitSettings
from mlpx.typing import Array

if TYPE_CHECKING:
    from mlpx.train.trainer import Trainer


class CompiledSteps:
    """The training steps of a Trainer, compiled once for every batch size that occurs."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._steps: dict[int | None, Callable[..., Any]] = {}

    def get(self, rows: int | None, example: tuple[State, Any]) -> Callable[..., Any]:
        """The step for batches of `rows` rows taken from an epoch, or for the whole data at once (None)."""
        if rows not in self._steps:
            step = training_step(self._trainer.objective, self._trainer.descent)
            step = step if rows is None else epoch_step(step, rows)
            self._steps[rows] = self._trainer.device.backend.compile(step, example)
        return self._steps[rows]


@dataclass
class Fit:
    """A run over epochs: what is fixed (trainer, data, settings) and where it stands."""

    trainer: Trainer
    data: Batch
    validation: Batch | None
    settings: FitSettings
    callbacks: tuple[Callback, ...]
    epoch: int = 0
    rows_done: int = 0
    steps_done: int = 0
    stopped: str = ""
    good: tuple[Array, Array] | None = None

    @property
    def rows(self) -> int:
        """Rows in the training data."""
        return self.data.x.shape[0]

    @property
    def batch_rows(self) -> int:
        """Rows of a full step."""
        return self.rows if self.settings.batch_size is None else min(self.settings.batch_size, self.rows)

    def stop(self, reason: str) -> None:
        """End after the current step."""
        self.stopped = self.stopped or reason

    def run(self) -> None:
        """All epochs, or as many as it takes until something stops them."""
        trainer = self.trainer
        with Progress(self.settings.epochs, self.settings.progress) as progress, Interrupt() as interrupt:
            self._call("on_fit_begin", trainer)
            progress.note("first step")
            try:
                with trainer.device.backend.precision(trainer.precision):
                    self.run_epochs(progress, interrupt)
            except (KeyboardInterrupt, SystemExit):
                trainer.history.stopped = "interrupted"
                self._call("on_interrupt", trainer)
                raise
            trainer.history.stopped = self.stopped or f"the limit of {self.settings.epochs} epochs"
            self._call("on_fit_end", trainer)

    def run_epochs(self, progress: Progress, interrupt: Interrupt) -> None:
        """Epoch after epoch; one that is stopped half-way is not recorded in the history."""
        run_epoch = FullBatch(self).run_epoch if isinstance(self.trainer.optimizer, LBFGS) else self.run_epoch
        while self.epoch < self.settings.epochs and not self.stopped:
            started = time.perf_counter()
            run_epoch(interrupt)
            if self.rows_done == self.rows:
                self.end_epoch(time.perf_counter() - started, progress)

    def run_epoch(self, interrupt: Interrupt) -> None:
        """Every row once, in steps."""
        trainer = self.trainer
        epoch = self._begin_epoch()
        self.good = trainer.copy_of_weights()
        while self.rows_done < self.rows and not self.stopped:
            rows = min(self.batch_rows, self.rows - self.rows_done)
            whole = rows == self.rows
            assert trainer.state is not None  # begin() placed it
            batch = self.data if whole else epoch
            step = trainer.steps.get(None if whole else rows, (trainer.state, batch))
            with out_of_memory(rows):
                trainer.state, _ = step(trainer.state, batch)
            self.rows_done += rows
            self.steps_done += 1
            self.after_step()
            interrupt.act()

    def after_step(self) -> None:
        """Tell the callbacks that want to know."""
        for callback in self.callbacks:
            if callback.on_step:
                with _noted(callback, self.steps_done):
                    callback.on_step_end(self.trainer, self.steps_done)

    def end_epoch(self, seconds: float, progress: Progress) -> None:
        """Read what the epoch summed up, once; measure the validation rows; tell the callbacks."""
        trainer = self.trainer
        row = {"epoch": float(self.epoch + 1), **self._read()}
        row["seconds"] = seconds
        self.epoch, self.rows_done = self.epoch + 1, 0
        trainer.history.append(row)
        warn_of_nan(row)
        self._set_rate_scale()
        self._call("on_epoch_end", trainer, row)
        progress.show(row, self.epoch)

    def order_key(self) -> np.ndarray:
        """The random key of this epoch's row order."""
        return random.fold_in(random.fold_in(random.key(self.trainer.seed), random.Purpose.SHUFFLE), self.epoch)

    def _begin_epoch(self) -> Epoch:
        """The epoch's order of rows; sums and cursor at zero unless the epoch is being resumed."""
        trainer = self.trainer
        xp = namespace_of(self.data.x)
        if self.settings.shuffle:
            order = random.permutation(self.order_key(), self.rows, device=trainer.device)
        else:
            order = xp.arange(self.rows, dtype=xp.int32, device=trainer.device.native)
        state = trainer.state
        assert state is not None  # begin() placed it
        if self.rows_done == 0:
            cursor = constant(0, state.step, dtype=xp.int32)
            trainer.state = state._replace(totals=empty_totals(state.params), cursor=cursor)
        return Epoch(self.data, order)

    def _read(self) -> dict[str, float]:
        """The epoch's losses and metrics: one vector is read from the device."""
        trainer = self.trainer
        state = trainer.state
        assert state is not None  # there has been a step
        xp = namespace_of(state.params)
        finite = xp.all(xp.isfinite(state.params))
        dtype = state.params.dtype
        rate = constant(math.nan, state.params)
        if not isinstance(trainer.optimizer, LBFGS):
            rate = trainer.optimizer.learning_rate(state.step - 1, dtype) * state.rate_scale
        parts = [*(xp.astype(value, dtype) for value in (*state.totals, finite)), rate]
        vector = xp.stack(parts)
        names: tuple[str, ...] = ()
        if self.validation is not None:
            x, targets, weights = self.validation
            measured = trainer.model.measure(x, targets, None if isinstance(weights, tuple) else weights)
            vector = xp.concat([vector, measured])
            names = tuple(f"validation_{name}" for name in ("loss", *trainer.metrics))
        loss, weight, diverged_at, is_finite, rate_used, *rest = map(float, transfer.to_numpy(vector))
        check_finite(self, int(diverged_at), bool(is_finite), rate_used)
        row = {"loss": loss / weight if weight else math.nan, **dict(zip(names, rest, strict=True))}
        return row if math.isnan(rate_used) else {**row, "learning_rate": rate_used}

    def _set_rate_scale(self) -> None:
        """Let a schedule that watches the history (reduce on plateau) scale the rate of the next epoch."""
        schedule = getattr(self.trainer.optimizer, "learning_rate", None)
        monitor = getattr(schedule, "monitor", None)
        if schedule is None or monitor is None:
            return
        if monitor not in self.trainer.history:
            columns = ", ".join(self.trainer.history.columns)
            raise ConfigError(f"the learning rate monitors {monitor!r}; this history has {columns}; pass validation=(x, y)")
        state = self.trainer.state
        assert state is not None  # there has been an epoch
        scale = constant(schedule.scale(self.trainer.history[monitor]), state.params)
        self.trainer.state = state._replace(rate_scale=scale)

    def _call(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            with _noted(callback, self.steps_done):
                getattr(callback, event)(*arguments)


def begin(
    trainer: Trainer, x: Any, y: Any, sample_weight: Any, validation: tuple[Any, ...] | float | None, settings: FitSettings
) -> Fit:
    """Check and place everything `fit` was given; nothing of the trainer changes before all of it is known to be good."""
    given = inputs.table(x)
    device = transfer.device(given) if trainer._device is None else trainer._device
    data = _placed(trainer, given, y, sample_weight, device)
    if settings.batch_size is not None and settings.batch_size > data.x.shape[0]:
        warnings.warn(
            f"batch_size={settings.batch_size} exceeds the {data.x.shape[0]} rows; all rows are one batch", stacklevel=4
        )
    held_out = None
    if isinstance(validation, tuple | list):
        if len(validation) not in (2, 3):
            raise ConfigError("validation: expected (x, y), (x, y, weights) or the share of rows to set aside")
        held_out = _placed(trainer, inputs.table(validation[0], "validation x"), *_padded(validation[1:]), device)
    elif validation is not None:
        data, held_out = _set_aside(
            data, real_number("validation", validation, 0, 1, open_low=True, open_high=True), trainer.seed
        )
    if not isinstance(trainer.optimizer, LBFGS):
        rows = data.x.shape[0] if settings.batch_size is None else settings.batch_size
        optim.schedules.validate(trainer.optimizer.learning_rate, settings.epochs * -(-data.x.shape[0] // rows))
    callbacks = settings.all_callbacks()
    trainer.place(data.x)
    trainer.history = History(str(device), trainer.dtype, trainer.precision)
    fit = Fit(trainer, data, held_out, settings, callbacks)
    if settings.resume:
        Checkpointing.resume(fit)
    return fit


@contextmanager
def exclusive(trainer: Trainer) -> Iterator[None]:
    """Refuse a second `fit` of one Trainer while the first is running, in another thread or a callback."""
    if not trainer.lock.acquire(blocking=False):
        raise ConfigError("this Trainer is already fitting; use one Trainer for each thread")
    try:
        yield
    finally:
        trainer.lock.release()


def _placed(trainer: Trainer, x: Array, y: Any, weights: Any, device: Device) -> Batch:
    """Rows, targets and weights on the device, in the trainer's dtype; the class weights are in the weights."""
    n_outputs = trainer.net.output_shape(tuple(x.shape))[-1]
    targets = inputs.targets(y, x, trainer.loss, n_outputs, device, trainer.dtype)
    placed = inputs.placed(x, device, trainer.dtype, "x")
    row_weights = () if weights is None else inputs.sample_weights(weights, x, device, trainer.dtype)
    if trainer.class_weight is not None:
        by_class = inputs.class_weights(targets, trainer.class_weight, n_outputs, placed)
        row_weights = by_class if isinstance(row_weights, tuple) else row_weights * by_class
    return Batch(placed, targets, row_weights)


def _padded(pair: tuple[Any, ...] | list[Any]) -> tuple[Any, Any]:
    return (pair[0], pair[1] if len(pair) > 1 else None)


def _set_aside(data: Batch, share: float, seed: int) -> tuple[Batch, Batch]:
    """Training rows and validation rows, divided by the seed."""
    xp = namespace_of(data.x)
    n = data.x.shape[0]
    count = round(n * share)
    if not 0 < count < n:
        raise ConfigError(f"validation={share:g} of {n} rows leaves none on one side")
    key = random.fold_in(random.key(seed), random.Purpose.SPLIT)
    order = random.permutation(key, n, device=transfer.device(data.x))

    def rows(which: Array) -> Batch:
        return Batch(*(() if isinstance(part, tuple) else xp.take(part, which, axis=0) for part in data))

    return rows(order[count:]), rows(order[:count])


@contextmanager
def _noted(callback: Callback, step: int) -> Iterator[None]:
    """Say in which callback, and when, an error was raised."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in callback {type(callback).__name__} at step {step}")
        raise


def log_decay(decay: float) -> float:
    """Log ρ, with log 0 = −inf."""
    return math.log(decay) if decay > 0 else -math.inf
