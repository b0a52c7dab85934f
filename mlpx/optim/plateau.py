"""A learning rate that is cut when a metric stops improving."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlpx.arguments import real_number, whole_number
from mlpx.errors import ConfigError, checked_keywords
from mlpx.namespace import constant
from mlpx.optim.schedules import Schedule, positive_rate
from mlpx.typing import Array, DType


class ReduceOnPlateau(Schedule):
    """A rate that is cut whenever a metric has not improved for more than `patience` epochs.

    Within an epoch it is constant. `scale` is a function of the metric's whole history and of nothing else, so a resumed run
    cuts where the straight run does. A value that is NaN is no improvement.

    Parameters
    ----------
    rate : float
        η > 0.
    factor : float
        What a cut multiplies the rate by, in (0, 1).
    patience : int
        Epochs without improvement that are let pass; the next one cuts.
    min_delta : float
        How much better than the best value an improvement must be, in units of the metric, ≥ 0.
    monitor : str
        The metric, as History names it.
    min_rate : float
        The rate is never cut below this, ≥ 0.
    mode : {"min", "max"}
        Whether a lower or a higher value is better.
    """

    name = "reduce_on_plateau"

    @checked_keywords
    def __init__(
        self,
        rate: float,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        monitor: str = "validation_loss",
        min_rate: float = 0.0,
        mode: str = "min",
    ) -> None:
        self.rate = positive_rate(rate)
        self.factor = real_number("factor", factor, 0, 1, open_low=True, open_high=True)
        self.patience = whole_number("patience", patience, at_least=0)
        self.min_delta = real_number("min_delta", min_delta, 0)
        self.monitor = monitor
        self.min_rate = real_number("min_rate", min_rate, 0, self.rate)
        if mode not in ("min", "max"):
            raise ConfigError(f"mode={mode!r}: expected 'min' (lower is better) or 'max'")
        self.mode = mode

    def __call__(self, step: Array, dtype: DType) -> Array:
        """η; the cuts come in through `scale`."""
        return constant(self.rate, step, dtype)

    def scale(self, values: Sequence[float]) -> float:
        """factor^(cuts so far), but at least min_rate / rate.

        Parameters
        ----------
        values : sequence of float
            The monitored metric of every epoch so far, in order.

        Returns
        -------
        scale : float
            In (0, 1].
        """
        best, waited, cuts = math.inf, 0, 0
        for value in values:
            value = value if self.mode == "min" else -value
            if value < best - self.min_delta:
                best, waited = value, 0
                continue
            waited += 1
            if waited > self.patience:
                cuts, waited = cuts + 1, 0
        return max(self.factor**cuts, self.min_rate / self.rate)
