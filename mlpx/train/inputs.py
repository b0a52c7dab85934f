"""What `fit`, `predict` and `evaluate` accept: tables, targets and weights, checked once and put where they are needed."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlpx import transfer
from mlpx.errors import DeviceMismatchError, InvalidInputError, InvalidTypeError
from mlpx.losses import Loss
from mlpx.namespace import describe, is_tracer, namespace_of, placed_as
from mlpx.registry import Device
from mlpx.typing import Array

TAKEN = "an array of NumPy, CuPy, PyTorch or JAX, a data frame, or a list of rows"


def table(x: Any, name: str = "x") -> Array:
    """X as a numeric array (n, d) of the library and on the device it came in.

    Raises
    ------
    InvalidInputError
        If it is not two-dimensional, has no rows or no columns, is ragged or masked.
    InvalidTypeError
        If it does not hold real numbers.
    """
    array = numeric(x, name)
    if array.ndim == 1:
        raise InvalidInputError(
            f"{name}: expected a 2-D array (rows, features), got 1-D of shape {tuple(array.shape)}: use {name}.reshape(-1, 1) "
            f"for one feature or {name}.reshape(1, -1) for one sample"
        )
    if array.ndim != 2:
        raise InvalidInputError(f"{name}: expected a 2-D array (rows, features), got shape {tuple(array.shape)}")
    if array.shape[0] == 0:
        raise InvalidInputError(f"{name}: 0 samples in shape {tuple(array.shape)}; at least one row is needed")
    if array.shape[1] == 0:
        raise InvalidInputError(f"{name}: 0 features in shape {tuple(array.shape)}; at least one column is needed")
    return array


def numeric(x: Any, name: str) -> Array:
    """X as an array of real numbers or booleans, of the library it came in; lists and data frames become NumPy arrays."""
    if isinstance(x, np.ndarray | np.generic | list | tuple) or hasattr(x, "__dataframe__"):
        return _numpy_numeric(x, name)
    if type(x).__module__.startswith("scipy.sparse"):
        raise InvalidTypeError(f"{name} is a sparse matrix, layers here are dense: pass {name}.toarray()")
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise InvalidTypeError(f"{name} is {'None' if x is None else f'a {type(x).__name__}'}; expected {TAKEN}")
    if is_tracer(x):
        raise InvalidTypeError(
            f"{name} is a tracer: fit, predict and evaluate cannot be called inside jit; jit a network's forward"
        )
    transfer.device(x)  # refuses what holds no readable values: sparse tensors, PyTorch's meta device
    if namespace_of(x).isdtype(x.dtype, "complex floating"):
        raise InvalidInputError(
            f"{name} is {x.dtype}: complex numbers are not supported; pass real and imaginary parts as features"
        )
    return x.detach() if getattr(x, "requires_grad", False) else x  # what a gradient-recording tensor came from is no data


def placed(array: Array, device: Device, dtype: str, name: str) -> Array:
    """A table of real numbers on `device` in `dtype`, every value finite.

    Raises
    ------
    InvalidInputError
        If a value is NaN, infinite, or beyond the range of `dtype`: with its row and column.
    """
    xp = namespace_of(array)
    if not xp.isdtype(array.dtype, "real floating"):
        _warn_if_rounded(array, dtype, name)
    with np.errstate(over="ignore"):
        cast = xp.astype(array, getattr(xp, dtype), copy=False)
    if not bool(xp.all(xp.isfinite(cast))):
        raise _not_finite(transfer.to_numpy(array), dtype, name)
    return on_device(cast, device)


def on_device(array: Array, device: Device) -> Array:
    """The array itself where it is on that device already, else a copy there."""
    here = transfer.device(array)
    return array if here == device else transfer.to_device(array, device)


def targets(y: Any, x: Array, loss: Loss, n_outputs: int, device: Device, dtype: str, name: str = "y") -> Array:
    """Y as the loss takes it, moved to where x goes: lists and NumPy arrays follow x.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        If lengths differ or a value cannot be a target of this loss.
    DeviceMismatchError
        If y is of another library or device than x, and not NumPy's.
    """
    array = numeric(y, name)
    check_follows(x, array, name)
    if array.ndim == 0 or array.shape[0] != x.shape[0]:
        found = array.shape[0] if array.ndim else "no"
        raise InvalidInputError(f"x has {x.shape[0]} rows, {name} has {found}: they must have one each for every sample")
    xp = namespace_of(array)
    floating = xp.isdtype(array.dtype, "real floating")
    if loss.target_kind == "labels" and array.ndim == 1 and not floating and not xp.isdtype(array.dtype, "bool"):
        loss.check_targets(array, n_outputs)
        array = xp.astype(array, xp.int32)
    elif loss.target_kind == "values" or array.ndim == 2:
        if not xp.isdtype(array.dtype, "real floating"):
            array = xp.astype(array, getattr(xp, dtype))
        loss.check_targets(array, n_outputs)
        array = xp.astype(array, getattr(xp, dtype), copy=False)
    else:
        loss.check_targets(array, n_outputs)
    return on_device(array, device)


def sample_weights(weights: Any, x: Array, device: Device, dtype: str) -> Array:
    """Weights (n,), one a row, on `device` in `dtype`.

    Raises
    ------
    InvalidInputError
        If there are not as many as rows, one is negative or not finite, or all are zero.
    DeviceMismatchError
        If they are of another library or device than x, and not NumPy's.
    """
    array = numeric(weights, "sample_weight")
    check_follows(x, array, "sample_weight")
    if tuple(array.shape) != (x.shape[0],):
        raise InvalidInputError(f"sample_weight has shape {tuple(array.shape)}, expected ({x.shape[0]},): one weight a row")
    xp = namespace_of(array)
    array = xp.astype(array, getattr(xp, dtype))
    host = transfer.to_numpy(array)
    for problem, wrong in (("is not finite", ~np.isfinite(host)), ("is negative", host < 0)):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidInputError(f"sample_weight[{row}] = {host[row]} {problem}; weights are finite and ≥ 0")
    if not host.any():
        raise InvalidInputError("sample_weight: all weights are zero; at least one row must count")
    return on_device(array, device)


def class_weights(targets: Array, given: Mapping[int, float] | str, classes: int, like: Array) -> Array:
    """The weight of each row's class, (n,); "balanced" is n / (k · rows of the class)."""
    xp = namespace_of(targets)
    if targets.ndim != 1:
        raise InvalidInputError("class_weight needs labels (n,), not probability rows; use sample_weight")
    one_hot = targets[:, None] == xp.arange(classes, dtype=targets.dtype, **placed_as(targets))[None, :]
    member = xp.astype(one_hot, like.dtype)
    if isinstance(given, str):
        counts = xp.sum(member, axis=0)
        one = xp.ones_like(counts)
        by_class = targets.shape[0] / (classes * xp.maximum(counts, one))
    else:
        unknown = [label for label in given if label >= classes]
        if unknown:
            raise InvalidInputError(f"class_weight names class {unknown[0]}, the network has classes 0…{classes - 1}")
        factors = [given.get(label, 1.0) for label in range(classes)]
        by_class = xp.asarray(factors, dtype=like.dtype, **placed_as(like))
    return member @ by_class


