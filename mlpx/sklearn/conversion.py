"""Fitted estimators from scikit-learn's and back: old pickles stay useful."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

import numpy as np
from sklearn import neural_network
from sklearn.preprocessing import LabelBinarizer

from mlpx.errors import ConfigError, InvalidTypeError
from mlpx.sklearn import label_encoding
from mlpx.sklearn.placement import read

E = TypeVar("E", bound="Convertible")
COUNTERS = ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "feature_names_in_", "loss_")
RECORDS = (
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "_no_improvement_count",
)
HIDDEN_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")


class Convertible:
    """The two conversions."""

    @classmethod
    def from_sklearn(cls: type[E], fitted: Any) -> E:
        """The same settings and, if it was fitted, the same trained network.

        Parameters
        ----------
        fitted : sklearn.neural_network.MLPClassifier or MLPRegressor
            Of the class of the same name; loaded from a pickle, for instance. Nothing is shared with it.

        Returns
        -------
        estimator : of this class
            A solver's momenta are not taken over: `partial_fit` goes on with fresh ones.

        Raises
        ------
        InvalidTypeError
            If it is something else.
        """
        theirs = getattr(neural_network, cls.__name__)
        if not isinstance(fitted, theirs):
            raise InvalidTypeError(
                f"{cls.__name__}.from_sklearn takes a scikit-learn {cls.__name__}, got {type(fitted).__name__}"
            )
        made: Any = cls(**fitted.get_params(deep=False))
        if hasattr(fitted, "coefs_"):
            _copy(fitted, made)
            if hasattr(fitted, "classes_"):
                made.classes_ = fitted._label_binarizer.classes_
                made._encoding = label_encoding.LabelEncoding(made.classes_, fitted._label_binarizer.y_type_)
            made.validation_curve_, made._others = [], {}
        return made

    def to_sklearn(self: Any) -> Any:
        """A scikit-learn estimator with the same settings and the same trained network, on the host.

        Raises
        ------
        ConfigError
            If the network has something that scikit-learn's cannot have: another activation or loss, normalisation, scaling
            or an ensemble.
        """
        theirs = getattr(neural_network, type(self).__name__)
        settings = {name: getattr(self, name) for name in inspect.signature(theirs).parameters}
        _expect_plain(self)
        made = theirs(**settings)
        if hasattr(self, "coefs_"):
            _copy(self, made)
            if hasattr(self, "classes_"):
                made.classes_ = read(self.classes_)
                binarizer = LabelBinarizer().fit(made.classes_)
                binarizer.classes_, binarizer.y_type_ = made.classes_, self._encoding.y_type
                made._label_binarizer = binarizer
        return made


def _copy(source: Any, goal: Any) -> None:
    """Fitted attributes, copied to the host."""
    for name in (*COUNTERS, *RECORDS):
        if hasattr(source, name):
            value = getattr(source, name)
            setattr(goal, name, list(value) if isinstance(value, list) else value)
    for name in ("coefs_", "intercepts_"):
        setattr(goal, name, [np.array(read(array), order="C") for array in getattr(source, name)])


def _expect_plain(estimator: Any) -> None:
    """Raise unless scikit-learn can have the network."""
    own = {"batch_norm": False, "layer_norm": False, "scale_inputs": False, "scale_target": False, "n_ensembles": 1}
    for name, plain in own.items():
        if getattr(estimator, name, plain) != plain:
            raise ConfigError(f"{name}={getattr(estimator, name)!r}: scikit-learn's networks have no such thing")
    if estimator.activation not in HIDDEN_ACTIVATIONS:
        raise ConfigError(f"activation={estimator.activation!r}: scikit-learn has {', '.join(HIDDEN_ACTIVATIONS)} only")
    if estimator.loss not in ("log_loss", "squared_error", "poisson"):
        raise ConfigError(f"loss={estimator.loss!r}: scikit-learn has log_loss, squared_error and poisson only")
