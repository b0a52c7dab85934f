"""MLPRegressor: scikit-learn's, on any array library.

This file's constructor is over budget because scikit-learn reads an estimator's parameters from its signature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if

from mlpx.losses import Loss
from mlpx.namespace import namespace_of
from mlpx.sklearn import validation
from mlpx.sklearn.base import BaseMultilayerPerceptron, keep_arguments
from mlpx.sklearn.conversion import Convertible
from mlpx.sklearn.fit_losses import for_regression
from mlpx.sklearn.parameter_constraints import SHARED, losses_named
from mlpx.sklearn.placement import Place, place_of
from mlpx.sklearn.scaling import fitted_scaling
from mlpx.sklearn.scores import r2
from mlpx.typing import Array


class MLPRegressor(Convertible, RegressorMixin, BaseMultilayerPerceptron):
    """Multilayer perceptron for numbers; in place of `sklearn.neural_network.MLPRegressor`.

    The arguments up to `max_fun` are scikit-learn's, with its defaults and its results: the same first weights, row orders
    and updates for the same `random_state`. Those after it are mlpx's, and do nothing unless they are given.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, or what `mlpx.losses.get` takes, default="squared_error"
        "quantile", "huber", "mae", …, a Loss, or a function (output, targets) -> (rows, slope).
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, \
random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, \
epsilon, n_iter_no_change, max_fun
        As in `MLPClassifier`; the score of early stopping is R².
    optimizer, weight_decay, dropout, batch_norm, layer_norm, ema, clip_norm, clip_value, scale_inputs, n_ensembles, device, \
precision, random_stream
        As in `MLPClassifier`.
    scale_target : bool
        Whether to standardise y for training; predictions are in the units of y.

    Attributes
    ----------
    coefs_, intercepts_ : lists of arrays (n_in, n_out) and (n_out,), where X lives
    loss_, best_loss_ : float
    loss_curve_ : list of float
    validation_scores_, best_validation_score_ : R² after every epoch, and the best, with early stopping
    validation_curve_ : loss of the validation rows after every epoch
    t_, n_iter_, n_layers_, n_outputs_ : int
    out_activation_ : str
    n_features_in_, feature_names_in_ : of X

    Examples
    --------
    >>> from mlpx.sklearn import MLPRegressor
    >>> X, y = [[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0]
    >>> model = MLPRegressor(activation="identity", solver="lbfgs", alpha=0.0, random_state=1).fit(X, y)
    >>> [round(float(value), 2) for value in model.predict([[3.0]])]
    [6.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SHARED,
        "loss": losses_named("squared_error", "poisson"),
        "scale_target": ["boolean"],
    }

    def __init__(
        self,
        loss: str | Loss | Callable[..., Any] = "squared_error",
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
        optimizer: Any = None,
        weight_decay: float = 0.0,
        dropout: Any = 0.0,
        batch_norm: bool = False,
        layer_norm: bool = False,
        ema: float | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        scale_inputs: bool = False,
        scale_target: bool = False,
        n_ensembles: int = 1,
        device: Any = None,
        precision: str = "ieee",
        random_stream: str = "numpy",
    ) -> None:
        keep_arguments(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None
    ) -> MLPRegressor:
        """Train from scratch, or on from the last solution with `warm_start`.

        Parameters
        ----------
        X : (n, d) array of any library, data frame or sparse matrix
        y : (n,) or (n, k) numbers
        sample_weight : (n,), optional
        X_val, y_val, sample_weight_val : optional
            Rows to measure after every epoch, in place of those that early stopping would set aside.

        Returns
        -------
        self : MLPRegressor
        """
        held_out = validation.validation_pair(X_val, y_val, sample_weight_val)
        return self._fit(X, y, sample_weight, held_out, incremental=False)

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch over the given rows; arguments as in `fit`."""
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """The predicted numbers, (n,) or (n, k)."""
        return self._predicted(X, "predict")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² of the predictions."""
        if place_of(X).is_host:
            return super().score(X, y, sample_weight)
        place = place_of(X)
        prediction = self._predicted(X, "score")
        xp = place.xp
        prediction = prediction if prediction.ndim == 2 else prediction[:, None]
        targets = xp.astype(
            place.bring(y if hasattr(y, "dtype") and not hasattr(y, "iloc") else np.asarray(y)), prediction.dtype
        )
        weights = validation.row_weights(sample_weight, X, place, prediction.dtype)
        return r2(prediction, xp.reshape(targets, prediction.shape), weights)

    # ------------------------------------------------------------------ what the base class asks for

    def _predicted(self, X: Any, method: str) -> Array:
        output = self._prediction(X, method)
        return namespace_of(output).reshape(output, (-1,)) if output.shape[1] == 1 else output

    def _forward(self, x: Any, place: Place) -> Array:
        output = super()._forward(x, place)
        return self._target_scaling.undo(output) if self.scale_target and hasattr(self, "_target_scaling") else output

    def _accept(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Any]:
        del incremental
        X, y = validation.table_and_target(self, X, y, y_numeric=True, reset=reset)
        if place_of(y).is_host and y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _targets(self, y: Any, place: Place, dtype: Any, weights: Array | None, *, reset: bool) -> tuple[Array, Array | None]:
        y = place.xp.astype(place.bring(y), dtype, copy=False)
        y = y[:, None] if y.ndim == 1 else y
        if self.scale_target:
            if reset or not hasattr(self, "_target_scaling"):
                self._target_scaling = fitted_scaling(y, weights)
            y = self._target_scaling.apply(y)
        return y, weights

    def _make_loss(self) -> Loss:
        return for_regression(self.loss)

    def _validation_score(self, prediction: Array, targets: Array, weights: Array | None) -> float:
        return r2(prediction, targets, weights)
