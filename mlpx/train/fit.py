"""One call of `Trainer.fit`: its data on the device, its epochs, where it stands."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx import random, transfer
from mlpx.errors import ConfigError, DivergenceError
from mlpx.namespace import constant, namespace_of
from mlpx.optim import LBFGS
from mlpx.step import Batch, Epoch, State, copied, empty_totals
from mlpx.train.checkpointing import Checkpointing
from mlpx.train.divergence import check_finite, diverged_at_and_finite, out_of_memory
from mlpx.train.full_batch import FullBatch
from mlpx.train.interrupt import Interrupt
from mlpx.train.model import warn_of_nan
from mlpx.train.progress import Progress
from mlpx.train.settings import FitSettings

if TYPE_CHECKING:
    from mlpx.train.trainer import Trainer

QUIET = {"over": "ignore", "invalid": "ignore", "divide": "ignore"}  # what diverges is found by `check_finite`, and named


@dataclass
class Fit:
    """A run over epochs: what is fixed (trainer, data, settings) and where it stands.

    Attributes
    ----------
    epoch : int
        Epochs done in this call.
    rows_done : int
        Rows of the current epoch that have been learned from.
    stopped : str
        Why no further step is to be made, or "".
    good : State
        As it was when the current epoch began.
    """

    trainer: Trainer
    data: Batch
    validation: Batch | None
    settings: FitSettings
    saving: Checkpointing | None
    epoch: int = 0
    rows_done: int = 0
    stopped: str = ""
    good: State | None = None
    _steps: dict[int, Callable[..., Any]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows in the training data."""
        return self.data.x.shape[0]

    @property
    def batch_rows(self) -> int:
        """Rows of a full step."""
        size = self.settings.batch_size
        return self.rows if size is None or isinstance(self.trainer.optimizer, LBFGS) else min(size, self.rows)

    @property
    def state(self) -> State:
        """The trainer's state, which there always is while a fit runs."""
        assert self.trainer.state is not None
        return self.trainer.state

    def stop(self, reason: str) -> None:
        """End after the current step."""
        self.stopped = self.stopped or reason

    def run(self) -> None:
        """All epochs, or as many as it takes until something stops them."""
        history = self.trainer.history
        try:
            with Progress(self.settings.epochs, self.settings.progress) as progress, Interrupt() as interrupt:
                try:
                    self._run(progress, interrupt)
                except (KeyboardInterrupt, SystemExit):
                    history.stopped = "interrupted"
                    if self.saving is not None and interrupt.between_steps:
                        with suppress(DivergenceError):  # a state that is not finite is not kept
                            self.saving.save(self)
                    raise
        except Exception as error:
            history.stopped = history.stopped or f"failed: {type(error).__name__}"
            raise
        finally:
            if self.saving is not None:
                self.saving.close()

    def _run(self, progress: Progress, interrupt: Interrupt) -> None:
        trainer = self.trainer
        self.good = copied(self.state)
        self._call("on_fit_begin", trainer)
        progress.note("first step")
        with trainer.device.backend.precision(trainer.precision), np.errstate(**QUIET):  # type: ignore[arg-type]
            self._run_epochs(progress, interrupt)
        trainer.history.stopped = self.stopped or f"the limit of {self.settings.epochs} epochs"
        if self.saving is not None:  # before callbacks put other parameters back: with more epochs, a resumed run goes on here
            self.saving.save(self)
        self._call("on_fit_end", trainer)

    def _run_epochs(self, progress: Progress, interrupt: Interrupt) -> None:
        """Epoch after epoch; one that is stopped half-way is not recorded in the history."""
        run_epoch = FullBatch(self).run_epoch if isinstance(self.trainer.optimizer, LBFGS) else self._run_epoch
        while self.epoch < self.settings.epochs and not self.stopped:
            started = time.perf_counter()
            if self.rows_done < self.rows:  # else it was interrupted before its end was recorded
                run_epoch(interrupt)
            if self.rows_done == self.rows:
                self._end_epoch(time.perf_counter() - started, progress)
        if self.rows_done:
            check_finite(self, *diverged_at_and_finite(self.state))

    def _run_epoch(self, interrupt: Interrupt) -> None:
        """Every row once, in steps."""
        trainer, batch = self.trainer, self._begin_epoch()
        while self.rows_done < self.rows and not self.stopped:
            rows = min(self.batch_rows, self.rows - self.rows_done)
            step = self._steps.get(rows) or self._step_on(rows, batch)
            with out_of_memory(rows):
                trainer.state, _ = step(trainer.state, batch)
            self.rows_done += rows
            trainer.steps_done += 1
            self.after_step()
            interrupt.act()

    def after_step(self) -> None:
        """Tell the callbacks that want to know; save if it is time."""
        done = self.trainer.steps_done
        for callback in self.settings.callbacks:
            if callback.on_step:
                with _noted(callback, done):
                    callback.on_step_end(self.trainer, done)
        if self.saving is not None:
            self.saving.after_step(self)

    def _begin_epoch(self) -> Batch | Epoch:
        """The data, in the epoch's order unless a step takes all of it; sums and cursor at zero unless it is being resumed."""
        trainer, state = self.trainer, self.state
        if self.rows_done == 0:
            cursor = constant(0, state.step, dtype=namespace_of(state.step).int32)
            trainer.state = state._replace(totals=empty_totals(state.params), cursor=cursor)
        self.good = copied(trainer.state)
        if self.batch_rows == self.rows:
            return self.data
        if self.settings.shuffle:
            return Epoch(self.data, random.permutation(self._order_key(), self.rows, device=trainer.device))
        xp = namespace_of(self.data.x)
        return Epoch(self.data, xp.arange(self.rows, dtype=xp.int32, device=trainer.device.native))

    def _order_key(self) -> np.ndarray:
        """The random key of this epoch's row order."""
        key = random.fold_in(random.key(self.trainer.seed), random.Purpose.SHUFFLE)
        return random.fold_in(key, self.trainer.epochs_done)

    def _step_on(self, rows: int, batch: Any) -> Callable[..., Any]:
        """The compiled step on the next `rows` rows."""
        steps = self.trainer.steps
        step = steps.on_all(self.state, batch) if rows == self.rows else steps.on_part(self.state, batch, rows)
        self._steps[rows] = step
        return step

    def _end_epoch(self, seconds: float, progress: Progress) -> None:
        """Read what the epoch summed up, once; measure the validation rows; tell the callbacks."""
        trainer = self.trainer
        row = {"epoch": float(self.epoch + 1), **self._read(), "seconds": seconds}
        self.epoch, self.rows_done = self.epoch + 1, 0
        trainer.epochs_done += 1
        trainer.history.append(row)
        warn_of_nan(row)
        self._set_rate_scale()
        self._call("on_epoch_end", trainer, row)
        if self.saving is not None:
            self.saving.after_epoch(self)
        progress.show(row, self.epoch)

    def _read(self) -> dict[str, float]:
        """The epoch's losses and metrics: one vector is read from the device."""
        trainer, state = self.trainer, self.state
        xp = namespace_of(state.params)
        dtype = state.params.dtype
        rate = constant(math.nan, state.params)
        if not isinstance(trainer.optimizer, LBFGS):
            rate = trainer.optimizer.learning_rate(state.step - 1, dtype) * state.rate_scale
        finite = xp.all(xp.isfinite(state.params))
        vector = xp.stack([*(xp.astype(value, dtype) for value in (*state.totals, finite)), rate])
        names: tuple[str, ...] = ()
        if self.validation is not None:
            vector = xp.concat([vector, trainer.measure(self.validation)])
            names = tuple(f"validation_{name}" for name in ("loss", *(metric.name for metric in trainer.metrics)))
        loss, weight, diverged_at, is_finite, rate_used, *rest = map(float, transfer.to_numpy(vector))
        check_finite(self, int(diverged_at), bool(is_finite))
        if rate_used < 0:
            raise ConfigError(f"the schedule gave a learning rate of {rate_used:g} at step {trainer.steps_done}: expected ≥ 0")
        row = {"loss": loss / weight if weight else math.nan, **dict(zip(names, rest, strict=True))}
        return row if isinstance(trainer.optimizer, LBFGS) else {**row, "learning_rate": rate_used}

    def _set_rate_scale(self) -> None:
        """Let a schedule that watches the history (reduce on plateau) scale the rate of the next epoch."""
        schedule = getattr(self.trainer.optimizer, "learning_rate", None)
        if schedule is None or schedule.monitor is None:
            return
        history = self.trainer.history
        if schedule.monitor not in history:
            raise ConfigError(
                f"the learning rate monitors {schedule.monitor!r}; this history has {', '.join(history.columns)}; pass "
                "validation=(x, y)"
            )
        scale = constant(schedule.scale(history[schedule.monitor]), self.state.params)
        self.trainer.state = self.state._replace(rate_scale=scale)

    def _call(self, event: str, *arguments: Any) -> None:
        for callback in self.settings.callbacks:
            with _noted(callback, self.trainer.steps_done):
                getattr(callback, event)(*arguments)


@contextmanager
def _noted(callback: Any, step: int) -> Iterator[None]:
    """Say in which callback, and when, an error was raised."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in callback {type(callback).__name__} at step {step}")
        raise
