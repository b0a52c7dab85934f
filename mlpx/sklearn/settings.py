"""The names that an estimator's settings and fitted attributes have: what the methods of the base class may rely on."""

from __future__ import annotations

from typing import Any

from mlpx.sklearn.label_encoding import LabelEncoding
from mlpx.typing import Array


class Settings:
    """Annotations only: constructors set the settings, `fit` the attributes that end in an underscore."""

    hidden_layer_sizes: Any
    activation: Any
    loss: Any
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    max_iter: int
    max_fun: int
    random_state: Any
    warm_start: bool
    early_stopping: bool
    validation_fraction: float
    optimizer: Any
    weight_decay: float
    dropout: Any
    batch_norm: bool
    layer_norm: bool
    ema: float | None
    clip_norm: float | None
    clip_value: float | None
    scale_inputs: bool
    scale_target: bool
    class_weight: Any
    n_ensembles: int
    device: Any
    precision: str
    random_stream: str

    n_features_in_: int
    classes_: Any
    coefs_: list[Any]
    intercepts_: list[Any]
    loss_curve_: list[float]
    validation_curve_: list[float]
    _encoding: LabelEncoding
    _others: dict[str, Array]
