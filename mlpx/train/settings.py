"""The arguments of `Trainer.fit` that are not data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlpx.arguments import whole_number
from mlpx.errors import ConfigError, InvalidTypeError
from mlpx.train.callbacks import Callback, Tolerance
from mlpx.train.checkpointing import Checkpointing


@dataclass(frozen=True)
class FitSettings:
    """How long, in which batches and order, and who watches; checked."""

    epochs: int
    batch_size: int | None
    shuffle: bool
    tolerance: float | None
    callbacks: tuple[Callback, ...]
    progress: bool | None
    checkpoint: Path | None
    checkpoint_every: int | None
    resume: bool

    def __post_init__(self) -> None:
        whole_number("epochs", self.epochs)
        if self.batch_size is not None:
            whole_number("batch_size", self.batch_size)
        if self.checkpoint_every is not None:
            whole_number("checkpoint_every", self.checkpoint_every)
        if self.checkpoint is None and (self.resume or self.checkpoint_every is not None):
            raise ConfigError("resume and checkpoint_every need checkpoint=FOLDER")
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise InvalidTypeError(f"callbacks: {callback!r} is not a mlpx.train.Callback")

    def all_callbacks(self) -> tuple[Callback, ...]:
        """The callbacks given, and those that other arguments stand for; checkpoints are written last."""
        stopping = () if self.tolerance is None else (Tolerance(self.tolerance),)
        saving = () if self.checkpoint is None else (Checkpointing(self.checkpoint, self.checkpoint_every),)
        return (*self.callbacks, *stopping, *saving)
