"""MLPClassifier: scikit-learn's, on any array library.

This file's constructor is over budget because scikit-learn reads an estimator's parameters from its signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if

from mlpx.errors import ConfigError, InvalidInputError
from mlpx.losses import Loss
from mlpx.namespace import namespace_of
from mlpx.sklearn import label_encoding, validation
from mlpx.sklearn.base import BaseMultilayerPerceptron, keep_arguments
from mlpx.sklearn.conversion import Convertible
from mlpx.sklearn.fit_losses import for_classification
from mlpx.sklearn.label_encoding import LabelEncoding
from mlpx.sklearn.parameter_constraints import SHARED, losses_named
from mlpx.sklearn.placement import Place, place_of, read
from mlpx.sklearn.scores import accuracy
from mlpx.train.inputs import class_weights
from mlpx.typing import Array


class MLPClassifier(Convertible, ClassifierMixin, BaseMultilayerPerceptron):
    """Multilayer perceptron for classes; in place of `sklearn.neural_network.MLPClassifier`.

    The arguments up to `max_fun` are scikit-learn's, with its defaults and its results: the same first weights, row orders
    and updates for the same `random_state`. Those after it are mlpx's, and do nothing unless they are given.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(100,)
        Units of every hidden layer.
    activation : str, layers.Activation, or a list of them, default="relu"
        Of the hidden layers, or of each of them: any activation of mlpx.
    solver : {"adam", "sgd", "lbfgs"}
    alpha : float
        α of the penalty ½α‖W‖², divided by the rows of a batch.
    batch_size : int or "auto"
        "auto" is 200, or all rows if there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}
        How the rate of "sgd" develops.
    learning_rate_init : float
    power_t : float
        Exponent of "invscaling".
    max_iter : int
        Epochs, or iterations of "lbfgs", at most.
    shuffle : bool
    random_state : int, RandomState instance or None
    tol : float
        An improvement that is smaller is none; for "lbfgs", the largest component of the gradient at the end.
    verbose, warm_start : bool
    momentum : float
    nesterovs_momentum : bool
    early_stopping : bool
        Whether to stop by the score on validation rows, and keep the best parameters.
    validation_fraction : float
        Share of the rows set aside for that, if `fit` is not given `X_val`.
    beta_1, beta_2, epsilon : float
        Of "adam".
    n_iter_no_change : int
    max_fun : int
        Evaluations of "lbfgs" at most.
    loss : str, Loss or callable
        "log_loss", or what `mlpx.losses.get` takes: its targets are then labels or one-hot rows.
    class_weight : mapping of class to float, "balanced" or None
    optimizer : str, mapping or mlpx optimizer, optional
        In place of the solver's update; its learning rate may be a schedule.
    weight_decay : float
        Decoupled decay λ: a step multiplies weights by 1 − η λ.
    dropout : float or list of float
        Behind each hidden layer.
    batch_norm, layer_norm : bool
        Normalisation in front of each hidden activation.
    ema : float, optional
        Decay of an average of the parameters, which then predicts.
    clip_norm, clip_value : float, optional
        Limits of the gradient's norm and of its components.
    scale_inputs : bool
        Whether to standardise X.
    n_ensembles : int
        Networks of different seeds whose probabilities are averaged; they are trained one after another.
    device : str or Device, optional
        Where to compute when X is on the host; arrays of another library are computed where they are.
    precision : {"ieee", "tf32", "bf16", "fp16"}
    random_stream : {"numpy", "mlpx"}
        scikit-learn's random numbers, or mlpx's, which are drawn on the device.

    Attributes
    ----------
    classes_ : array of labels
    coefs_, intercepts_ : lists of arrays (n_in, n_out) and (n_out,), where X lives
    loss_, best_loss_ : float
    loss_curve_ : list of float
    validation_scores_, best_validation_score_ : accuracy after every epoch, and the best, with early stopping
    validation_curve_ : loss of the validation rows after every epoch
    t_, n_iter_, n_layers_, n_outputs_ : int
    out_activation_ : str
    n_features_in_, feature_names_in_ : of X

    Examples
    --------
    >>> from mlpx.sklearn import MLPClassifier
    >>> X = [[0.0, 0.0], [1.0, 1.0]]
    >>> MLPClassifier(solver="lbfgs", random_state=1).fit(X, [0, 1]).predict([[2.0, 2.0], [-1.0, -2.0]])
    array([1, 0])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SHARED,
        "loss": losses_named("log_loss"),
        "class_weight": [None, Mapping, dict, str],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: str | Loss | Callable[..., Any] = "log_loss",
        class_weight: Any = None,
        optimizer: Any = None,
        weight_decay: float = 0.0,
        dropout: Any = 0.0,
        batch_norm: bool = False,
        layer_norm: bool = False,
        ema: float | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        scale_inputs: bool = False,
        n_ensembles: int = 1,
        device: Any = None,
        precision: str = "ieee",
        random_stream: str = "numpy",
    ) -> None:
        keep_arguments(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None
    ) -> MLPClassifier:
        """Train from scratch, or on from the last solution with `warm_start`.

        Parameters
        ----------
        X : (n, d) array of any library, data frame or sparse matrix
        y : (n,) labels, or (n, k) bits for several labels a row
        sample_weight : (n,), optional
        X_val, y_val, sample_weight_val : optional
            Rows to measure after every epoch, in place of those that early stopping would set aside.

        Returns
        -------
        self : MLPClassifier
        """
        return self._fit(X, y, sample_weight, validation.validation_pair(X_val, y_val, sample_weight_val), incremental=False)

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """One epoch over the given rows.

        Parameters
        ----------
        X, y, sample_weight : as in `fit`
        classes : (k,) labels
            All that will ever occur; needed in the first call.

        Returns
        -------
        self : MLPClassifier
        """
        if label_encoding.first_call(self, classes):
            self._encoding = label_encoding.announced(classes, y)
            self.classes_ = self._encoding.classes
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """The class of every row, (n,), or its bits, (n, k)."""
        prediction = self._prediction(X, "predict")
        return self._encoding.decoded(prediction)

    def predict_proba(self, X: Any) -> Array:
        """Probability of every class, (n, k), in the order of `classes_`."""
        return self._probabilities(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithm of `predict_proba`."""
        probabilities = self._probabilities(X, "predict_log_proba")
        if isinstance(probabilities, np.ndarray):
            return np.log(probabilities, out=probabilities)
        return namespace_of(probabilities).log(probabilities)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the rows whose class is right."""
        if place_of(X).is_host:
            return super().score(X, y, sample_weight)
        place = place_of(X)
        prediction = self._prediction(X, "score")
        weights = validation.row_weights(sample_weight, X, place, prediction.dtype)
        y = y if hasattr(y, "shape") and not hasattr(y, "iloc") else np.asarray(y)
        targets = self._encoding.encoded(y, place, prediction.dtype, as_rows=False)
        return accuracy(prediction, targets, weights)

    def _probabilities(self, X: Any, method: str) -> Any:
        """Probability of every class, (n, k)."""
        probabilities = self._prediction(X, method)
        if probabilities.shape[1] > 1:
            return probabilities
        xp = namespace_of(probabilities)
        return xp.concat([1 - probabilities, probabilities], axis=1)

    # ------------------------------------------------------------------ what the base class asks for

    def _accept(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = validation.table_and_target(self, X, y, y_numeric=False, reset=reset)
        if place_of(y).is_host and y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not place_of(X).is_host and (not place_of(y).is_host or y.dtype.kind in "iufb"):
            y = place_of(X).bring(y)  # numbers follow X; text stays on the host, where it can be
        found = label_encoding.fitted(y)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._encoding = found
            self.classes_ = found.classes
        else:
            self._expect_known(found)
        return X, y

    def _expect_known(self, found: LabelEncoding) -> None:
        """Raise unless the classes in y are those of before: all of them after a warm start, none but them otherwise."""
        same = not found.unknown(self.classes_) if self.warm_start else True
        if self.warm_start and not (same and not self._encoding.unknown(found.classes)):
            raise InvalidInputError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously got "
                f"{self.classes_}, `y` has {found.classes}"
            )
        if self._encoding.unknown(found.classes):
            raise InvalidInputError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {found.classes}."
            )

    def _targets(self, y: Any, place: Place, dtype: Any, weights: Array | None, *, reset: bool) -> tuple[Array, Array | None]:
        del reset
        as_rows = self._make_loss().target_kind == "values"
        targets = self._encoding.encoded(y, place, dtype, as_rows=as_rows)
        if self.class_weight is None:
            return targets, weights
        if self._encoding.y_type == "multilabel-indicator":
            raise ConfigError("class_weight needs one class a row; give sample_weight for several labels a row")
        xp = place.xp
        codes = self._encoding.encoded(y, place, dtype, as_rows=False)
        codes = xp.astype(xp.reshape(codes, (-1,)), xp.int32)
        by_class = class_weights(
            codes, self._numbered_weights(), max(int(self.classes_.shape[0]), 2), xp.zeros_like(codes, dtype=dtype)
        )
        return targets, by_class if weights is None else weights * by_class

    def _numbered_weights(self) -> Mapping[int, float] | str:
        """Class weights by number of the class."""
        given = self.class_weight
        if isinstance(given, str):
            if given != "balanced":
                raise ConfigError(f"class_weight={given!r}: expected 'balanced' or a mapping of class to weight")
            return given
        numbers = {label: number for number, label in enumerate(read(self.classes_).tolist())}
        unknown = [label for label in given if label not in numbers]
        if unknown:
            raise ConfigError(f"class_weight names {unknown[0]!r}, which is no class of y (classes: {list(numbers)})")
        return {numbers[label]: float(weight) for label, weight in given.items()}

    def _make_loss(self) -> Loss:
        return for_classification(self.loss, self._encoding.y_type)

    def _validation_score(self, prediction: Array, targets: Array, weights: Array | None) -> float:
        if self._encoding.y_type == "multiclass" and targets.ndim == 2:
            targets = namespace_of(targets).argmax(targets, axis=1)
        return accuracy(prediction, targets, weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