def check_follows(x: Array, other: Array, name: str) -> None:
    """Raise DeviceMismatchError unless the other is NumPy's, which is moved to x once, or where x is."""
    if not isinstance(other, np.ndarray | np.generic) and transfer.device(other) != transfer.device(x):
        raise DeviceMismatchError(
            f"x is {describe(x)}; {name} is {describe(other)}: move one of them with mlpx.to_device(array, device)"
        )


def users_level() -> int:
    """The `stacklevel` that makes a warning point at the line outside of this package, for the function that asks."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "mlpx":
        level, frame = level + 1, frame.f_back
    return level


def _numpy_numeric(x: Any, name: str) -> Any:
    """A NumPy array of real numbers in native byte order; refusals name position and type."""
    if isinstance(x, np.ma.MaskedArray) and np.ma.count_masked(x):
        raise InvalidInputError(f"{name}: {np.ma.count_masked(x)} masked values; fill or drop them, {name}.filled(value)")
    if hasattr(x, "dtypes") and hasattr(x, "columns"):
        _check_columns(x, name)
    if isinstance(x, list | tuple):
        _check_ragged(x, name)
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InvalidInputError(f"{name} is ragged, or too deep, for an array: {error}") from None
    if array.dtype.kind == "O":
        return _from_objects(array, name)
    if array.dtype.kind in "SU":
        raise InvalidTypeError(f"{name} holds text ({array.dtype}), not numeric values; encode categories as numbers first")
    if array.dtype.kind in "mM":
        raise InvalidTypeError(f"{name} holds dates ({array.dtype}), not numeric values; turn them into numbers first")
    if array.dtype.kind == "V":
        raise InvalidTypeError(f"{name} has structured dtype {array.dtype}; pass a plain 2-D array of its numeric fields")
    if array.dtype.kind == "c":
        raise InvalidInputError(f"{name} is {array.dtype}: complex numbers are not supported; pass real and imaginary parts")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="))


def _check_columns(frame: Any, name: str) -> None:
    """Refuse columns of a data frame that hold no numbers, by name."""
    for column, dtype in zip(frame.columns, frame.dtypes, strict=True):
        if getattr(dtype, "kind", "") in tuple("mM") or str(dtype).startswith(("Date", "Time", "Duration")):
            raise InvalidTypeError(f"{name}: column {column!r} holds dates ({dtype}); turn it into numbers first")


def _check_ragged(rows: Any, name: str) -> None:
    lengths = [len(row) if isinstance(row, list | tuple | np.ndarray) else -1 for row in rows]
    for number, length in enumerate(lengths):
        if length != lengths[0]:
            found = f"{length} values" if length >= 0 else "no list"
            raise InvalidInputError(
                f"{name} is ragged: row {number} has {found}, row 0 has {lengths[0]}; make all rows as long"
            )


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    for position, value in np.ndenumerate(array):
        if not isinstance(value, int | float | bool | np.number | np.bool_):
            raise InvalidTypeError(
                f"{name}[{', '.join(map(str, position))}] is a {type(value).__name__}, not a number: {value!r}"
            )
    return array.astype(np.float64)


def _warn_if_rounded(array: Array, dtype: str, name: str) -> None:
    """Warn once if whole numbers are too large for every one of them to be told apart in `dtype`."""
    xp = namespace_of(array)
    exact = 2 ** (np.finfo(dtype).nmant + 1)
    if not xp.isdtype(array.dtype, "integral") or xp.iinfo(array.dtype).max <= exact:
        return
    large = xp.any(array > exact, axis=0)
    if xp.iinfo(array.dtype).min < 0:
        large = large | xp.any(array < -exact, axis=0)
    if bool(xp.any(large)):
        column = np.flatnonzero(transfer.to_numpy(large))[0]
        message = f"{name}: column {column} holds whole numbers beyond ±{exact}, which lose precision in {dtype}"
        warnings.warn(message, stacklevel=users_level())


def _not_finite(host: np.ndarray, dtype: str, name: str) -> InvalidInputError:
    floats = host.astype(np.float64)
    if np.isnan(floats).any():
        kind, wrong = "NaN", np.isnan(floats)
    elif np.isinf(floats).any():
        kind, wrong = "infinite", np.isinf(floats)
    else:
        wrong = np.abs(floats) > np.finfo(dtype).max
        row, column = np.argwhere(wrong)[0]
        return InvalidInputError(
            f"{name}: value {floats[row, column]:g} in row {row}, column {column} is beyond the range of {dtype}; "
            "scale that column or train in float64"
        )
    row, column = np.argwhere(wrong)[0]
    return InvalidInputError(
        f"{name}: {kind} value in row {row}, column {column} ({int(wrong.sum())} such values in all); drop or fill them first"
    )
