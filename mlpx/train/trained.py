"""What is being trained: the state of a Trainer on its device, its parameters and its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlpx import network, optim, transfer
from mlpx.errors import InvalidInputError, InvalidTypeError
from mlpx.losses import Loss
from mlpx.namespace import namespace_of
from mlpx.network import Network
from mlpx.optim import LBFGS, Optimizer
from mlpx.parameters import Parameters
from mlpx.registry import Device
from mlpx.step import Batch, State, copied, initial_state, network_parameters
from mlpx.train.compiled_steps import CompiledSteps
from mlpx.train.metrics import Metric
from mlpx.train.model import Forward, Model
from mlpx.train.settings import TrainerSettings
from mlpx.typing import Array

TRAINING_VECTORS = 4  # as long as the parameters: these, the gradient, an epoch's first parameters, one for the optimizer


class Trained:
    """The part of a Trainer that changes, and what it is good for.

    Attributes
    ----------
    settings : TrainerSettings
    state : State or None
        Everything that training changes, as arrays on the device; the next step may overwrite them.
    steps_done, epochs_done : int
        Over all calls of `fit`.
    extras : dict
        JSON values that are saved with the model.
    """

    def __init__(self, settings: TrainerSettings, device: str | Device | None, params: Parameters | None) -> None:
        self.settings = settings
        self.state: State | None = None
        self.steps_done = self.epochs_done = 0
        self.extras: dict[str, Any] = {}
        self._start = None if params is None else _copied(params, settings)
        self._device = None if device is None else transfer.device(device)
        if self._device is not None:
            self._check_device(self._device)
        self._forward: Forward | None = None
        self._steps: CompiledSteps | None = None

    @property
    def net(self) -> Network:
        """The network."""
        return self.settings.net

    @property
    def loss(self) -> Loss:
        """What is minimised."""
        return self.settings.loss

    @property
    def optimizer(self) -> Optimizer | LBFGS:
        """How it is minimised."""
        return self.settings.optimizer

    @property
    def dtype(self) -> str:
        """Of parameters and inputs."""
        return self.settings.dtype

    @property
    def precision(self) -> str:
        """How float32 products are computed."""
        return self.settings.precision

    @property
    def seed(self) -> int:
        """Of first weights, row order and dropout."""
        return self.settings.seed

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is measured beside the loss."""
        return self.settings.metrics

    # ------------------------------------------------------------------ parameters

    def weights(self) -> Parameters:
        """The parameters that predictions use: averaged where `ema` asks for it. Not a copy: for the inside of training."""
        if self.state is None:
            raise InvalidInputError("this Trainer has not been fitted: call fit(x, y) first")
        params = network_parameters(self.net, self.state)
        ema = self.settings.ema
        if ema is None or not self.steps_done:
            return params
        return params.replaced(optim.ema_read(self.state.average, self.state.step, decay=ema))

    @property
    def device(self) -> Device:
        """Where this trainer computes; known from the start if one was named, else after the first `fit`."""
        if self._device is None:
            raise InvalidInputError("no device yet: name one (Trainer(..., device=...)) or call fit first; it follows x")
        return self._device

    @property
    def params(self) -> Parameters:
        """Trained parameters, a copy (averaged ones where `ema` asks for it)."""
        params = self.weights()
        assert params.buffers is not None  # a network's parameters always carry a vector of them
        return Parameters(params.layout, copied(params.flat), params.buffers.replaced(copied(params.buffers.flat)))

    def copy_of_weights(self) -> tuple[Array, Array]:
        """Flat parameters and buffers that predictions use, copied; for callbacks that keep the best."""
        params = self.params
        assert params.buffers is not None
        return params.flat, params.buffers.flat

    def set_weights(self, flat: Array, buffers: Array) -> None:
        """Put back what `copy_of_weights` returned; the average, if there is one, restarts from it."""
        assert self.state is not None  # `copy_of_weights` refuses before there is one
        self.state = self.state._replace(params=copied(flat), buffers=copied(buffers))
        if self.settings.ema is not None:
            average = optim.ema_written(flat, self.state.step, decay=self.settings.ema)
            self.state = self.state._replace(average=average)

    # ------------------------------------------------------------------ using what was trained

    @property
    def model(self) -> Model:
        """The trained network as a `Model` with a copy of the parameters as they are now."""
        return self._model(self.params)

    def _model(self, params: Parameters) -> Model:
        if self._forward is None:
            self._forward = Forward(self.net, self.device, self.precision)
        told = self.settings
        shared = {"device": self.device, "precision": told.precision, "extras": self.extras, "forward": self._forward}
        return Model(self.net, params, self.loss, metrics=told.metrics, **shared)

    def measure(self, data: Batch) -> Array:
        """Loss and metrics on rows that are in place, as one vector on the device."""
        weights = None if isinstance(data.weights, tuple) else data.weights
        return self._model(self.weights()).measure(data.x, data.targets, weights)

    def predict(self, x: Any) -> Array:
        """The network's output (logits) for the rows of x, in x's library and on its device; see `Model.predict`."""
        return self._model(self.weights()).predict(x)

    def predict_proba(self, x: Any) -> Array:
        """What the loss's link makes of the output; see `Model.predict_proba`."""
        return self._model(self.weights()).predict_proba(x)

    def evaluate(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics on given rows; see `Model.evaluate`."""
        return self._model(self.weights()).evaluate(x, y, sample_weight)

    def save(self, path: str | Path, *, overwrite: bool = True) -> None:
        """Write the trained network to a safetensors file, which `mlpx.load` reads."""
        self._model(self.weights()).save(path, overwrite=overwrite)

    # ------------------------------------------------------------------ for `fit` and what it calls

    def device_for(self, x: Array) -> Device:
        """Where to train on x: on the device that was named, or that of the first `fit`, else where x is."""
        if self._device is not None:
            return self._device
        self._check_device(device := transfer.device(x))
        return device

    def first_state(self, device: Device) -> State:
        """The state before the first step, on a device."""
        told = self.settings
        stepping = told.optimizer if isinstance(told.optimizer, Optimizer) else None
        network.check_memory(self.net.layout.length * np.dtype(told.dtype).itemsize, device, TRAINING_VECTORS)
        if self._start is None:
            params = self.net.init(told.seed, device, told.dtype)
        else:
            moved = {name: transfer.to_device(array, device) for name, array in self._start.items()}
            params = self.net.parameters(moved)
        return initial_state(params, stepping, told.seed, averaged=told.ema is not None)

    def take(self, state: State, device: Device) -> None:
        """Train this state on, on that device."""
        if self._steps is None:
            self._steps = CompiledSteps(self.settings, device)
        self._device, self.state, self.steps_done = device, state, int(state.step)

    @property
    def steps(self) -> CompiledSteps:
        """The compiled training steps."""
        assert self._steps is not None  # `begin` made them
        return self._steps

    def _check_device(self, device: Device) -> None:
        """Raise ConfigError unless the device computes in the dtype and precision asked for."""
        device.backend.check_dtype(self.dtype)
        with device.backend.precision(self.precision):
            pass


def _copied(params: Parameters, told: TrainerSettings) -> dict[str, Array]:
    """Given parameters and buffers by name, in the trainer's dtype."""
    if not isinstance(params, Parameters):
        raise InvalidTypeError(f"params is a {type(params).__name__}: pass what net.init or net.parameters returned")
    if params.layout != told.net.layout:
        raise InvalidInputError(f"params are of another network: {params!r} for {told.net!r}")
    xp = namespace_of(params.flat)
    return {name: xp.astype(array, getattr(xp, told.dtype)) for name, array in {**params, **(params.buffers or {})}.items()}
