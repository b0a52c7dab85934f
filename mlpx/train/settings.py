"""What a Trainer and its `fit` are told, beside data and callbacks: checked once, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpx import losses, optim
from mlpx.arguments import real_number, whole_number
from mlpx.compositions import Sequential
from mlpx.errors import ConfigError, InvalidTypeError, unknown_name
from mlpx.layers.base import Layer
from mlpx.losses import Loss
from mlpx.network import DTYPES, Network
from mlpx.optim import LBFGS, Optimizer
from mlpx.registry import PRECISIONS
from mlpx.step import Descent, Objective
from mlpx.train.callbacks import Callback
from mlpx.train.metrics import Metric
from mlpx.train.model import checked_metrics

SEED_LIMIT = 2**64


@dataclass(frozen=True)
class TrainerSettings:
    """What is trained, to which end and how. Made by `checked`; `repr` says all that decides the numbers."""

    net: Network
    loss: Loss
    optimizer: Optimizer | LBFGS
    dtype: str
    precision: str
    seed: int
    l2: float
    clip_norm: float | None
    clip_value: float | None
    ema: float | None
    class_weight: Mapping[int, float] | str | None
    metrics: tuple[Metric, ...]

    @classmethod
    def checked(
        cls, net: Layer, loss: str | Loss, optimizer: Any, metrics: Sequence[str | Metric] | None, **settings: Any
    ) -> TrainerSettings:
        """Settings from what the Trainer's constructor was given.

        Raises
        ------
        ConfigError
            If a name is unknown, a number is out of range, or two settings exclude each other.
        InvalidTypeError
            If something is of another type.
        """
        if not isinstance(net, Layer):
            raise InvalidTypeError(f"net is a {type(net).__name__}: pass mlpx.Sequential(...) or another layer")
        chosen = losses.get(loss)
        return cls(
            net=net if isinstance(net, Network) else Sequential(net),
            loss=chosen,
            optimizer=optim.get(optimizer),
            metrics=checked_metrics(chosen, metrics),
            class_weight=_class_weight(settings.pop("class_weight"), chosen),
            **settings,
        )

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if whole_number("seed", self.seed, at_least=0) >= SEED_LIMIT:
            raise ConfigError(f"seed={self.seed}: expected a whole number from 0 to 2**64 - 1")
        real_number("l2", self.l2, 0)
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                real_number(name, getattr(self, name), 0, open_low=True)
        if self.ema is not None:
            real_number("ema", self.ema, 0, 1, open_high=True)
        unused = [name for name in ("clip_norm", "clip_value", "ema") if getattr(self, name) is not None]
        if unused and isinstance(self.optimizer, LBFGS):
            raise ConfigError(f"{unused[0]} is of no use to LBFGS, whose line search decides the steps: leave it out")

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return Objective(self.net, self.loss, float(self.l2))

    @property
    def descent(self) -> Descent:
        """How the gradient becomes a step."""
        return Descent(self.optimizer, self.clip_norm, self.clip_value, self.ema)  # type: ignore[arg-type]


@dataclass(frozen=True)
class FitSettings:
    """How long, in which batches and order, and who watches; checked."""

    epochs: int
    batch_size: int | None
    shuffle: bool
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


def _class_weight(given: Mapping[int, float] | str | None, loss: Loss) -> Mapping[int, float] | str | None:
    if given is None:
        return None
    if loss.target_kind != "labels":
        raise ConfigError(f"class_weight needs a loss of labels, {loss.name} has values for targets; use sample_weight")
    if given == "balanced":
        return "balanced"
    if not isinstance(given, Mapping):
        raise ConfigError(f"class_weight={given!r}: expected 'balanced' or a mapping of label to weight")
    return {whole_number("class_weight label", k, 0): real_number(f"class_weight[{k}]", v, 0) for k, v in given.items()}
