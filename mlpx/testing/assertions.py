"""Assertions that compare where arrays live and what they are before they compare values."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx import registry
from mlpx.namespace import describe, device_of, is_floating
from mlpx.testing import budgets
from mlpx.typing import Array, Device, DType, Shape


def assert_same_kind(actual: Any, desired: Any, *, what: str = "result", shape: bool = True) -> None:
    """Fail unless both arrays come from one library and have the same device, dtype and shape.

    Parameters
    ----------
    actual, desired : arrays
    what : str
        Name of `actual` in the message.
    shape : bool
        Whether shapes are compared too.

    Raises
    ------
    AssertionError
        Naming the first of the four that differs, with both arrays described.
    """
    expect_kind(actual, type(desired), device_of(desired), desired.dtype, tuple(desired.shape) if shape else None, what)


def expect_kind(actual: Any, kind: type, device: Device, dtype: DType, shape: Shape | None, what: str) -> None:
    """Fail unless an array has this type, device, dtype and (unless None) shape."""
    if not hasattr(actual, "dtype") or not hasattr(actual, "shape"):
        raise AssertionError(f"{what}: expected an array, got {type(actual).__name__}")
    if _library(type(actual)) != _library(kind):
        raise AssertionError(f"{what}: came from {_library(type(actual))}, expected {_library(kind)} ({describe(actual)})")
    found = device_of(actual)
    if found is not None and device is not None and found != device:
        raise AssertionError(f"{what}: is on device {found}, expected {device} ({describe(actual)})")
    if actual.dtype != dtype:
        raise AssertionError(f"{what}: has dtype {actual.dtype}, expected {getattr(dtype, '__name__', dtype)}")
    if shape is not None and tuple(actual.shape) != tuple(shape):
        raise AssertionError(f"{what}: has shape {tuple(actual.shape)}, expected {tuple(shape)}")


def assert_close(
    actual: Any, desired: Any, *, kind: str = "elementwise", terms: int = 1, budget: float | None = None, what: str = "result"
) -> None:
    """Fail unless two arrays agree in library, device, dtype, shape, and then in value within a budget.

    Both operands are looked at: a result that silently became NumPy fails, and so does an expectation of another dtype.

    Parameters
    ----------
    actual, desired : arrays of one library
    kind, terms : str, int
        Which budget of `mlpx.testing.budgets` holds; integers and booleans must be equal.
    budget : float, optional
        Given instead of `kind`, in units of eps of the largest |desired|.
    what : str
        Name of `actual` in the message.

    Raises
    ------
    AssertionError
        Saying what differs, and by how much.

    Examples
    --------
    >>> import numpy as np
    >>> assert_close(np.asarray([0.1 + 0.2]), np.asarray([0.3]))
    >>> assert_close(np.float32([1.0]), np.float64([1.0]))
    Traceback (most recent call last):
    AssertionError: result: has dtype float32, expected float64
    """
    assert_same_kind(actual, desired, what=what)
    backend = registry.backend_of(actual)
    assert_values(
        backend.to_numpy(actual),
        backend.to_numpy(desired),
        dtype=_eps_dtype(actual),
        budget=budgets.of(kind, terms) if budget is None else budget,
        what=what,
    )


def assert_matches_reference(
    actual: Array, reference: np.ndarray, *, like: Array, kind: str = "elementwise", terms: int = 1, what: str = "result"
) -> None:
    """Fail unless an array has `like`'s library, device and dtype, and a NumPy reference's shape and, within budget, values.

    Parameters
    ----------
    actual : array
    reference : NumPy array
        Computed in a higher precision on the same rounded inputs.
    like : array
        What `actual` was computed from.
    kind, terms, what : as in `assert_close`
    """
    expect_kind(actual, type(like), device_of(like), like.dtype, np.shape(reference), what)
    values = registry.backend_of(actual).to_numpy(actual)
    assert_values(values, np.asarray(reference), dtype=_eps_dtype(actual), budget=budgets.of(kind, terms), what=what)


def assert_values(values: np.ndarray, reference: np.ndarray, *, dtype: str | None, budget: float, what: str) -> None:
    """Fail unless NumPy arrays agree within `budget` units of eps(dtype) of the reference's scale; exactly if dtype is None."""
    if np.shape(values) != np.shape(reference):
        raise AssertionError(f"{what}: has shape {np.shape(values)}, expected {np.shape(reference)}")
    if dtype is None:
        wrong = int(np.sum(np.asarray(values) != np.asarray(reference)))
        if wrong:
            raise AssertionError(f"{what}: {wrong} of {np.size(values)} values differ from the reference")
        return
    error = budgets.error_in_eps(values, reference, dtype)
    if not error <= budget:
        raise AssertionError(
            f"{what}: error {error:.3g} eps of the largest value (budget {budget:.3g}, {dtype}); {_worst(values, reference)}"
        )


def _worst(values: np.ndarray, reference: np.ndarray) -> str:
    """Where two arrays differ most, and what stands there."""
    values, reference = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        off = np.abs(values - reference)
    off = np.where(np.isnan(off), np.where(np.isnan(values) == np.isnan(reference), 0.0, np.inf), off)
    at = np.unravel_index(int(np.argmax(off)), off.shape)
    place = f"at {tuple(int(i) for i in at)} " if off.ndim else ""
    return f"{place}got {values[at]:.9g}, expected {reference[at]:.9g}"


def _eps_dtype(array: Array) -> str | None:
    """Name of the floating dtype whose eps is the unit; None for integers and booleans."""
    return str(array.dtype).rpartition(".")[2] if is_floating(array) else None


def _library(kind: type) -> str:
    """The library an array type belongs to; JAX keeps its arrays in jaxlib and its tracers in jax."""
    return kind.__module__.partition(".")[0].removesuffix("lib")
