"""When training leaves the finite numbers, or the memory: what to say, and what to leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlpx.errors import DivergenceError, ResourceLimitError
from mlpx.namespace import namespace_of
from mlpx.step import network_parameters

if TYPE_CHECKING:
    from mlpx.train.fit import Fit


def check_finite(fit: Fit, diverged_at: int, finite: bool, rate: float) -> None:
    """Raise DivergenceError if a loss or parameter of this epoch is not finite, with the parameters of before put back.

    Parameters
    ----------
    diverged_at : int
        First step whose loss was not finite, or -1.
    finite : bool
        Whether all parameters are.
    rate : float
        Learning rate of the epoch's last step.
    """
    if diverged_at < 0 and finite:
        return
    if diverged_at >= 0:
        where = diverged_at - (fit.steps_done - -(-fit.rows_done // fit.batch_rows))
        what = f"the loss is not finite at step {diverged_at} (batch {where} of epoch {fit.epoch + 1})"
    else:
        what = f"parameter {_first_not_finite(fit)!r} is not finite after epoch {fit.epoch + 1}, while its losses were"
    fit.trainer.set_weights(*fit.good)
    fit.trainer.history.stopped = "diverged"
    raise DivergenceError(
        f"{what}; learning rate {rate:g}, largest gradient {_largest_gradient(fit):.3g} on the rows of before. The parameters are "
        f"those of before epoch {fit.epoch + 1} ({_last_checkpoint(fit)}). Lower the learning rate, scale the inputs, or clip "
        "the gradient (clip_norm=1.0)"
    )


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
    assert fit.trainer.state is not None  # there has been a step
    params = network_parameters(fit.trainer.net, fit.trainer.state)
    xp = namespace_of(params.flat)
    return next((name for name in params if not bool(xp.all(xp.isfinite(params[name])))), "?")


def _largest_gradient(fit: Fit) -> float:
    """Largest component of the gradient of the first batch, at the parameters that were put back."""
    trainer = fit.trainer
    state = trainer.state
    assert state is not None  # there has been a step
    xp = namespace_of(state.params)
    batch = type(fit.data)(*(() if isinstance(part, tuple) else part[: fit.batch_rows, ...] for part in fit.data))
    key = state.key if trainer.net.stochastic else None
    _, grads, _ = trainer.objective.gradient(network_parameters(trainer.net, state), batch, key)
    return float(xp.max(xp.abs(grads)))


def _last_checkpoint(fit: Fit) -> str:
    folder = fit.settings.checkpoint
    return "no checkpoints are kept" if folder is None else f"the last checkpoint is in {folder}"
