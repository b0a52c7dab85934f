"""What differs between versions of scikit-learn: callbacks came with 1.9 (SLEP 23)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin  # type: ignore[assignment]
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""


HAS_CALLBACKS = hasattr(CallbackSupportMixin, "set_callbacks")


class Monitor:
    """Tells scikit-learn's callbacks of a fit and its epochs; silent where none are set.

    Parameters
    ----------
    estimator : the estimator
    X, y, sample_weight : what `fit` was given
    epochs : most epochs there can be
    fitted : makes the fitted attributes of an estimator from named parameters
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any, epochs: int, fitted: Callable[[Any], dict[str, Any]]
    ) -> None:
        self.stopped = False
        self._estimator, self._fitted = estimator, fitted
        self._context: Any = None
        if HAS_CALLBACKS and (getattr(estimator, "_skl_callbacks", None) or hasattr(estimator, "_parent_callback_ctx")):
            metadata = {"sample_weight": sample_weight} if sample_weight is not None else None
            self._given = {"X": X, "y": y, "metadata": metadata}
            self._context = estimator._init_callback_context(max_subtasks=epochs)
            self._context.call_on_fit_task_begin(estimator=estimator, **self._given)

    @contextmanager
    def epoch(self, number: int, named: Callable[[], Any]) -> Iterator[None]:
        """An epoch; afterwards callbacks may look at the parameters, and ask to stop."""
        del number
        if self._context is None:
            yield
            return
        context = self._context.subcontext(task_name="epoch")
        context.call_on_fit_task_begin(estimator=self._estimator, **self._given)
        yield
        self.stopped = bool(
            context.call_on_fit_task_end(
                estimator=self._estimator,
                reconstruction_attributes=lambda: self._fitted(named()),
                **self._given,
            )
        )

    def close(self, named: Any) -> None:
        """The end of the fit."""
        if self._context is not None:
            self._context.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=lambda: self._fitted(named), **self._given
            )
