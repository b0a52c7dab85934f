"""Standardising numbers: mean 0 and standard deviation 1 over the training rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.data.records import number

CONSTANT_WITHIN = 8 * float(np.finfo(np.float64).eps)  # spread, relative to the mean, that rounding alone can make


@dataclass(frozen=True)
class Scaling:
    """z = (x − mean) / scale."""

    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, values: np.ndarray) -> Scaling:
        """Mean and standard deviation (of the population) of the values; the scale of a constant is 1."""
        # a power of two is divided out, so that no sum or square overflows and no bit is lost
        peak = math.ldexp(1.0, math.frexp(float(np.max(np.abs(values))))[1] - 1)
        relative = values / peak
        mean, scale = float(np.mean(relative)) * peak, float(np.std(relative)) * peak
        return cls(mean, scale if scale > CONSTANT_WITHIN * abs(mean) else 1.0)

    @classmethod
    def from_config(cls, record: Mapping[str, Any]) -> Scaling:
        """The scaling that `config` described; ConfigError if it describes none."""
        return cls(number(record, "mean"), number(record, "scale", positive=True))

    def config(self) -> dict[str, float]:
        """What was learned, in JSON's types."""
        return {"mean": self.mean, "scale": self.scale}

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Standardised values; what overflows becomes infinite."""
        with np.errstate(over="ignore"):
            return (values - self.mean) / self.scale

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Values in their own unit again."""
        return values * self.scale + self.mean
