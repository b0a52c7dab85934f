"""Gradients against differences: a random direction u, and two evaluations per argument whatever its size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlpx.testing import budgets

STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
"""h of a central difference: truncation h² and rounding eps/h are equal."""

COMPLEX_STEP = 1e-30
"""h of a complex step: there is no subtraction, so it may be as small as one likes."""

Forward = Callable[..., np.ndarray]


def difference_error(
    forward: Forward, inputs: Sequence[np.ndarray], index: int, gradient: np.ndarray, dy: np.ndarray, seed: int = 0
) -> float:
    """Relative error of one argument's gradient against a central difference along a random direction.

    Parameters
    ----------
    forward : callable
        float64 NumPy arrays -> float64 NumPy array.
    inputs : sequence of arrays
    index : int
        Which of them `gradient` belongs to.
    gradient : array
        What the backward pass says, shaped like `inputs[index]`.
    dy : array
        Gradient of the result that the backward pass was given.
    seed : int
        Of the direction.

    Returns
    -------
    error : float
        |⟨dy, J u⟩ − ⟨gradient, u⟩| beyond the difference's own rounding, over the larger of ⟨dy, J u⟩ and the gradient's norm.
    """
    u = np.random.default_rng(seed).standard_normal(np.shape(inputs[index]))

    def moved(h: float) -> np.ndarray:
        return forward(*inputs[:index], inputs[index] + h * u, *inputs[index + 1 :])

    above, below = moved(STEP), moved(-STEP)
    numerical = float(np.sum(dy * (above - below))) / (2 * STEP)
    rounding = float(np.finfo(np.float64).eps * np.sum(np.abs(dy * above))) / STEP
    return _relative(numerical, gradient, u, rounding)


def complex_step_error(
    forward: Forward, inputs: Sequence[np.ndarray], index: int, gradient: np.ndarray, dy: np.ndarray, seed: int = 0
) -> float:
    """As `difference_error`, by a complex step: for functions without kinks, to rounding."""
    u = np.random.default_rng(seed).standard_normal(np.shape(inputs[index]))
    moved = [
        np.asarray(one, dtype=np.complex128) if np.issubdtype(np.asarray(one).dtype, np.floating) else one for one in inputs
    ]
    moved[index] = moved[index] + 1j * COMPLEX_STEP * u
    return _relative(float(np.sum(dy * np.imag(forward(*moved)))) / COMPLEX_STEP, gradient, u, 0.0)


def _relative(numerical: float, gradient: np.ndarray, u: np.ndarray, rounding: float) -> float:
    stated = float(np.sum(gradient * u))
    scale = max(abs(numerical), float(np.sqrt(np.sum(np.square(gradient)))))
    off = abs(numerical - stated)
    if not np.isfinite(off):
        return float("inf")
    return 0.0 if off <= rounding else (off - rounding) / scale


def compare(
    forward: Forward,
    inputs: Sequence[np.ndarray],
    gradients: Mapping[str, tuple[int, Any]],
    dy: np.ndarray,
    seed: int = 0,
    *,
    smooth: bool = False,
) -> dict[str, float]:
    """Errors of named gradients, each with the index of its input; AssertionError at the first that is wrong.

    With `smooth`, a complex step is taken too.
    """
    errors = {}
    for turn, (name, (index, gradient)) in enumerate(gradients.items()):
        if np.shape(gradient) != np.shape(inputs[index]):
            raise AssertionError(f"gradient of {name}: has shape {np.shape(gradient)}, expected {np.shape(inputs[index])}")
        errors[name] = _within(difference_error, "central differences", budgets.GRADIENT, name)(
            forward, inputs, index, gradient, dy, seed + turn
        )
        if smooth:
            _within(complex_step_error, "a complex step", budgets.COMPLEX_STEP, name)(
                forward, inputs, index, gradient, dy, seed + turn
            )
    return errors


def _within(measure: Callable[..., float], oracle: str, budget: float, name: str) -> Callable[..., float]:
    def measured(*arguments: Any) -> float:
        error = measure(*arguments)
        if not error <= budget:
            raise AssertionError(f"gradient of {name}: relative error {error:.3g} against {oracle} (budget {budget:.0e})")
        return error

    return measured
