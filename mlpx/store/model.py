"""Model files: a network, its parameters and what is needed to use them, in one safetensors file.

A file is data only: names in it are looked up in fixed tables, nothing is imported or executed because a file says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlpx import compositions, layers, losses, network
from mlpx.errors import CheckpointMismatchError, ConfigError, InvalidTypeError, unknown_name
from mlpx.layers.base import Layer
from mlpx.losses import Loss
from mlpx.network import Network
from mlpx.store.array_file import read_arrays, write_arrays

LAYER_TYPES: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in (
        layers.Activation,
        layers.BatchNorm,
        layers.Columns,
        layers.Dense,
        layers.Dropout,
        layers.Embedding,
        layers.Flatten,
        layers.LayerNorm,
        compositions.Parallel,
        compositions.Residual,
        compositions.Sequential,
    )
}


class ModelRecord(NamedTuple):
    """What a model file holds.

    Attributes
    ----------
    net : Network
    arrays : dict of str to NumPy array
        Parameters and buffers by name.
    loss : Loss
    precision : str
    metrics : tuple of str
    extras : dict
        JSON values: how inputs are prepared, names of classes.
    """

    net: Network
    arrays: dict[str, np.ndarray]
    loss: Loss
    precision: str
    metrics: tuple[str, ...]
    extras: dict[str, Any]


def write_model(path: str | Path, record: ModelRecord, *, overwrite: bool = True) -> None:
    """Write a model file.

    Raises
    ------
    CheckpointWriteError
        If the file cannot be written; what was there before is intact then.
    """
    metadata = {
        "network": layer_config(record.net),
        "loss": record.loss.config(),
        "precision": record.precision,
        "metrics": list(record.metrics),
        "extras": record.extras,
    }
    write_arrays(path, record.arrays, metadata, overwrite=overwrite)


def read_model(path: str | Path, own_layers: Sequence[type[Layer]] = (), loss: Loss | str | None = None) -> ModelRecord:
    """Read a model file.

    Parameters
    ----------
    path : path
    own_layers : sequence of Layer subclasses
        Layers of your own that the network contains: a file cannot name them into being.
    loss : Loss, optional
        In place of the file's: needed where it was a function of your own.

    Raises
    ------
    CheckpointNotFoundError, CheckpointCorruptError, CheckpointVersionError
        If it is not a readable model file.
    ConfigError
        If it names a layer or loss that is not known.
    CheckpointMismatchError
        If its arrays do not fit its network: all differences are named.
    """
    arrays, metadata = read_arrays(path)
    missing = [key for key in ("network", "loss", "precision", "metrics", "extras") if key not in metadata]
    if missing:
        raise CheckpointMismatchError(f"{path} holds arrays but is not a model file: it lacks {', '.join(missing)}")
    net = layer_from_config(metadata["network"], own_layers)
    if not isinstance(net, Network):
        raise CheckpointMismatchError(f"{path}: its network is a single {type(net).__name__}")
    _check_fit(str(path), net, arrays)
    return ModelRecord(
        net=net,
        arrays=arrays,
        loss=losses.get(**metadata["loss"]) if loss is None else losses.get(loss),
        precision=metadata["precision"],
        metrics=tuple(metadata["metrics"]),
        extras=metadata["extras"],
    )


def layer_config(layer: Layer) -> dict[str, Any]:
    """A layer as JSON values, its blocks included."""
    return {"type": type(layer).__name__} | {name: _as_json(value) for name, value in layer.config().items()}


def layer_from_config(config: Any, own_layers: Sequence[type[Layer]] = ()) -> Layer:
    """The layer that `layer_config` described.

    Raises
    ------
    ConfigError
        If a type or setting is not known.
    """
    known = LAYER_TYPES | {cls.__name__: cls for cls in own_layers}
    if not isinstance(config, Mapping) or "type" not in config:
        raise ConfigError(f"a layer is described by a mapping with 'type', got {config!r}")
    kind = config["type"]
    if kind not in known:
        raise unknown_name("layer (pass your own with own_layers=[...])", kind, known)
    settings = {name: _from_json(value, own_layers) for name, value in config.items() if name != "type"}
    blocks = settings.pop("blocks", [])
    try:
        return known[kind](*blocks, **settings)
    except (TypeError, InvalidTypeError) as error:
        raise ConfigError(f"layer {kind!r} cannot be made from {sorted(settings)}: {error}") from error


def _as_json(value: Any) -> Any:
    if isinstance(value, Layer):
        return layer_config(value)
    return [_as_json(part) for part in value] if isinstance(value, list) else value


def _from_json(value: Any, own_layers: Sequence[type[Layer]]) -> Any:
    if isinstance(value, Mapping) and "type" in value:
        return layer_from_config(value, own_layers)
    return [_from_json(part, own_layers) for part in value] if isinstance(value, list) else value


def _check_fit(path: str, net: Network, arrays: Mapping[str, np.ndarray]) -> None:
    expected = net.layout.shapes | net.buffer_layout.shapes
    wrong = [f"{name} is missing" for name in expected if name not in arrays]
    wrong += [f"{name} is not of this network" for name in arrays if name not in expected]
    wrong += [
        f"{name} has shape {arrays[name].shape}, not {shape}"
        for name, shape in expected.items()
        if name in arrays and arrays[name].shape != shape
    ]
    wrong += [f"{name} is {array.dtype}" for name, array in arrays.items() if array.dtype.name not in network.DTYPES]
    if wrong:
        raise CheckpointMismatchError(f"{path} does not fit its own network: {'; '.join(wrong)}")
