"""The Trainer: one object from a network to a trained model."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpx import losses, optim, transfer
from mlpx.arguments import real_number, whole_number
from mlpx.compositions import Sequential
from mlpx.errors import ConfigError, InvalidInputError, InvalidTypeError, checked_keywords
from mlpx.layers.base import Layer
from mlpx.losses import Loss
from mlpx.namespace import namespace_of
from mlpx.network import Network, check_dtype
from mlpx.optim import LBFGS, Optimizer
from mlpx.parameters import Parameters
from mlpx.registry import PRECISIONS, Device
from mlpx.step import Descent, Objective, State, initial_state, network_parameters
from mlpx.train import fit as fitting
from mlpx.train.callbacks import Callback
from mlpx.train.history import History
from mlpx.train.model import Model, checked_metrics
from mlpx.train.settings import FitSettings
from mlpx.typing import Array


class Trainer:
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
    metrics : sequence of str, optional
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
        metrics: Sequence[str] | None = None,
        params: Parameters | None = None,
    ) -> None:
        if not isinstance(net, Layer):
            raise InvalidTypeError(f"net is a {type(net).__name__}: pass mlpx.Sequential(...) or another layer")
        if precision not in PRECISIONS:
            raise ConfigError(f"precision={precision!r}: expected one of {', '.join(PRECISIONS)}")
        self.net = net if isinstance(net, Network) else Sequential(net)
        self.loss = losses.get(loss)
        self.optimizer = optim.get(optimizer)
        self.dtype = dtype
        self.precision = precision
        self.seed = whole_number("seed", seed, at_least=0)
        if self.seed >= 2**64:
            raise ConfigError(f"seed={seed}: expected a whole number from 0 to 2**64 - 1")
        self.l2 = real_number("l2", l2, 0)
        self.clip_norm = None if clip_norm is None else real_number("clip_norm", clip_norm, 0, open_low=True)
        self.clip_value = None if clip_value is None else real_number("clip_value", clip_value, 0, open_low=True)
        self.ema = None if ema is None else real_number("ema", ema, 0, 1, open_high=True)
        self.class_weight = _class_weight(class_weight, self.loss)
        self.metrics = checked_metrics(self.loss, metrics)
        self.extras: dict[str, Any] = {}
        self.history = History()
        self.state: State | None = None
        self._start = params
        self._device = None if device is None else transfer.device(device)
        if self._device is not None:
            check_dtype(dtype, self._device)
        self._model: Model | None = None
        self.running: fitting.Fit | None = None
        self.lock = threading.Lock()
        self.steps = fitting.CompiledSteps(self)

    # ------------------------------------------------------------------ training

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
            Rows of a step. None is batch gradient descent, 1 the lecture's stochastic form. A shorter last batch is used as it is.
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
        with fitting.exclusive(self):
            settings = FitSettings(
                epochs=epochs,
                batch_size=batch_size,
                shuffle=shuffle,
                tolerance=tolerance,
                callbacks=tuple(callbacks),
                progress=progress,
                checkpoint=None if checkpoint is None else Path(checkpoint),
                checkpoint_every=checkpoint_every,
                resume=resume,
            )
            self.running = fitting.begin(self, x, y, sample_weight, validation, settings)
            try:
                self.running.run()
            finally:
                self.running = None
            return self.history

    def stop(self, reason: str) -> None:
        """End training after the current step; for callbacks."""
        if self.running is not None:
            self.running.stop(reason)

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return Objective(self.net, self.loss, self.l2)

    @property
    def descent(self) -> Descent:
        """How the gradient becomes a step."""
        return Descent(self.optimizer, self.clip_norm, self.clip_value, self.ema)

    # ------------------------------------------------------------------ parameters

    @property
    def device(self) -> Device:
        """Where this trainer computes; known from the start if one was named, else after the first `fit`."""
        if self._device is None:
            raise InvalidInputError("no device yet: name one (Trainer(..., device=...)) or call fit first; it follows x")
        return self._device

    def place(self, like: Array) -> None:
        """Make sure there is a state, on the named device or on that of `like`."""
        if self._device is None:
            self._device = transfer.device(like)
            check_dtype(self.dtype, self._device)
        if self.state is None:
            if self._start is None:
                params = self.net.init(self.seed, self._device, self.dtype)
            else:
                params = _copied(self._start, self.net, self._device, self.dtype)
            stepping = self.optimizer if isinstance(self.optimizer, Optimizer) else optim.SGD()
            self.state = initial_state(params, stepping, self.seed, averaged=self.ema is not None)

    def weights(self) -> Parameters:
        """The parameters that predictions use: averaged where `ema` asks for it. Not a copy: for the inside of training."""
        state = self._trained()
        params = network_parameters(self.net, state)
        if self.ema is not None and int(state.step) > 0:
            return params.replaced(optim.ema_read(state.average, state.step, decay=self.ema))
        return params

    @property
    def params(self) -> Parameters:
        """Trained parameters, a copy (averaged ones where `ema` asks for it)."""
        params = self.weights()
        xp = namespace_of(params.flat)
        assert params.buffers is not None  # a network's parameters always carry a vector of them
        buffers = Parameters(self.net.buffer_layout, xp.asarray(params.buffers.flat, copy=True))
        return Parameters(self.net.layout, xp.asarray(params.flat, copy=True), buffers)

    def copy_of_weights(self) -> tuple[Array, Array]:
        """Flat parameters and buffers that predictions use, copied; for callbacks that keep the best."""
        params = self.params
        assert params.buffers is not None
        return params.flat, params.buffers.flat

    def set_weights(self, flat: Array, buffers: Array) -> None:
        """Put back what `copy_of_weights` returned; the average, if there is one, restarts from it."""
        state = self._trained()
        xp = namespace_of(flat)
        replaced = state._replace(params=xp.asarray(flat, copy=True), buffers=xp.asarray(buffers, copy=True))
        if self.ema is not None:
            seen = -xp.expm1(xp.astype(state.step, flat.dtype) * fitting.log_decay(self.ema))
            replaced = replaced._replace(average=flat * seen)
        self.state = replaced

    def _trained(self) -> State:
        if self.state is None:
            raise InvalidInputError("this Trainer has not been fitted: call fit(x, y) first")
        return self.state

    # ------------------------------------------------------------------ using what was trained

    @property
    def model(self) -> Model:
        """The trained network as a `Model`, on the parameters as they are now."""
        params = self.weights()
        if self._model is None:
            self._model = Model(self.net, params, self.loss, device=self.device, precision=self.precision, metrics=self.metrics)
        self._model.extras = self.extras
        return self._model.with_params(params)

    def predict(self, x: Any) -> Array:
        """The network's output (logits) for the rows of x, in x's library and on its device; see `Model.predict`."""
        return self.model.predict(x)

    def predict_proba(self, x: Any) -> Array:
        """What the loss's link makes of the output; see `Model.predict_proba`."""
        return self.model.predict_proba(x)

    def evaluate(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics on given rows; see `Model.evaluate`."""
        return self.model.evaluate(x, y, sample_weight)

    def save(self, path: str | Path, *, overwrite: bool = True) -> None:
        """Write the trained network to a safetensors file, which `mlpx.load` reads."""
        self.model.save(path, overwrite=overwrite)

    def __repr__(self) -> str:
        where = "follows x" if self._device is None else str(self._device)
        done = 0 if self.state is None else int(self.state.step)
        return f"Trainer({self.net!r}, loss={self.loss!r}, optimizer={self.optimizer!r}, device={where}, steps={done})"


def _copied(params: Parameters, net: Network, device: Device, dtype: str) -> Parameters:
    """Given parameters on the trainer's device, in its dtype."""
    if params.layout != net.layout:
        raise InvalidInputError(f"params are of another network: {params!r}")
    arrays = {**params, **(params.buffers or {})}
    moved = {}
    for name, array in arrays.items():
        there = transfer.to_device(array, device)
        xp = namespace_of(there)
        moved[name] = xp.astype(there, getattr(xp, dtype))
    return net.parameters(moved)


def _class_weight(given: Mapping[int, float] | str | None, loss: Loss) -> Mapping[int, float] | str | None:
    if given is None:
        return None
    if loss.target_kind != "labels":
        raise ConfigError(f"class_weight needs a loss of labels, {loss.name} has values for targets; use sample_weight")
    if isinstance(given, str):
        if given != "balanced":
            raise ConfigError(f"class_weight={given!r}: expected 'balanced' or a mapping of label to weight")
        return given
    return {whole_number("class_weight label", k, 0): real_number(f"class_weight[{k}]", v, 0) for k, v in given.items()}
