"""The check of a layer: one call, on every library that works on this machine."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mlpx import random
from mlpx.layers.base import Layer
from mlpx.ops.definition import Draw
from mlpx.testing.drawing import draw_parameters
from mlpx.testing.gradients import check_gradients
from mlpx.testing.trials import GRADIENT_OF, Trial, cast, composite_budget, faults_of, run
from mlpx.testing.variants import Variants, as_variants
from mlpx.typing import Array


def check_layer(
    layer: Layer,
    input_shape: tuple[int, ...] = (),
    variants: Variants = None,
    *,
    x: Any = None,
    terms: int | None = None,
    seed: int = 0,
) -> None:
    """Check a layer, or a whole network: your own as well as ours.

    Parameters
    ----------
    layer : Layer
    input_shape : tuple of int
        Shape of a batch, rows first, of normal numbers to feed; not needed with `x`.
    variants : names or Variants, optional
        As in `check_op`.
    x : array, optional
        Given instead of `input_shape`: labels for an embedding, values off a kink.
    terms : int, optional
        m, the number of terms in the longest sum: the longest axis that occurs, if not given. Raise it for a deep network.
    seed : int
        Of inputs, parameters and random key.

    Raises
    ------
    AssertionError
        As `check_op`; and if `output_shape`, `specs`, `buffer_specs` or `config` do not say what is so.
    """
    rows = Draw(seed).away_from(*input_shape) if x is None else np.asarray(x)
    rows = cast(rows, "float64")
    chosen = as_variants(variants)
    with faults_of(repr(layer)):
        _check_declarations(layer, rows)
    for train in (False, True):
        trial = _layer_trial(layer, rows, train, terms, seed)
        with faults_of(trial.what):
            key = trial.inputs.get("key")
            params = {name: trial.inputs[name] for name in (*layer.specs(), *layer.buffer_specs())}
            check_gradients(layer, rows, params=params, train=train, key=key, seed=seed)
        for variant in chosen:
            for dtype in variant.dtypes:
                run(trial, variant, dtype)


def _check_declarations(layer: Layer, x: np.ndarray) -> None:
    """What a layer says of itself: its configuration is JSON and makes an equal layer, its output shape is an int tuple."""
    config = layer.config()
    if not layer.children():
        json.dumps({name: value if not isinstance(value, Layer) else value.config() for name, value in config.items()})
    twin = type(layer)(**config) if not layer.children() else layer
    shapes = [{name: spec.shape for name, spec in one.specs().items()} for one in (layer, twin)]
    if repr(twin) != repr(layer) or shapes[0] != shapes[1]:
        raise AssertionError(f"type(layer)(**layer.config()) makes {twin!r}, which is not equal")
    layer.output_shape(x.shape)


def _layer_trial(layer: Layer, x: np.ndarray, train: bool, terms: int | None, seed: int) -> Trial:
    """Forward, backward and new buffers of a layer as one function of its parameters, buffers, x, dy and key."""
    own, buffers = draw_parameters(layer, seed), draw_parameters(layer, seed + 1, layer.buffer_specs())
    inputs: dict[str, np.ndarray] = {**own, **buffers, "x": x}
    y_shape = tuple(layer.output_shape(x.shape))
    inputs["dy"] = np.random.default_rng(seed + 2).standard_normal(y_shape)
    if layer.stochastic and train:
        inputs["key"] = np.asarray(random.key(seed))
    names = list(inputs)

    def function(*arrays: Array) -> dict[str, Any]:
        given = dict(zip(names, arrays, strict=True))
        params = {name: given[name] for name in (*own, *buffers)}
        y, residuals = layer.forward(params, given["x"], train=train, key=given.get("key"))
        dx, gradients = layer.backward(params, residuals, given["dy"])
        results = {"y": y, GRADIENT_OF + "x": dx, **{GRADIENT_OF + name: gradients[name] for name in own}}
        if train and buffers:
            new = layer.updated_buffers(params, residuals)
            results |= {f"updated {name}": new[name] for name in buffers}
        return results

    longest = max((length for array in inputs.values() for length in array.shape), default=1)
    return Trial(
        f"{layer!r} in {'training' if train else 'prediction'}",
        inputs,
        function,
        function,
        lambda _: composite_budget(terms or longest),
        ("y", "x", "dy"),
    )
