"""Reproducible arrays that hide nothing: no parameter is 0 or 1, where a forgotten factor or term would not show."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlpx import random
from mlpx.layers.base import Layer, Spec


def draw_parameters(layer: Layer, seed: int = 0, specs: Mapping[str, Spec] | None = None) -> dict[str, np.ndarray]:
    """float64 values for a layer's parameters (or other specs): drawn by their initializers, then moved by 0.1 to 0.4.

    A gain of 1 or a bias of 0 would hide a backward pass that forgets it; upwards, so that variances stay positive.
    """
    generator = np.random.default_rng(seed)
    key = random.key(seed)
    drawn = {}
    for number, (name, spec) in enumerate((layer.specs() if specs is None else specs).items()):
        values = spec.initializer.draw(random.fold_in(key, number), spec.shape, "float64")
        drawn[name] = np.asarray(values, dtype=np.float64) + generator.uniform(0.1, 0.4, spec.shape)
    return drawn
