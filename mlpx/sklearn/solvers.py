"""How the gradient becomes a step: scikit-learn's solvers, or any optimizer of mlpx."""

from __future__ import annotations

from typing import Any

from mlpx import optim
from mlpx.errors import ConfigError
from mlpx.optim import Optimizer
from mlpx.sklearn.updates import FoldedAdam, MomentumSGD
from mlpx.step import Descent

STOCHASTIC = ("sgd", "adam")


def descent(estimator: Any) -> Descent:
    """The update that an estimator's settings describe."""
    return Descent(
        update_rule(estimator),
        clip_norm=estimator.clip_norm,
        clip_value=estimator.clip_value,
        ema_decay=estimator.ema,
    )


def update_rule(estimator: Any) -> Optimizer:
    """The optimizer that was given, or scikit-learn's of that solver."""
    if estimator.optimizer is not None:
        chosen = optim.get(estimator.optimizer)
        if not isinstance(chosen, Optimizer):
            raise ConfigError("optimizer='lbfgs' is no stochastic optimizer: say solver='lbfgs' instead")
        return chosen
    rate = float(estimator.learning_rate_init)
    if estimator.solver == "sgd":
        return MomentumSGD(rate, float(estimator.momentum), bool(estimator.nesterovs_momentum))
    return FoldedAdam(rate, float(estimator.beta_1), float(estimator.beta_2), float(estimator.epsilon))
