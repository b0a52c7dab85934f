"""The training steps of a Trainer in the form its device runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlpx.registry import Device
from mlpx.step import Batch, Epoch, State, epoch_step, training_step

if TYPE_CHECKING:
    from mlpx.train.settings import TrainerSettings


class CompiledSteps:
    """Steps, each compiled when it is first asked for and kept: one for every size of batch and kind of data set.

    Parameters
    ----------
    settings : TrainerSettings
    device : Device
    """

    def __init__(self, settings: TrainerSettings, device: Device) -> None:
        self._step = training_step(settings.objective, settings.descent)
        self._compile = device.backend.compile
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def on_all(self, state: State, data: Batch) -> Callable[..., Any]:
        """The step(state, data) on all rows at once."""
        return self._get(self._step, 0, state, data)

    def on_part(self, state: State, epoch: Epoch, rows: int) -> Callable[..., Any]:
        """The step(state, epoch) on the next `rows` rows."""
        return self._get(epoch_step(self._step, rows), rows, state, epoch)

    def _get(self, step: Callable[..., Any], rows: int, state: State, batch: Batch | Epoch) -> Callable[..., Any]:
        key = rows, _signature(batch)
        if key not in self._compiled:
            self._compiled[key] = self._compile(step, (state, batch))
        return self._compiled[key]


def _signature(value: Any) -> Any:
    """Shapes and dtypes of nested tuples of arrays: what a compiled step depends on."""
    if isinstance(value, tuple):
        return tuple(_signature(part) for part in value)
    return tuple(value.shape), str(value.dtype)
