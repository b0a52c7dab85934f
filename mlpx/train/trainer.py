"""The Trainer: one object from a network to a trained model."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpx.errors import ConfigError, checked_keywords
from mlpx.layers.base import Layer
from mlpx.losses import Loss
from mlpx.optim import LBFGS, Optimizer
from mlpx.parameters import Parameters
from mlpx.registry import Device
from mlpx.step import State
from mlpx.train.callbacks import Callback, Tolerance
from mlpx.train.history import History
from mlpx.train.metrics import Metric
from mlpx.train.preparation import prepare
from mlpx.train.settings import FitSettings, TrainerSettings
from mlpx.train.trained import Trained

if TYPE_CHECKING:
    from mlpx.train.fit import Fit


class Trainer(Trained):
    """Trains a network on arrays, and predicts with it.

    Parameters
    ----------
    net : Layer
        Usually a `Sequential`.
    loss : str or Loss
        What is minimised; see `mlpx.losses`.
    optimizer : str, mapping or optimizer
        How; see `mlpx.optim`.
    device : str or Device, optional
        "auto" is the best device of this machine; "numpy", "cupy:0", "torch:cpu", "jax:cpu" are explicit. Not given, training
        happens where x lives.
    dtype : {"float32", "float64"}
    precision : {"ieee", "tf32", "bf16", "fp16"}
        How float32 products are computed; anything but "ieee" must be asked for, and is recorded.
    seed : int
        Of first weights, row order and dropout: the same on every device.
    l2 : float
        λ of the structural risk ½λ‖W‖² that is added to the loss; weights only, not biases.
    clip_norm, clip_value : float, optional
        Limits of the gradient's global norm, and of each of its components.
    ema : float, optional
        Decay in [0, 1) of an average of the parameters over the steps; predictions then use the average.
    class_weight : mapping of label to float, or "balanced", optional
        Factor on the weight of every row of a class; "balanced" is n / (k · rows of the class).
    metrics : sequence of str or Metric, optional
        What is measured on validation and test rows beside the loss; by default what goes with the loss.
    params : Parameters, optional
        Parameters to start from, copied; by default `net.init(seed)`.

    Attributes
    ----------
    history : History
        Of the last `fit`.
    state : State
        Everything that training changes, as arrays on the device.
    running : Fit or None
        The `fit` that is under way: where it stands, for callbacks.

    Raises
    ------
    ConfigError
        If a name is unknown or a number out of range.
    BackendMissingError
        If the device asked for cannot be used here.
    """

    @checked_keywords
    def __init__(
        self,
        net: Layer,
        loss: str | Loss = "softmax_cross_entropy",
        optimizer: str | Mapping[str, Any] | Optimizer | LBFGS = "adam",
        *,
        device: str | Device | None = None,
        dtype: str = "float32",
        precision: str = "ieee",
        seed: int = 0,
        l2: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        metrics: Sequence[str | Metric] | None = None,
        params: Parameters | None = None,
    ) -> None:
        settings = TrainerSettings.checked(
            net,
            loss,
            optimizer,
            metrics,
            dtype=dtype,
            precision=precision,
            seed=seed,
            l2=l2,
            clip_norm=clip_norm,
            clip_value=clip_value,
            ema=ema,
            class_weight=class_weight,
        )
        super().__init__(settings, device, params)
        self.history = History()
        self.running: Fit | None = None
        self._fitting = threading.Lock()

    @checked_keywords
    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int = 20,
        batch_size: int | None = 32,
        *,
        shuffle: bool = True,
        validation: tuple[Any, ...] | float | None = None,
        sample_weight: Any = None,
        tolerance: float | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
    ) -> History:
        """Minimise the loss on given rows; called again, training goes on from where it is.

        Parameters
        ----------
        x : (n, d) array of any library, data frame or list of rows
            Read, never changed; do not change it yourself while training runs.
        y : (n,) whole numbers for labels, (n, k) numbers otherwise
            Moved to where x is, once.
        epochs : int
            Passes over the rows: with `batch_size=None`, the lecture's limit of iterations.
        batch_size : int or None
            Rows of a step. None is batch gradient descent, 1 the lecture's stochastic form. A shorter last batch is used as it
            is; LBFGS always takes all rows.
        shuffle : bool
            Whether every epoch has a new order of the rows, the same on every device.
        validation : (x, y) or (x, y, weights) or float, optional
            Rows measured after each epoch; a float is the share of the given rows that is set aside for it.
        sample_weight : (n,), optional
            Weight of each row in the mean.
        tolerance : float, optional
            Stop when the loss changes by less than this between two epochs.
        callbacks : sequence of Callback
            Such as `mlpx.train.EarlyStopping`.
        progress : bool, optional
            Whether a live bar is shown; by default where standard error is a terminal.
        checkpoint : path, optional
            Folder for checkpoints: written every `checkpoint_every` steps and at the end.
        checkpoint_every : int, optional
        resume : bool
            Whether to go on from the newest checkpoint in that folder: the same bits as a run that was never interrupted.

        Returns
        -------
        history : History

        Raises
        ------
        InvalidInputError, InvalidTypeError, DeviceMismatchError
            If the data cannot be used; nothing has changed then.
        ConfigError
            If a setting is out of range.
        DivergenceError
            If a loss or parameter is not finite; the parameters are those before that epoch.
        """
        settings = FitSettings(
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            callbacks=(*callbacks, *(() if tolerance is None else (Tolerance(tolerance),))),
            progress=progress,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            checkpoint_every=checkpoint_every,
            resume=resume,
        )
        if not self._fitting.acquire(blocking=False):
            raise ConfigError("this Trainer is already fitting, in another thread or this callback; use one for each thread")
        try:
            prepare(self, x, y, sample_weight, validation, settings).run()
        finally:
            self.running = None
            self._fitting.release()
        return self.history

    def stop(self, reason: str) -> None:
        """End training after the current step; for callbacks."""
        if self.running is not None:
            self.running.stop(reason)

    def begin(self, fit: Fit, state: State, device: Device) -> None:
        """Take over what `fit` has prepared: from here on this trainer changes."""
        self.take(state, device)
        self.running = fit
        self.history = History(str(device), self.dtype, self.precision)

    def __repr__(self) -> str:
        where = "follows x" if self._device is None else str(self._device)
        return (
            f"Trainer({self.net!r}, loss={self.loss!r}, optimizer={self.optimizer!r}, device={where}, steps={self.steps_done})"
        )
