"""Checks of targets and weights.

`admitted_…` look at shapes and dtypes only, at every step. `check_…` look at values, once on a whole array before training: a
few reductions, whose results the host reads.
"""

from __future__ import annotations

import math

from mlpx.errors import InvalidInputError, InvalidTypeError
from mlpx.namespace import namespace_of
from mlpx.ops.targets import expect_labels, expect_values
from mlpx.typing import Array

SUM_TOLERANCE = 1e-3  # how far from 1 the sum of a row of probabilities may be: rows given in half precision pass


def admitted_labels(output: Array, targets: Array) -> Array:
    """Labels (n,) as int32 or int64, or rows (n, k) in the output's dtype."""
    xp = namespace_of(output, targets)
    expect_labels(output, targets)
    if targets.ndim == 2:
        return _as_real(targets, output)
    if targets.dtype == xp.int32 or targets.dtype == xp.int64:
        return targets
    expect_integer_labels(targets)
    return xp.astype(targets, xp.int32)


def admitted_values(output: Array, targets: Array) -> Array:
    """Values (n, k) in the output's dtype."""
    namespace_of(output, targets)
    expect_values(output, targets)
    return _as_real(targets, output)


def admitted_weights(output: Array, weights: Array) -> Array:
    """Weights (n,) in the output's dtype."""
    namespace_of(output, weights)
    if tuple(weights.shape) != (output.shape[0],):
        raise InvalidInputError(
            f"weights of shape {tuple(weights.shape)} do not fit the output of shape {tuple(output.shape)}: one for each row, "
            f"({output.shape[0]},), is needed"
        )
    return _as_real(weights, output, "weights")


def _as_real(numbers: Array, like: Array, name: str = "targets") -> Array:
    """Real numbers in the dtype of `like`."""
    if numbers.dtype == like.dtype:
        return numbers
    expect_real(numbers, name)
    return namespace_of(numbers).astype(numbers, like.dtype)


def check_labels(targets: Array, n_outputs: int) -> None:
    """Raise unless targets are integer labels (n,) in 0 … n_outputs − 1, or rows (n, n_outputs) of probabilities."""
    xp = namespace_of(targets)
    if targets.ndim == 2 and targets.shape[1] == n_outputs:
        check_probability_rows(targets)
        return
    if targets.ndim != 1:
        raise InvalidInputError(
            f"targets of shape {tuple(targets.shape)} cannot be classes of {n_outputs} outputs: give integer labels of shape "
            f"(n,), or rows of shape (n, {n_outputs})" + ("; targets[:, 0] are labels" if targets.shape[1:] == (1,) else "")
        )
    expect_integer_labels(targets)
    if 0 in targets.shape:
        return
    below, above = int(xp.min(targets)) < 0, int(xp.max(targets)) >= n_outputs
    if below or above:
        wrong = (
            (targets < 0) | (targets > n_outputs - 1) if below and above else targets < 0 if below else targets > n_outputs - 1
        )
        index = _first(wrong)
        raise InvalidInputError(
            f"targets: label {int(targets[index])}, allowed 0…{n_outputs - 1} for {n_outputs} outputs, first index {index}"
        )


def expect_integer_labels(targets: Array) -> None:
    """Raise InvalidTypeError unless targets are of an integer dtype."""
    xp = namespace_of(targets)
    if xp.isdtype(targets.dtype, "integral"):
        return
    cure = "convert them with astype(int32)" if xp.isdtype(targets.dtype, "bool") else "integers or one-hot rows are accepted"
    raise InvalidTypeError(f"targets are labels of dtype {targets.dtype}; {cure}")


def check_probability_rows(targets: Array) -> None:
    """Raise InvalidInputError unless every row holds numbers in [0, 1] that sum to 1."""
    xp = namespace_of(targets)
    expect_real(targets)
    if 0 in targets.shape:
        return
    if not xp.isdtype(targets.dtype, "real floating"):
        targets = xp.astype(targets, xp.float32)
    check_range(targets, 0.0, 1.0)
    sums = xp.sum(targets, axis=1)
    wrong = xp.abs(sums - 1) > SUM_TOLERANCE
    if bool(xp.any(wrong)):
        row = _first(wrong)
        raise InvalidInputError(f"targets: row {row} sums to {float(sums[row]):g}; probabilities of a row sum to 1")


def check_values(targets: Array, n_outputs: int, low: float, high: float) -> None:
    """Raise unless targets are finite real numbers (n, n_outputs) in [low, high]."""
    expect_real(targets)
    if targets.ndim != 2 or targets.shape[1] != n_outputs:
        cure = "; reshape them with targets[:, None]" if targets.ndim == 1 and n_outputs == 1 else ""
        raise InvalidInputError(
            f"targets of shape {tuple(targets.shape)} do not fit an output of shape (n, {n_outputs}): "
            f"{n_outputs} values a row are needed{cure}"
        )
    check_range(targets, low, high)


def expect_real(numbers: Array, name: str = "targets") -> None:
    """Raise InvalidTypeError unless an array is of a real dtype: floating, integer or bool."""
    xp = namespace_of(numbers)
    if not xp.isdtype(numbers.dtype, ("real floating", "integral", "bool")):
        raise InvalidTypeError(f"{name} are of dtype {numbers.dtype}; real numbers are accepted")


def check_range(targets: Array, low: float, high: float) -> None:
    """Raise InvalidInputError unless all values are finite and in [low, high], a range around 0 … 1: bool values are in it."""
    xp = namespace_of(targets)
    if 0 in targets.shape or xp.isdtype(targets.dtype, "bool"):
        return
    least, largest = float(xp.min(targets)), float(xp.max(targets))  # NaN propagates into both
    if low <= least and largest <= high and math.isfinite(least) and math.isfinite(largest):
        return
    values = targets if xp.isdtype(targets.dtype, "real floating") else xp.astype(targets, xp.float32)
    index = _first(xp.reshape(~xp.isfinite(values) | (values < low) | (values > high), (-1,)))
    row, column = divmod(index, targets.shape[1])
    value = float(targets[row, column])
    bounds = "finite numbers" if math.isinf(low) and math.isinf(high) else f"numbers ≥ {low:g}"
    bounds = bounds if math.isinf(high) else f"numbers in [{low:g}, {high:g}]"
    raise InvalidInputError(f"targets: value {value:g} at row {row}, column {column}; {bounds} are accepted")


def _first(wrong: Array) -> int:
    """Index of the first true element."""
    xp = namespace_of(wrong)
    return int(xp.argmax(xp.astype(wrong, xp.int32)))
