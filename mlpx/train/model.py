"""A trained network: prediction and evaluation, tile by tile, on one device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlpx import losses, transfer
from mlpx.errors import checked_keywords
from mlpx.layers.base import Layer
from mlpx.losses import Loss
from mlpx.namespace import namespace_of
from mlpx.network import Network, check_dtype
from mlpx.parameters import Parameters
from mlpx.registry import Device
from mlpx.store.model import ModelRecord, read_model, write_model
from mlpx.train import inputs, metrics
from mlpx.train.metrics import Metric
from mlpx.typing import Array

MODEL_FILE = "model.safetensors"
TILE_ROWS = 4096  # rows computed at once: bounds memory, long enough to fill any device


class Forward:
    """The forward pass of a network on a device, for prediction: compiled once, run tile by tile.

    It holds no parameters: models and threads may share it.
    """

    def __init__(self, net: Network, device: Device, precision: str) -> None:
        self.net = net
        self.device = device
        self.precision = precision
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, params: Parameters, x: Array) -> Array:
        """Output for the rows of x."""
        assert params.buffers is not None  # every network's parameters have a vector for them, if an empty one
        tiles = [x[start : min(start + TILE_ROWS, x.shape[0]), :] for start in range(0, x.shape[0], TILE_ROWS)]
        with self.device.backend.precision(self.precision):
            parts = [self._run((params.flat, params.buffers.flat, tile)) for tile in tiles]
        return parts[0] if len(parts) == 1 else namespace_of(x).concat(parts, axis=0)

    def _run(self, batch: tuple[Array, Array, Array]) -> Array:
        if self._compiled is None:
            self._compiled = self.device.backend.compile(self._forward, ((), batch))
        return self._compiled((), batch)[1]

    def _forward(self, state: tuple[()], batch: tuple[Array, Array, Array]) -> tuple[tuple[()], Array]:
        flat, buffers, x = batch
        params = Parameters(self.net.layout, flat, Parameters(self.net.buffer_layout, buffers))
        return state, self.net.forward(params, x)[0]


class Model:
    """A network with its parameters on a device, and the loss that says what its output means.

    Attributes
    ----------
    net : Network
    params : Parameters
    loss : Loss
    device : Device
    dtype, precision : str
    metrics : tuple of Metric
        What `evaluate` reports beside the loss.
    extras : dict
        JSON values kept with the model: how its inputs are prepared, names of classes.
    """

    def __init__(
        self,
        net: Network,
        params: Parameters,
        loss: str | Loss,
        *,
        device: str | Device | None = None,
        precision: str = "ieee",
        metrics: Sequence[str | Metric] | None = None,
        extras: Mapping[str, Any] | None = None,
        forward: Forward | None = None,
    ) -> None:
        self.net = net
        self.loss = losses.get(loss)
        self.device = transfer.device(params.flat if device is None else device)
        self.params = params
        self.dtype = str(np.dtype(str(params.dtype).rpartition(".")[2]))
        check_dtype(self.dtype, self.device)
        self.precision = precision
        self.metrics = checked_metrics(self.loss, metrics)
        self.extras = dict(extras or {})
        self._forward = Forward(net, self.device, precision) if forward is None else forward

    def predict(self, x: Any) -> Array:
        """The network's output (logits).

        Parameters
        ----------
        x : (n, d) array, data frame or list of rows

        Returns
        -------
        output : (n, k)
            In x's library, on x's device (NumPy for lists and data frames), in memory of its own.

        Raises
        ------
        InvalidInputError, InvalidTypeError
            If x does not fit the network.
        """
        given = inputs.table(x)
        return transfer.to_device(self._forward(self.params, self.prepared(given)), transfer.device(given))

    def predict_proba(self, x: Any) -> Array:
        """What the loss's link makes of the output: softmax, sigmoid, exp or identity; (n, k), like `predict`."""
        return self.loss.link(self.predict(x))

    def evaluate(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics on given rows; the loss is that of the data, without the structural risk.

        Returns
        -------
        results : dict of str to float
            "loss", and each of `metrics`.
        """
        given = inputs.table(x)
        prepared = self.prepared(given)
        n_outputs = self.net.output_shape(tuple(prepared.shape))[-1]
        targets = inputs.targets(y, given, self.loss, n_outputs, self.device, self.dtype)
        weights = None if sample_weight is None else inputs.sample_weights(sample_weight, given, self.device, self.dtype)
        values = transfer.to_numpy(self.measure(prepared, targets, weights))
        return dict(zip(("loss", *(metric.name for metric in self.metrics)), map(float, values), strict=True))

    def prepared(self, given: Array) -> Array:
        """A checked table, on this model's device, in its dtype, finite, of the width the network takes."""
        self.net.output_shape(tuple(given.shape))
        return inputs.placed(given, self.device, self.dtype, "x")

    def measure(self, x: Array, targets: Array, weights: Array | None = None) -> Array:
        """Loss and metrics for prepared arrays, one vector on the device: nothing is read here."""
        xp = namespace_of(x)
        output = self._forward(self.params, x)
        values = [self.loss.value(output, targets, weights)]
        values += [metric(output, targets, weights) for metric in self.metrics]
        return xp.stack([xp.astype(value, output.dtype, copy=False) for value in values])

    def save(self, path: str | Path, *, overwrite: bool = True) -> None:
        """Write a safetensors file that `mlpx.load` reads.

        Raises
        ------
        CheckpointWriteError
            If it cannot be written.
        ConfigError
            If the loss is a function of your own: a file cannot hold it.
        """
        named = {**self.params, **(self.params.buffers or {})}
        arrays = {name: transfer.to_numpy(array) for name, array in named.items()}
        kept = tuple(metric.name for metric in self.metrics if metrics.is_named(metric.name))  # a function cannot be written
        write_model(path, ModelRecord(self.net, arrays, self.loss, self.precision, kept, self.extras), overwrite=overwrite)


@checked_keywords
def load(
    path: str | Path,
    device: str | Device = "auto",
    *,
    own_layers: Sequence[type[Layer]] = (),
    loss: str | Loss | None = None,
) -> Model:
    """A model that `Trainer.save` or `mlpx train` wrote.

    Parameters
    ----------
    path : path
        The file, or a run folder that holds `model.safetensors`.
    device : str or Device
        Where it is to compute.
    own_layers : sequence of Layer subclasses
        Layers of your own in its network.
    loss : str or Loss, optional
        In place of the one in the file.

    Returns
    -------
    model : Model
        With `predict`, `predict_proba` and `evaluate`.

    Raises
    ------
    CheckpointNotFoundError, CheckpointCorruptError, CheckpointVersionError, CheckpointMismatchError
        If the file cannot be used.
    """
    path = Path(path)
    if path.is_dir() and (path / MODEL_FILE).exists():
        path = path / MODEL_FILE
    record = read_model(path, own_layers, None if loss is None else losses.get(loss))
    goal = transfer.device(device)
    on_device = {name: transfer.to_device(array, goal) for name, array in record.arrays.items()}
    params = record.net.parameters(on_device)
    return Model(
        record.net, params, record.loss, device=goal, precision=record.precision, metrics=record.metrics, extras=record.extras
    )


def checked_metrics(loss: Loss, chosen: Sequence[str | Metric] | None) -> tuple[Metric, ...]:
    """The metrics asked for, or those that go with the loss; ConfigError for an unknown one."""
    if isinstance(chosen, str):
        chosen = (chosen,)
    return tuple(metrics.get(one, loss) for one in (loss.default_metrics if chosen is None else chosen))


def warn_of_nan(row: Mapping[str, float]) -> None:
    """Warn of metrics that are NaN: they are never chosen as best."""
    for name, value in row.items():
        if name.startswith("validation_") and value != value:
            message = f"{name} is NaN in epoch {row['epoch']:.0f}; it is never taken as the best"
            warnings.warn(message, stacklevel=inputs.users_level())
