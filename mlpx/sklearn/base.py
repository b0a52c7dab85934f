"""What classifier and regressor share: from checked data to a trained network, and back to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mlpx.errors import ConfigError, InvalidInputError
from mlpx.layers import Activation
from mlpx.losses import Loss
from mlpx.losses.base import LINKS
from mlpx.sklearn import full_batch, host_kernel, validation
from mlpx.sklearn.architecture import Architecture, Plan, build, each_hidden, first_values
from mlpx.sklearn.compat import CallbackSupportMixin, Monitor
from mlpx.sklearn.ensemble import fit_members, mean_prediction
from mlpx.sklearn.epochs import FEWEST_VALIDATION_ROWS, EpochRunner, SolverState
from mlpx.sklearn.fit_losses import LINKS as OUT_ACTIVATIONS
from mlpx.sklearn.gradient import PenalisedLoss, Recipe
from mlpx.sklearn.placement import Place, chosen_device, place_of, read
from mlpx.sklearn.random_stream import Stream, stream
from mlpx.sklearn.scaling import fitted_scaling
from mlpx.sklearn.settings import Settings
from mlpx.sklearn.solvers import STOCHASTIC, descent
from mlpx.step import Batch
from mlpx.typing import Array

TILE_ROWS = 16384  # rows predicted at once: bounds the memory of hidden layers


class BaseMultilayerPerceptron(Settings, CallbackSupportMixin, BaseEstimator, ABC):
    """A multilayer perceptron with scikit-learn's interface; use MLPClassifier or MLPRegressor."""

    # ------------------------------------------------------------------ what a subclass says

    @abstractmethod
    def _accept(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """X and y checked; what the targets are is remembered."""

    @abstractmethod
    def _targets(self, y: Any, place: Place, dtype: Any, weights: Array | None, *, reset: bool) -> tuple[Array, Array | None]:
        """Targets as the loss takes them, and the rows' weights with class weights in them."""

    @abstractmethod
    def _make_loss(self) -> Loss:
        """The loss that the settings name, for the targets at hand."""

    @abstractmethod
    def _validation_score(self, prediction: Array, targets: Array, weights: Array | None) -> float:
        """What early stopping looks at."""

    # ------------------------------------------------------------------ training

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation_data: tuple[Any, Any, Any] | None = None,
        *,
        incremental: bool,
    ) -> Any:
        """Train on X and y, from scratch or from where the estimator is."""
        if incremental and self.early_stopping and self.solver in STOCHASTIC:
            raise InvalidInputError("partial_fit does not support early_stopping=True")
        sizes = self._hidden_sizes()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        given = (X, y, sample_weight)
        X, y = self._accept(X, y, incremental=incremental, reset=first_pass)
        if self.n_ensembles > 1:
            return fit_members(self, *given, validation_data, incremental=incremental)
        place = validation.compute_place(X, chosen_device(self.device))
        with place.precision(self.precision):
            weights = validation.row_weights(sample_weight, X, place, place.floating(X.dtype))
            x = self._scaled(validation.moved(X, place), weights, reset=first_pass)
            targets, weights = self._targets(y, place, x.dtype, weights, reset=first_pass)
            self.n_outputs_ = targets.shape[1] if targets.ndim == 2 else int(self.classes_.shape[0])
            draws = stream(self.random_stream, self.random_state, len(getattr(self, "loss_curve_", ())))
            architecture = build(self._plan(sizes, sparse=hasattr(x, "tocsr")))
            loss = self._make_loss()
            if first_pass:
                self._initialize(architecture, loss, draws, place, x.dtype)
            rows = Batch(x, targets, () if weights is None else weights)
            self._train(architecture, loss, rows, draws, place, given, validation_data, incremental=incremental)
        self._check_finite(place)
        return self

    def _train(
        self,
        architecture: Architecture,
        loss: Loss,
        rows: Batch,
        draws: Stream,
        place: Place,
        given: tuple[Any, Any, Any],
        validation_data: tuple[Any, Any, Any] | None,
        *,
        incremental: bool,
    ) -> None:
        """Run the solver and keep what it found."""
        objective = PenalisedLoss(architecture, loss, float(self.alpha))
        named = architecture.parameters(self.coefs_, self.intercepts_, getattr(self, "_others", None))
        monitor = Monitor(self, *given, self.max_iter, lambda found: self._attributes(architecture, found))
        if self.solver in STOCHASTIC:
            if not incremental or not hasattr(self, "_optimizer"):
                self._optimizer = SolverState(self.learning_rate_init)
            held_out = None if validation_data is None else self._prepared(*validation_data, place, rows.x.dtype)
            if self.early_stopping and held_out is None:
                rows, held_out = self._held_out(rows, draws, place)
            recipe = Recipe(objective, descent(self), float(self.weight_decay))
            runner = EpochRunner(self, place, recipe, draws, self._validation_score, rows, held_out)
            named = runner.run(named, incremental=incremental, monitor=monitor)
        elif place.is_host:
            named = full_batch.fit_on_host(self, objective, rows, named)
        else:
            named = full_batch.fit_on_device(self, objective, rows, named, place)
        vars(self).update(self._attributes(architecture, named))
        monitor.close(named)

    def _initialize(self, architecture: Architecture, loss: Loss, draws: Stream, place: Place, dtype: Any) -> None:
        """Counters, and first weights: uniform, within Glorot and Bengio's bound, biases too."""
        self.n_iter_ = self.t_ = 0
        units = self._plan(self._hidden_sizes(), sparse=False).units
        self.n_layers_ = len(units)
        self.out_activation_ = OUT_ACTIVATIONS[loss.link_name]
        self.coefs_, self.intercepts_ = [], []
        names = self._activation_names()
        for number in range(len(units) - 1):
            fan_in, fan_out = units[number : number + 2]
            factor = 2.0 if names[min(number, len(names) - 1)] in ("logistic", "sigmoid") else 6.0
            bound = float(np.sqrt(factor / (fan_in + fan_out)))
            self.coefs_.append(draws.uniform(bound, (fan_in, fan_out), place, dtype))
            self.intercepts_.append(draws.uniform(bound, (fan_out,), place, dtype))
        self._others = first_values(architecture, place, dtype)
        if self.solver in STOCHASTIC:
            self.loss_curve_, self.validation_curve_ = [], []
            self._no_improvement_count = 0
            stopping = self.early_stopping
            self.best_loss_ = None if stopping else np.inf
            self.validation_scores_ = [] if stopping else None
            self.best_validation_score_ = -np.inf if stopping else None

    def _held_out(self, rows: Batch, draws: Stream, place: Place) -> tuple[Batch, Batch]:
        """Training and validation rows; two classes keep their shares."""
        n = rows.x.shape[0]
        strata = rows.targets if hasattr(self, "classes_") and self.n_outputs_ == 1 else None
        parts = draws.split(n, self.validation_fraction, strata, place)
        if parts[1].shape[0] < FEWEST_VALIDATION_ROWS:
            raise InvalidInputError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        split: list[list[Any]] = [
            [() if isinstance(part, tuple) else validation.rows_of(part, which) for part in rows] for which in parts
        ]
        train, held_out = split
        return Batch(*train), Batch(*held_out)

    def _prepared(self, X: Any, y: Any, sample_weight: Any, place: Place, dtype: Any) -> Batch:
        """Validation rows of the user's own, as the loss takes them."""
        X = validation.table(self, X)
        x = self._scaled(validation.moved(X, place), None, reset=False)
        weights = validation.row_weights(sample_weight, X, place, dtype)
        y = y if hasattr(y, "shape") and hasattr(y, "dtype") and not hasattr(y, "iloc") else np.asarray(y)
        targets, weights = self._targets(y, place, dtype, weights, reset=False)
        return Batch(
            place.xp.astype(x, dtype, copy=False) if not hasattr(x, "tocsr") else x, targets, () if weights is None else weights
        )

    def _attributes(self, architecture: Architecture, named: dict[str, Array]) -> dict[str, Any]:
        """The fitted attributes that a network's parameters are."""
        weights = {f"{prefix}{name}" for prefix in architecture.dense for name in ("weight", "bias")}
        return {
            "coefs_": [named[f"{prefix}weight"].T for prefix in architecture.dense],
            "intercepts_": [named[f"{prefix}bias"] for prefix in architecture.dense],
            "_others": {name: array for name, array in named.items() if name not in weights},
        }

    def _check_finite(self, place: Place) -> None:
        arrays = (*self.coefs_, *self.intercepts_)
        if not all(bool(read(place.xp.all(place.xp.isfinite(array)))) for array in arrays):
            raise InvalidInputError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )

    # ------------------------------------------------------------------ settings

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise InvalidInputError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(size) for size in sizes]

    def _plan(self, sizes: list[int], *, sparse: bool) -> Plan:
        if self.batch_norm and self.layer_norm:
            raise ConfigError("batch_norm=True and layer_norm=True: choose one")
        hidden = len(sizes)
        return Plan(
            units=(self.n_features_in_, *sizes, self.n_outputs_),
            activations=each_hidden("activation", self.activation, hidden, single=(str, Activation)),
            dropout=each_hidden("dropout", self.dropout, hidden, single=(int, float, np.number)),
            normalization="batch" if self.batch_norm else "layer" if self.layer_norm else None,
            sparse=sparse,
        )

    def _activation_names(self) -> list[str]:
        given = [self.activation] if isinstance(self.activation, str | Activation) else list(self.activation)
        return [one if isinstance(one, str) else one.name for one in given] or ["relu"]

    def _scaled(self, x: Any, weights: Array | None, *, reset: bool) -> Any:
        """X standardised where `scale_inputs` asks for it."""
        if not self.scale_inputs:
            return x
        if hasattr(x, "tocsr"):
            raise ConfigError("scale_inputs=True would fill a sparse X: scale it with StandardScaler(with_mean=False) instead")
        if reset or not hasattr(self, "_input_scaling"):
            self._input_scaling = fitted_scaling(x, weights)
        return self._input_scaling.apply(x)

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC:
            raise AttributeError(f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic.")
        return True

    # ------------------------------------------------------------------ prediction

    def _prediction(self, X: Any, method: str) -> Any:
        """What the output activation makes of the network's output for the rows of X, in X's library."""
        check_is_fitted(self)
        if self.n_ensembles > 1:
            return mean_prediction(self, X)
        validation.expect_same_place(self, X, method, anywhere=chosen_device(self.device) is not None)
        checked = validation.table(self, X)
        place = place_of(self.coefs_[0])
        if place.is_host:
            return self._forward(checked, place)
        with place.precision(self.precision):
            x = validation.moved(checked, place)
            output = self._forward(x, place)
        return output if place_of(checked) == place or not place_of(checked).is_host else read(output)

    def _forward(self, x: Any, place: Place) -> Any:
        """The prediction for checked rows where the parameters are."""
        xp = place.xp
        dtype = xp.result_type(x.dtype, self.coefs_[0].dtype)
        x = self._scaled(x, None, reset=False)
        if self._is_plain(place):
            return host_kernel.predict(self.coefs_, self.intercepts_, self.activation, self.out_activation_, x)
        link = LINKS["sigmoid" if self.out_activation_ == "logistic" else self.out_activation_]
        architecture = build(self._plan(self._hidden_sizes(), sparse=hasattr(x, "tocsr")))
        named = architecture.parameters(self.coefs_, self.intercepts_, getattr(self, "_others", None))
        if x.dtype != dtype:
            x = x.astype(dtype) if hasattr(x, "tocsr") else xp.astype(x, dtype)
        if self.coefs_[0].dtype != dtype:
            named = {name: xp.astype(array, dtype) for name, array in named.items()}
        starts = range(0, x.shape[0], TILE_ROWS)
        outputs = [link(architecture.net.forward(named, _tile(x, start))[0]) for start in starts]
        return outputs[0] if len(outputs) == 1 else xp.concat(outputs, axis=0)

    def _is_plain(self, place: Place) -> bool:
        """Whether there is nothing in the network but matrices, biases and scikit-learn's activations, all on the host."""
        ordinary = isinstance(self.activation, str) and self.activation in host_kernel.ACTIVATIONS
        return place.is_host and ordinary and not (self.batch_norm or self.layer_norm)

    def _loss_grad_lbfgs(self, packed_coef_inter: Any, X: Any, y: Any, sample_weight: Any, *_: Any) -> tuple[float, Any]:
        """Penalised loss and gradient at a vector of all parameters, packed as scikit-learn packs them."""
        architecture = build(self._plan(self._hidden_sizes(), sparse=hasattr(X, "tocsr")))
        weights = () if sample_weight is None else sample_weight
        targets: Any = np.asarray(y, dtype=X.dtype)
        batch = Batch(X, targets, weights)
        objective = PenalisedLoss(architecture, self._make_loss(), float(self.alpha))
        return full_batch.value_and_gradient(objective, batch, {})(packed_coef_inter)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


def keep_arguments(estimator: Any, given: dict[str, Any]) -> None:
    """Keep constructor arguments as they are, each under its own name: scikit-learn's rule."""
    vars(estimator).update({name: value for name, value in given.items() if name not in ("self", "__class__")})


def _tile(x: Any, start: int) -> Any:
    """At most TILE_ROWS rows from `start` on."""
    rows = x.shape[0]
    return x if rows <= TILE_ROWS else x[start : min(start + TILE_ROWS, rows), :]
