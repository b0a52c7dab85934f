"""Class labels as targets of a loss, and predictions as class labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target

from mlpx.errors import InvalidInputError, InvalidTypeError
from mlpx.namespace import namespace_of
from mlpx.sklearn.placement import Place, place_of, read
from mlpx.typing import Array, DType


class LabelEncoding:
    """What the classes are, and of which kind the problem is.

    Attributes
    ----------
    classes : (k,) array
        Sorted; where y lives, on the host for labels that are no numbers.
    y_type : str
        "binary", "multiclass" or "multilabel-indicator".
    """

    def __init__(self, classes: Any, y_type: str) -> None:
        self.classes = classes
        self.y_type = y_type

    @property
    def n_outputs(self) -> int:
        """Outputs of the network: one for two classes."""
        return 1 if self.y_type == "binary" else self.classes.shape[0]

    def encoded(self, y: Any, place: Place, dtype: DType, *, as_rows: bool) -> Array:
        """Targets at `place`: (n,) labels 0 … k−1 for one class of many (or one-hot rows), (n, 1) or (n, k) bits otherwise."""
        xp = place.xp
        if self.y_type == "multilabel-indicator":
            bits = y.toarray() if hasattr(y, "toarray") else y
            bits = np.asarray(bits) if place_of(bits).is_host else bits
            return xp.astype(place.bring(bits), dtype)
        codes = place.bring(_codes(y, self.classes))
        if self.y_type == "binary":
            return xp.astype(codes, dtype)[:, None]
        if not as_rows:
            return xp.astype(codes, xp.int32)
        numbers = xp.arange(self.classes.shape[0], dtype=codes.dtype, device=place.native)
        return xp.astype(codes[:, None] == numbers[None, :], dtype)

    def decoded(self, prediction: Array) -> Array:
        """Labels of the rows of a prediction (n, k) or (n, 1): in the prediction's library, unless classes are on the host."""
        xp = namespace_of(prediction)
        if self.y_type == "multilabel-indicator":
            return xp.astype(prediction > 0.5, xp.int64 if xp is np else xp.int32)
        if self.y_type == "multiclass":
            codes = xp.argmax(prediction, axis=1)
        elif self.classes.shape[0] == 1:
            codes = xp.zeros(prediction.shape[0], dtype=xp.int32, device=place_of(prediction).native)
        else:
            codes = xp.astype(prediction[:, 0] > 0.5, xp.int32)
        if place_of(self.classes).is_host and xp is not np:
            return self.classes[read(codes)]
        return namespace_of(self.classes).take(self.classes, codes, axis=0)

    def unknown(self, labels: Any) -> bool:
        """Whether any of the given distinct labels is not a class."""
        return bool(np.setdiff1d(read(labels), read(self.classes)).size)


def fitted(y: Any) -> LabelEncoding:
    """The encoding of the classes that occur in y: an array of any library, or what scikit-learn takes."""
    if place_of(y).is_host:
        binarizer = LabelBinarizer().fit(y)
        return LabelEncoding(binarizer.classes_, binarizer.y_type_)
    xp = namespace_of(y)
    if y.ndim == 2 and y.shape[1] > 1:
        _expect_bits(y)
        return LabelEncoding(xp.arange(y.shape[1], dtype=xp.int32, device=place_of(y).native), "multilabel-indicator")
    y = xp.reshape(y, (-1,))
    _expect_discrete(y)
    classes = distinct(y)
    return LabelEncoding(classes, "multiclass" if classes.shape[0] > 2 else "binary")


def announced(classes: Any, y: Any) -> LabelEncoding:
    """The encoding of the classes that a first `partial_fit` names."""
    if place_of(y).is_host:
        multilabel = type_of_target(y).startswith("multilabel")
        return fitted(y if multilabel else read(classes))
    if y.ndim == 2 and y.shape[1] > 1:
        return fitted(y)
    return fitted(place_of(y).bring(read(classes)))


def first_call(estimator: Any, classes: Any) -> bool:
    """Whether this `partial_fit` is the first and so defines the classes; raises where they are missing or differ from then."""
    known = getattr(estimator, "classes_", None)
    if known is None or place_of(known).is_host:
        return _check_partial_fit_first_call(estimator, classes if classes is None else read(classes))
    if classes is not None and not np.array_equal(np.unique(read(classes)), read(known)):
        raise InvalidInputError(f"`classes={classes}` is not the same as on last call to partial_fit, was: {read(known)}")
    return False


def distinct(y: Any) -> Any:
    """The sorted distinct labels in an array."""
    if place_of(y).is_host:
        return np.unique(np.asarray(y))
    return namespace_of(y).unique_values(y)


def _codes(y: Any, classes: Any) -> Any:
    """The number of each label's class."""
    if place_of(y).is_host:
        return np.searchsorted(read(classes), np.asarray(y)) if len(classes) > 1 else np.zeros(len(y), np.int64)
    xp = namespace_of(y)
    y = xp.reshape(y, (-1,))
    return xp.searchsorted(place_of(y).bring(classes), y)


def _expect_bits(y: Array) -> None:
    xp = namespace_of(y)
    if not bool(xp.all((y == 0) | (y == 1))):
        raise InvalidInputError("Unknown label type: multiclass-multioutput. Rows of several labels hold zeros and ones.")


def _expect_discrete(y: Array) -> None:
    xp = namespace_of(y)
    if xp.isdtype(y.dtype, "complex floating"):
        raise InvalidTypeError(f"Unknown label type: {y.dtype}")
    if xp.isdtype(y.dtype, "real floating") and not bool(xp.all(y == xp.floor(y))):
        raise InvalidInputError(
            "Unknown label type: continuous. Maybe you are trying to fit a classifier, which expects discrete classes on a "
            "regression target with continuous values."
        )
