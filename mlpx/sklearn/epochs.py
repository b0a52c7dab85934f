"""The epochs of the stochastic solvers: batches, losses, scikit-learn's stopping rules."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from mlpx import optim, random
from mlpx.losses import weighted_mean
from mlpx.losses.base import LINKS
from mlpx.namespace import constant
from mlpx.parameters import Parameters
from mlpx.sklearn.gradient import Recipe, steps_of
from mlpx.sklearn.placement import Place
from mlpx.sklearn.random_stream import Stream
from mlpx.sklearn.scores import Score
from mlpx.step import Batch, Epoch, State, empty_totals
from mlpx.typing import Array

SMALLEST_RATE = 1e-6  # an adaptive rate at or below this ends training
FEWEST_VALIDATION_ROWS = 2


class SolverState:
    """What a stochastic solver carries from one `partial_fit` to the next.

    Attributes
    ----------
    learning_rate : float
        In force now.
    moments : NamedTuple of arrays, or None before the first step
    average : (P,) averaged parameters, or ()
    steps : int
        Steps made.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = self.initial_rate = float(learning_rate)
        self.moments: Any = None
        self.average: Any = ()
        self.steps = 0

    def epoch_ends(self, estimator: Any) -> None:
        """Bring the rate of an inverse scaling up to date."""
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            self.learning_rate = self.initial_rate / (estimator.t_ + 1) ** estimator.power_t

    def stops(self, estimator: Any, message: str) -> bool:
        """Whether to stop now that nothing improves; an adaptive rate is cut first, as long as that makes sense."""
        if estimator.solver != "sgd" or estimator.learning_rate != "adaptive":
            verdict, stop = " Stopping.", True
        elif self.learning_rate <= SMALLEST_RATE:
            verdict, stop = " Learning rate too small. Stopping.", True
        else:
            self.learning_rate /= 5.0
            verdict, stop = f" Setting learning rate to {self.learning_rate:f}", False
        if estimator.verbose:
            print(message + verdict)
        return stop


