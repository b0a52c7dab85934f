"""What `fit` and `predict` accept: scikit-learn's own checks for host data, the same ones on the device for device arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import _check_feature_names, _check_n_features, _check_sample_weight, validate_data

from mlpx.errors import ConfigError, InvalidInputError, InvalidTypeError
from mlpx.namespace import namespace_of
from mlpx.sklearn.placement import Place, host, named, place_of
from mlpx.typing import Array, DType


def table_and_target(estimator: Any, X: Any, y: Any, *, y_numeric: bool, reset: bool) -> tuple[Any, Any]:
    """X and y checked: X a floating array (n, d) or a CSR matrix where it is, y not yet moved."""
    if place_of(X).is_host:
        keywords = {"y_numeric": True} if y_numeric else {}
        if y is not None and not place_of(y).is_host:
            y = np.asarray(host().bring(y))
        X, y = validate_data(
            estimator,
            X,
            y,  # type: ignore[arg-type]
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
            **keywords,
        )
        return (X.tocsr() if hasattr(X, "tocsr") else X), y
    if y is None:
        raise InvalidInputError(f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None.")
    X = device_table(estimator, X, reset=reset)
    y = y if hasattr(y, "dtype") and hasattr(y, "shape") and not hasattr(y, "iloc") else np.asarray(y)
    if y.ndim == 0 or y.shape[0] != X.shape[0]:
        found = y.shape[0] if y.ndim else 1
        raise InvalidInputError(f"Found input variables with inconsistent numbers of samples: [{X.shape[0]}, {found}]")
    _expect_finite(y, "Input y contains NaN or infinity.")
    return X, y


def table(estimator: Any, X: Any) -> Any:
    """X checked for a prediction."""
    if place_of(X).is_host:
        return validate_data(estimator, X, accept_sparse=["csr", "csc"], reset=False)
    return device_table(estimator, X, reset=False)


def device_table(estimator: Any, X: Array, *, reset: bool) -> Array:
    """A device array checked as `validate_data` checks a NumPy array, without leaving the device."""
    place = place_of(X)
    xp = namespace_of(X)
    if X.ndim != 2:
        raise InvalidInputError(
            f"Expected 2D array, got {X.ndim}D array instead: shape {tuple(X.shape)}. Reshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a single sample."
        )
    if not xp.isdtype(X.dtype, ("real floating", "integral", "bool")):
        raise InvalidTypeError(f"Complex data not supported: X is {X.dtype}; pass real numbers")
    for axis, noun in ((0, "sample"), (1, "feature")):
        if X.shape[axis] == 0:
            raise InvalidInputError(
                f"Found array with 0 {noun}(s) (shape={tuple(X.shape)}) while a minimum of 1 is required by "
                f"{type(estimator).__name__}."
            )
    _check_feature_names(estimator, X, reset=reset)
    _check_n_features(estimator, X, reset=reset)
    X = xp.astype(X, place.floating(X.dtype), copy=False)
    _expect_finite(X, f"Input X contains NaN or infinity. {type(estimator).__name__} does not accept missing values.")
    return X


def compute_place(X: Any, device: Any) -> Place:
    """Where to compute: where X is, unless X is on the host and `device=` names another place."""
    place = place_of(X)
    return named(device) if place.is_host and device is not None else place


def moved(X: Any, place: Place) -> Any:
    """A checked X where it is computed with, of a dtype that there is; sparse matrices stay as they are on the host."""
    if hasattr(X, "tocsr"):
        return X if place.is_host else place.put(X.toarray())
    if place_of(X) == place:
        return X
    X = place.put(X)
    return place.xp.astype(X, place.floating(X.dtype), copy=False)


def row_weights(sample_weight: Any, X: Any, place: Place, dtype: DType) -> Array | None:
    """Sample weights (n,) at `place`, or None."""
    if sample_weight is None:
        return None
    if place_of(X).is_host and place_of(sample_weight).is_host:
        sample_weight = _check_sample_weight(sample_weight, X)
    elif isinstance(sample_weight, int | float):
        sample_weight = place.xp.full((X.shape[0],), float(sample_weight), dtype=dtype, device=place.native)
    weights = place.bring(sample_weight if hasattr(sample_weight, "dtype") else np.asarray(sample_weight))
    if tuple(weights.shape) != (X.shape[0],):
        raise InvalidInputError(f"sample_weight.shape == {tuple(weights.shape)}, expected {(X.shape[0],)}!")
    return place.xp.astype(weights, dtype, copy=False)


def expect_same_place(estimator: Any, X: Any, method: str, *, anywhere: bool) -> None:
    """Raise unless X is where the estimator was fitted, as scikit-learn asks of arrays; `anywhere` lets host data pass."""
    fitted = place_of(estimator.coefs_[0])
    given = place_of(X)
    if given == fitted or (given.is_host and (fitted.is_host or anywhere)):
        return
    raise InvalidInputError(
        f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace and the same device as those "
        f"passed to fit(). fit() saw arrays of {fitted.xp.__name__} on {fitted.native}, {method}() got {given.xp.__name__} on "
        f"{given.native}; move X with mlpx.to_device(X, device)"
    )


def validation_pair(X_val: Any, y_val: Any, sample_weight_val: Any) -> tuple[Any, Any, Any] | None:
    """Validation data, if there is any; both or neither of X and y."""
    if (X_val is None) != (y_val is None):
        raise ConfigError("X_val and y_val: give both or neither")
    return None if X_val is None else (X_val, y_val, sample_weight_val)


def rows_of(part: Any, which: Array) -> Any:
    """Some rows of an array or a sparse matrix."""
    if hasattr(part, "tocsr"):
        return part[which]
    return namespace_of(part).take(part, which, axis=0)


def _expect_finite(array: Any, message: str) -> None:
    if place_of(array).is_host:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidInputError(message)
        return
    xp = namespace_of(array)
    if xp.isdtype(array.dtype, "real floating") and not bool(xp.all(xp.isfinite(array))):
        raise InvalidInputError(message)
