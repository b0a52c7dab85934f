"""A step length along a descent direction that satisfies the strong Wolfe conditions.

With φ(α) = f(x + α d), a step is accepted when

    φ(α) ≤ φ(0) + c₁ α φ'(0)      (the value falls enough)
    |φ'(α)| ≤ −c₂ φ'(0)            (the slope has flattened)

Near a minimum, differences of φ drown in rounding while slopes do not; there the first condition is replaced by
φ'(α) ≤ (2 c₁ − 1) φ'(0) where φ(α) and φ(0) differ by rounding only.

References
----------
Nocedal & Wright (2006), "Numerical Optimization", 2nd ed., algorithms 3.5 and 3.6, eq. 3.59.
Hager & Zhang (2005), "A new conjugate gradient method with guaranteed descent and an efficient line search", section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from mlpx.typing import Array

SUFFICIENT_DECREASE = 1e-4  # c₁
CURVATURE = 0.9  # c₂; Nocedal & Wright's choice for quasi-Newton directions
EXPANSION = 10.0  # a bracket grows at most by this factor
MARGIN = 0.1  # a new trial keeps this share of the interval away from both ends


class Trial(NamedTuple):
    """f at one step: numbers that the search reads, arrays that it only hands on."""

    step: float
    value: float
    slope: float
    params: Array
    value_array: Array
    gradient: Array

    @property
    def finite(self) -> bool:
        """Whether value and slope are numbers to reckon with."""
        return math.isfinite(self.value) and math.isfinite(self.slope)


class Result(NamedTuple):
    """The accepted trial, or None where no lower value was found; and how often f was evaluated."""

    accepted: Trial | None
    evaluations: int


class StrongWolfe:
    """One search along one direction.

    Parameters
    ----------
    at : callable
        Evaluates f at a step length.
    start : Trial
        Step 0; its slope is negative.
    rounding : float
        By how much equal values of f may differ.
    budget : int
        Evaluations allowed.
    """

    def __init__(self, at: Callable[[float], Trial], start: Trial, rounding: float, budget: int) -> None:
        self._at, self._start, self._rounding, self._budget = at, start, rounding, budget
        self._evaluations = 0

    def search(self, first: float) -> Result:
        """Bracket a good step, starting from `first`, and zoom in (algorithm 3.5)."""
        previous, step = self._start, first
        while self._evaluations < self._budget:
            trial = self._evaluate(step)
            if self._good(trial):
                return Result(trial, self._evaluations)
            if not self._falls(trial) or (previous.step > 0 and trial.value >= previous.value):
                return self._zoom(previous, trial)
            if trial.slope >= 0:
                return self._zoom(trial, previous)
            farthest = EXPANSION * trial.step
            step = _minimiser(previous, trial, trial.step + MARGIN * (farthest - trial.step), farthest)
            previous = trial
        return self._best(previous)

    def _zoom(self, low: Trial, high: Trial) -> Result:
        """Shrink an interval that holds a good step; `low` is its lower end that falls enough (algorithm 3.6)."""
        while self._evaluations < self._budget:
            left, right = sorted((low.step, high.step))
            margin = MARGIN * (right - left)
            step = _minimiser(low, high, left + margin, right - margin)
            if not left < step < right:  # nothing is left between two neighbouring numbers
                break
            trial = self._evaluate(step)
            if self._good(trial):
                return Result(trial, self._evaluations)
            if not self._falls(trial) or trial.value >= low.value:
                high = trial
            else:
                if trial.slope * (high.step - low.step) >= 0:
                    high = low
                low = trial
        return self._best(low)

    def _evaluate(self, step: float) -> Trial:
        self._evaluations += 1
        return self._at(step)

    def _falls(self, trial: Trial) -> bool:
        start = self._start
        if not trial.finite:
            return False
        if trial.value <= start.value + SUFFICIENT_DECREASE * trial.step * start.slope:
            return True
        drowned = abs(trial.value - start.value) <= self._rounding
        return drowned and trial.slope <= (2 * SUFFICIENT_DECREASE - 1) * start.slope

    def _good(self, trial: Trial) -> bool:
        return self._falls(trial) and abs(trial.slope) <= -CURVATURE * self._start.slope

    def _best(self, found: Trial) -> Result:
        """When evaluations run out, a lower value is still a step forward, though its slope has not flattened."""
        return Result(found if found.value < self._start.value else None, self._evaluations)


def _minimiser(a: Trial, b: Trial, least: float, most: float) -> float:
    """Where the cubic through a and b is lowest (eq. 3.59), kept between `least` and `most`; if that is nowhere, the middle.

    Where f is not finite at b, the end nearer to a: that takes few trials back from a step many powers of ten too long.
    """
    if not b.finite:
        return least if a.step < b.step else most
    middle = 0.5 * (least + most)
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step)
    square = d1 * d1 - a.slope * b.slope
    if not (math.isfinite(square) and square >= 0):
        return middle
    d2 = math.copysign(math.sqrt(square), b.step - a.step)
    denominator = b.slope - a.slope + 2 * d2
    if denominator == 0:
        return middle
    step = b.step - (b.step - a.step) * (b.slope + d2 - d1) / denominator
    return min(max(step, least), most) if math.isfinite(step) else middle