@dataclass
class EpochRunner:
    """Runs the epochs of one `fit` or `partial_fit` and keeps the estimator's records.

    Attributes
    ----------
    estimator : the estimator; its attributes are updated after every epoch
    place : where to compute
    recipe : what a step does
    stream : where row orders come from
    score : what early stopping looks at
    training, validation : rows
    """

    estimator: Any
    place: Place
    recipe: Recipe
    stream: Stream
    score: Score
    training: Batch
    validation: Batch | None

    def __post_init__(self) -> None:
        self.net = self.recipe.objective.architecture.net
        self.steps = steps_of(self.recipe, self.place)
        self.rows = self.training.x.shape[0]
        self.sparse = hasattr(self.training.x, "tocsr")
        self.best: tuple[Array, Array] | None = None
        self.state: State

    def run(self, named: dict[str, Array], *, incremental: bool, monitor: Any) -> dict[str, Array]:
        """Train from the named parameters; returns the trained ones, with the buffers."""
        est = self.estimator
        self.state = self._begin(named)
        batch_rows = self._batch_rows()
        try:
            est.n_iter_ = 0
            for epoch in range(est.max_iter):
                with monitor.epoch(epoch, self._named):
                    self._epoch(batch_rows)
                    self._record()
                if self._stops() or monitor.stopped:
                    break
                if incremental:
                    break
                if est.n_iter_ == est.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) reached and the optimization hasn't "
                        "converged yet.",
                        ConvergenceWarning,
                        stacklevel=2,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        self._keep_solver_state()
        if est.early_stopping and self.best is not None:
            self.state = self.state._replace(params=self.best[0], buffers=self.best[1], average=())
        return self._named()

    # ------------------------------------------------------------------ one epoch

    def _epoch(self, batch_rows: int) -> None:
        """Every row once."""
        est = self.estimator
        order = self.stream.order(self.rows, self.place) if est.shuffle else self._as_they_come()
        state = self.state
        self.state = state = state._replace(
            cursor=constant(0, state.step, dtype=state.step.dtype),
            totals=empty_totals(state.params),
            rate_scale=constant(self._rate_scale(), state.params),
        )
        epoch = Epoch(self.training, order)
        for start in range(0, self.rows, batch_rows):
            stop = min(start + batch_rows, self.rows)
            if stop - start == self.rows:
                batch, key = self.training, None
            elif self.sparse:
                batch, key = self._taken(order[start:stop]), None
            else:
                batch, key = epoch, stop - start
            step = self.steps.get(key, (self.state, batch))
            self.state, _ = step(self.state, batch)

    def _record(self) -> None:
        """The epoch's loss, counters, validation scores, and whether anything improved."""
        est = self.estimator
        est.n_iter_ += 1
        est.loss_ = self.place.number(self.state.totals.loss) / self.rows
        est.t_ += self.rows
        est.loss_curve_.append(est.loss_)
        if est.verbose:
            print(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        if self.validation is not None:
            self._measure(self.validation)
        if est.early_stopping:
            self._count_by_score()
        else:
            self._count_by_loss()
        est._optimizer.epoch_ends(est)

    def _measure(self, validation: Batch) -> None:
        """Loss and score of the validation rows."""
        est, loss = self.estimator, self.recipe.objective.loss
        weights = None if isinstance(validation.weights, tuple) else validation.weights
        output = self.net.forward(self._named(), validation.x)[0]
        est.validation_curve_.append(self.place.number(weighted_mean(loss.forward(output, validation.targets)[0], weights)))
        if est.early_stopping:
            est.validation_scores_.append(self.score(LINKS[loss.link_name](output), validation.targets, weights))
            if est.verbose:
                print(f"Validation score: {est.validation_scores_[-1]:f}")

    def _count_by_score(self) -> None:
        est = self.estimator
        last = est.validation_scores_[-1]
        est._no_improvement_count = est._no_improvement_count + 1 if last < est.best_validation_score_ + est.tol else 0
        if last > est.best_validation_score_:
            est.best_validation_score_ = last
            self.best = self._copies()

    def _count_by_loss(self) -> None:
        est = self.estimator
        last = est.loss_curve_[-1]
        est._no_improvement_count = est._no_improvement_count + 1 if last > est.best_loss_ - est.tol else 0
        est.best_loss_ = min(est.best_loss_, last) if not math.isnan(last) else est.best_loss_

    def _stops(self) -> bool:
        """Whether nothing has improved for too long and the solver has no smaller rate to try."""
        est = self.estimator
        if est._no_improvement_count <= est.n_iter_no_change:
            return False
        what = "Validation score" if est.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={est.tol:f} for {est.n_iter_no_change} consecutive epochs."
        if est._optimizer.stops(est, message):
            return True
        est._no_improvement_count = 0
        return False

    # ------------------------------------------------------------------ state

    def _begin(self, named: dict[str, Array]) -> State:
        """The state before the first step; the solver's part goes on from an earlier call."""
        xp, est = self.place.xp, self.estimator
        solver, descent = est._optimizer, self.recipe.descent
        like = xp.zeros((0,), dtype=self.training.x.dtype, device=self.place.native)
        params, buffers = (
            layout.flatten({name: xp.astype(named[name], like.dtype, copy=False) for name in layout.entries}, like)
            for layout in (self.net.layout, self.net.buffer_layout)
        )
        averaged = descent.ema_decay is not None
        average = solver.average if averaged and not isinstance(solver.average, tuple) else xp.zeros_like(params)
        seed = self.stream.dropout_seed() if self.net.stochastic else 0
        key = random.fold_in(random.key(seed), random.Purpose.DROPOUT) if seed else np.zeros(2, np.int32)
        return State(
            params=xp.asarray(params, copy=True),
            buffers=xp.asarray(buffers, copy=True),
            optimizer=descent.optimizer.init(params) if solver.moments is None else solver.moments,
            step=xp.asarray(solver.steps, dtype=xp.int32, device=self.place.native),
            cursor=xp.zeros((), dtype=xp.int32, device=self.place.native),
            key=xp.asarray(key.tolist(), dtype=xp.int32, device=self.place.native),
            rate_scale=constant(1.0, params),
            average=average if averaged else (),
            totals=empty_totals(params),
        )

    def _keep_solver_state(self) -> None:
        solver = self.estimator._optimizer
        solver.moments, solver.average = self.state.optimizer, self.state.average
        solver.steps = int(self.place.number(self.state.step))

    def _flat(self) -> Array:
        """The parameters that predictions use: averaged where `ema` asks for it."""
        state, decay = self.state, self.recipe.descent.ema_decay
        if decay is None or isinstance(state.average, tuple) or int(self.place.number(state.step)) == 0:
            return state.params
        return optim.ema_read(state.average, state.step, decay=decay)

    def _named(self) -> dict[str, Array]:
        buffers = Parameters(self.net.buffer_layout, self.state.buffers)
        return {**Parameters(self.net.layout, self._flat()), **buffers}

    def _copies(self) -> tuple[Array, Array]:
        xp = self.place.xp
        return xp.asarray(self._flat(), copy=True), xp.asarray(self.state.buffers, copy=True)

    # ------------------------------------------------------------------ rows and rates

    def _batch_rows(self) -> int:
        size = self.estimator.batch_size
        if size == "auto":
            return min(200, self.rows)
        if size > self.rows:
            warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2)
        return int(np.clip(size, 1, self.rows))

    def _as_they_come(self) -> Array:
        return self.place.xp.arange(self.rows, dtype=self.place.xp.int32, device=self.place.native)

    def _taken(self, rows: Array) -> Batch:
        """A batch of the rows of a sparse matrix."""
        x, targets, weights = self.training
        return Batch(x[rows], targets[rows, ...], () if isinstance(weights, tuple) else weights[rows])

    def _rate_scale(self) -> float:
        """What the optimizer's own rate is to be multiplied by in this epoch."""
        est = self.estimator
        schedule = self.recipe.descent.optimizer.learning_rate
        if schedule.monitor is not None:
            return schedule.scale(est.validation_curve_ if schedule.monitor.startswith("validation") else est.loss_curve_)
        return est._optimizer.learning_rate / est._optimizer.initial_rate
