"""Is a gradient the slope of the loss? Central differences in float64, number by number, with what they can resolve."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

EPS = float(np.finfo(np.float64).eps)
STEP = EPS ** (1 / 3)  # truncation h² and rounding eps/h of a central difference are equal
ROUNDINGS = 32.0  # operations of a forward pass whose roundings may add up in the loss, in units of eps

BUDGET = 1e-6
"""Largest relative error of a right gradient: truncation and rounding are both 4e-11, curvature may raise it by 10⁴; a wrong
sign, axis or factor, or a lost term, gives 1e-2 or more."""

EVERY = 256  # an array of up to so many numbers is measured number by number
SAMPLE = 16  # of a longer one so many are measured, and one direction through all of them


class Measured(NamedTuple):
    """Slopes found by differences.

    Attributes
    ----------
    slopes : array
        Shaped like the gradient; NaN where not measured.
    error : float
        Largest |slope − gradient| beyond what differences can resolve, over the gradient's largest number.
    """

    slopes: np.ndarray
    error: float


def measure(loss: Callable[[np.ndarray], float], at: np.ndarray, gradient: np.ndarray) -> Measured:
    """The slopes of a loss at a point, beside a stated gradient.

    Where the slope jumps, as that of relu at 0, every number between the two one-sided slopes is right.

    Parameters
    ----------
    loss : callable
        Array like `at` -> number.
    at, gradient : float64 arrays of one shape
    """
    here = loss(at)
    slopes = np.full(at.shape, np.nan)
    scale = float(np.max(np.abs(gradient), initial=0.0))
    worst = 0.0
    for place in _places(gradient):
        unit = np.zeros(at.shape)
        unit[place] = 1.0
        slopes[place], off = _slope(loss, at, unit, here, float(gradient[place]))
        scale, worst = max(scale, abs(slopes[place])), max(worst, off)
    error = worst / scale if scale else worst
    if gradient.size > EVERY:
        direction = np.random.default_rng(0).standard_normal(at.shape)
        stated = float(np.sum(gradient * direction))
        _, off = _slope(loss, at, direction, here, stated)
        error = max(error, off / (float(np.linalg.norm(gradient)) or 1.0))
    return Measured(slopes, float(error))


def _slope(
    loss: Callable[[np.ndarray], float], at: np.ndarray, direction: np.ndarray, here: float, stated: float
) -> tuple[float, float]:
    """The slope along a direction, and how far the stated one is off beyond the resolution."""
    length = float(np.max(np.abs(direction * at))) / float(np.max(np.abs(direction)))
    h = STEP * max(1.0, length)
    above, below = loss(at + h * direction), loss(at - h * direction)
    slope = (above - below) / (2 * h)
    left, right = (here - below) / h, (above - here) / h
    resolution = ROUNDINGS * EPS * max(abs(above), abs(below), abs(here)) / h
    off = max(0.0, abs(slope - stated) - resolution)
    if off > BUDGET * max(abs(slope), abs(stated)):  # wrong, or at a kink
        off = max(0.0, min(left, right) - stated - resolution, stated - max(left, right) - resolution)
    return slope, off


def _places(gradient: np.ndarray) -> list[tuple[int, ...]]:
    """All places of a small array; of a large one the steepest and some at even distances."""
    if gradient.size <= EVERY:
        return list(np.ndindex(gradient.shape))
    chosen = {int(place) for place in np.linspace(0, gradient.size - 1, SAMPLE)} | {int(np.argmax(np.abs(gradient)))}
    return [tuple(int(i) for i in np.unravel_index(place, gradient.shape)) for place in sorted(chosen)]
