"""Everything `Trainer.fit` was given, checked and put where training happens, before anything changes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from mlpx import random
from mlpx.arguments import real_number
from mlpx.errors import ConfigError
from mlpx.optim import LBFGS, schedules
from mlpx.registry import Device
from mlpx.step import Batch, rows_of
from mlpx.train import inputs
from mlpx.train.checkpointing import Checkpointing, restore, saved_state
from mlpx.train.fit import Fit
from mlpx.train.settings import FitSettings
from mlpx.typing import Array

if TYPE_CHECKING:
    from mlpx.train.trainer import Trainer


def prepare(trainer: Trainer, x: Any, y: Any, sample_weight: Any, validation: Any, settings: FitSettings) -> Fit:
    """The fit that these arguments ask for; nothing of the trainer changes before all of them are known to be good."""
    given = inputs.table(x)
    device = trainer.device_for(given)
    data = _placed(trainer, given, y, sample_weight, device)
    data, held_out = _validation(trainer, given, data, validation, device)
    rows = data.x.shape[0]
    if not isinstance(trainer.optimizer, LBFGS):
        batch_rows = settings.batch_size or rows
        if batch_rows > rows:
            message = f"batch_size={batch_rows} exceeds the {rows} rows: all of them are one batch"
            warnings.warn(message, stacklevel=inputs.users_level())
        schedules.validate(trainer.optimizer.learning_rate, trainer.steps_done + settings.epochs * -(-rows // batch_rows))
    saving = None if settings.checkpoint is None else Checkpointing(settings.checkpoint, settings.checkpoint_every)
    fit = Fit(trainer, data, held_out, settings, saving)
    state = trainer.first_state(device) if trainer.state is None else trainer.state
    found = saving.latest(fit) if saving is not None and settings.resume else None
    if found is not None:
        state = saved_state(found, state, device)
    elif isinstance(trainer.optimizer, LBFGS):
        state = state._replace(optimizer=())  # a search knows one data set only: it begins anew
    trainer.begin(fit, state, device)
    if found is not None:
        restore(fit, found)
    return fit


def _placed(trainer: Trainer, x: Array, y: Any, weights: Any, device: Device) -> Batch:
    """Rows, targets and weights on the device, in the trainer's dtype; the class weights are in the weights."""
    n_outputs = trainer.net.output_shape(tuple(x.shape))[-1]
    targets = inputs.targets(y, x, trainer.loss, n_outputs, device, trainer.dtype)
    placed = inputs.placed(x, device, trainer.dtype, "x")
    row_weights = () if weights is None else inputs.sample_weights(weights, x, device, trainer.dtype)
    factors = trainer.settings.class_weight
    if factors is not None:
        by_class = inputs.class_weights(targets, factors, n_outputs, placed)
        row_weights = by_class if isinstance(row_weights, tuple) else row_weights * by_class
    return Batch(placed, targets, row_weights)


def _validation(trainer: Trainer, x: Array, data: Batch, given: Any, device: Device) -> tuple[Batch, Batch | None]:
    """The rows to learn from and those to measure: given ones, or a share that is set aside, drawn by the seed."""
    if given is None:
        return data, None
    if isinstance(given, tuple | list):
        if len(given) not in (2, 3):
            raise ConfigError("validation: expected (x, y), (x, y, weights) or the share of rows to set aside")
        rows = inputs.table(given[0], "validation x")
        inputs.check_follows(x, rows, "validation x")
        return data, _placed(trainer, rows, given[1], given[2] if len(given) > 2 else None, device)
    share = real_number("validation", given, 0, 1, open_low=True, open_high=True)
    n = data.x.shape[0]
    count = round(n * share)
    if not 0 < count < n:
        raise ConfigError(f"validation={share:g} of {n} rows leaves none on one side")
    key = random.fold_in(random.key(trainer.seed), random.Purpose.SPLIT)
    order = random.permutation(key, n, device=device)
    return rows_of(data, order[count:]), rows_of(data, order[:count])
