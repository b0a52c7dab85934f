"""When training leaves the finite numbers, or the memory: what to say, and what to leave behind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlpx import transfer
from mlpx.errors import DivergenceError, ResourceLimitError
from mlpx.namespace import namespace_of
from mlpx.optim import Optimizer
from mlpx.step import State, network_parameters, rows_of

if TYPE_CHECKING:
    from mlpx.train.fit import Fit


def check_finite(fit: Fit, diverged_at: int, finite: bool) -> None:
    """Raise DivergenceError if a loss or parameter of this epoch is not finite, with the state of before put back.

    Parameters
    ----------
    fit : Fit
    diverged_at : int
        First step, counted from 0, whose loss was not finite, or -1.
    finite : bool
        Whether all parameters are.
    """
    if diverged_at < 0 and finite:
        return
    trainer = fit.trainer
    if diverged_at >= 0:
        batch = diverged_at - (trainer.steps_done - -(-fit.rows_done // fit.batch_rows))
        what = f"the loss is not finite at step {diverged_at + 1} (batch {batch + 1} of epoch {fit.epoch + 1})"
    else:
        what = f"parameter {_first_not_finite(fit)!r} is not finite in epoch {fit.epoch + 1}, while the losses were"
    rate = _learning_rate(fit)
    assert fit.good is not None  # an epoch has begun
    trainer.state, trainer.steps_done, fit.rows_done = fit.good, int(fit.good.step), 0
    trainer.history.stopped = "diverged"
    raise DivergenceError(
        f"{what}; {rate}largest gradient {_largest_gradient(fit):.3g} on the rows of before. The model is as it was before "
        f"epoch {fit.epoch + 1} ({_last_checkpoint(fit)}). Lower the learning rate, scale the inputs, or clip the gradient "
        "(clip_norm=1.0)"
    )


def diverged_at_and_finite(state: State) -> tuple[int, bool]:
    """What `check_finite` wants to know, read from the device: for moments that are not the end of an epoch."""
    xp = namespace_of(state.params)
    return int(transfer.to_numpy(state.totals.diverged_at)), bool(xp.all(xp.isfinite(state.params)))


@contextmanager
def out_of_memory(rows: int) -> Iterator[None]:
    """Turn a library's out-of-memory error inside a step into ours, which says what to lower."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ResourceLimitError) or not _means_out_of_memory(error):
            raise
        raise ResourceLimitError(
            f"out of memory in a step of {rows} rows: lower batch_size; the model is as it was after the step before ({error})"
        ) from error


def _means_out_of_memory(error: Exception) -> bool:
    """Whether an array library says that memory ran out: MemoryError, or a RuntimeError in its own words."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "resource_exhausted" in text)
    )


def _first_not_finite(fit: Fit) -> str:
    params = network_parameters(fit.trainer.net, fit.state)
    xp = namespace_of(params.flat)
    return next((name for name in params if not bool(xp.all(xp.isfinite(params[name])))), "?")


def _learning_rate(fit: Fit) -> str:
    """The rate of the last step, in words; nothing where a line search chose it."""
    optimizer, state = fit.trainer.optimizer, fit.state
    if not isinstance(optimizer, Optimizer):
        return ""
    return f"learning rate {float(optimizer.learning_rate(state.step - 1, state.params.dtype) * state.rate_scale):g}, "


def _largest_gradient(fit: Fit) -> float:
    """Largest component of the gradient of the first rows, at the parameters that were put back; NaN without parameters."""
    trainer, state = fit.trainer, fit.state
    if not trainer.net.layout.length:
        return math.nan
    xp = namespace_of(state.params)
    first = xp.arange(fit.batch_rows, dtype=xp.int32, device=trainer.device.native)
    key = state.key if trainer.net.stochastic else None
    _, grads, _ = trainer.settings.objective.gradient(network_parameters(trainer.net, state), rows_of(fit.data, first), key)
    return float(xp.max(xp.abs(grads)))


def _last_checkpoint(fit: Fit) -> str:
    folder = fit.settings.checkpoint
    return "no checkpoints are kept" if folder is None else f"the last checkpoint is in {folder}"
