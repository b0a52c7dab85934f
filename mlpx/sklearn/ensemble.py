"""Several networks that differ in their seeds, trained one after another, whose predictions are averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from mlpx.typing import Array


def fit_members(
    estimator: Any, X: Any, y: Any, sample_weight: Any, validation_data: tuple[Any, Any, Any] | None, *, incremental: bool
) -> Any:
    """Fit `n_ensembles` members; the fitted attributes of the estimator are those of the first.

    The first member has the estimator's own seed, so an ensemble begins with the single network of that seed.
    """
    kept = estimator.warm_start or incremental
    if not kept or not hasattr(estimator, "estimators_"):
        seeds = _seeds(estimator.random_state, estimator.n_ensembles)
        copies: list[Any] = [clone(estimator) for _ in seeds]
        estimator.estimators_ = [
            member.set_params(n_ensembles=1, random_state=seed) for member, seed in zip(copies, seeds, strict=True)
        ]
    for member in estimator.estimators_:
        if incremental and not hasattr(member, "classes_") and hasattr(estimator, "classes_"):
            member.classes_, member._encoding = estimator.classes_, estimator._encoding
        member._fit(X, y, sample_weight, validation_data, incremental=incremental)
    first = vars(estimator.estimators_[0])
    settings = estimator.get_params(deep=False)
    vars(estimator).update({name: value for name, value in first.items() if name not in settings})
    return estimator


def mean_prediction(estimator: Any, X: Any) -> Array:
    """The mean of what the members predict."""
    predictions = [member._prediction(X, "predict") for member in estimator.estimators_]
    total = predictions[0]
    for prediction in predictions[1:]:
        total = total + prediction
    return total / len(predictions)


def _seeds(random_state: Any, count: int) -> list[int]:
    drawn = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=count).tolist()
    first = random_state if isinstance(random_state, int | np.integer) else drawn[0]
    return [int(first), *drawn[1:]]
