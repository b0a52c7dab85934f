"""What a loss is: the mean over the rows of a batch of a loss of output and target, and its first delta.

E_total = Σ_i w_i E_(i) / Σ_i w_i,   with w_i = 1 where no weights are given     (lecture, backpropagation: 1/N Σ E_(i))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from mlpx.errors import ConfigError, InvalidTypeError
from mlpx.losses.targets import admitted_labels, admitted_values, admitted_weights, check_labels, check_values
from mlpx.namespace import namespace_of, placed_as
from mlpx.ops.cross_entropy import poisson_rate
from mlpx.ops.definition import Op
from mlpx.ops.sigmoids import logistic
from mlpx.ops.softmax import softmax
from mlpx.typing import Array, Residuals

LINKS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda output: output,
    "softmax": lambda output: softmax(output)[0],
    "sigmoid": lambda output: logistic(output)[0],
    "exp": poisson_rate,
}


LOSSES: dict[str, type[Loss]] = {}
"""The losses that have a name; `mlpx.losses.named` enters them."""


class Loss(ABC):
    """A loss of a batch: called with output and targets, it gives the mean over the rows and its gradient.

    A loss of your own is a subclass with `forward` and `backward`, written in Array API functions; a frozen dataclass if it
    has parameters. Everything else is inherited.

    Attributes
    ----------
    name : str
    link_name : str
        What makes a prediction of an output: "identity", "softmax", "sigmoid" or "exp".
    target_kind : str
        "labels": integer labels (n,), or rows (n, k) of probabilities; "values": numbers (n, k).
    target_range : tuple of float
        Smallest and largest value that a target of kind "values" may have.
    default_metrics : tuple of str
        Names in `mlpx.train.metrics` that say how good a prediction is.

    Examples
    --------
    >>> import numpy as np
    >>> class LogCosh(Loss):
    ...     name = "log_cosh"
    ...
    ...     def forward(self, output, targets):
    ...         xp = namespace_of(output)
    ...         error = output - targets
    ...         return xp.mean(xp.log(xp.cosh(error)), axis=1), error
    ...
    ...     def backward(self, drows, error):
    ...         return (drows / error.shape[1])[:, None] * namespace_of(error).tanh(error)
    >>> value, delta = LogCosh()(np.asarray([[0.0], [2.0]]), np.asarray([[0.0], [0.0]]))
    >>> round(float(value), 6)
    0.662501
    """

    name: ClassVar[str] = ""
    link_name: ClassVar[str] = "identity"
    target_kind: ClassVar[str] = "values"
    target_range: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))
    default_metrics: ClassVar[tuple[str, ...]] = ("r2", "mae")

    @abstractmethod
    def forward(self, output: Array, targets: Array) -> tuple[Array, Residuals]:
        """The loss of each row, (n,), and what `backward` needs."""

    @abstractmethod
    def backward(self, drows: Array, residuals: Residuals) -> Array:
        """The gradient with respect to the output, (n, k), given that of the rows' losses."""

    def __call__(self, output: Array, targets: Array, weights: Array | None = None) -> tuple[Array, Array]:
        """Mean loss of a batch and its gradient.

        Parameters
        ----------
        output : (n, k) floating
            The network's output, before the link (logits).
        targets : (n,) integer labels or (n, k) values, see `target_kind`
            On the output's device. Numbers of another dtype than the output's are converted; values are not looked at.
        weights : (n,), optional
            How much each row counts, ≥ 0. Where all are 0, the value and the gradient are 0.

        Returns
        -------
        value : 0-d, of output's dtype
        delta : (n, k)
            ∂value/∂output.

        Raises
        ------
        InvalidInputError
            If the shapes do not fit.
        InvalidTypeError
            If an array is not of real numbers, or labels are not integers.
        DeviceMismatchError
            If the arrays come from different libraries or devices.
        """
        targets, weights = self._admit(output, targets, weights)
        rows, residuals = self.forward(output, targets)
        return weighted_mean(rows, weights), self.backward(shares(rows, weights), residuals)

    def value(self, output: Array, targets: Array, weights: Array | None = None) -> Array:
        """Mean loss of a batch without its gradient; arguments and errors as in a call."""
        targets, weights = self._admit(output, targets, weights)
        return weighted_mean(self.forward(output, targets)[0], weights)

    def link(self, output: Array) -> Array:
        """What the loss makes of an output: class probabilities, expected counts, or the output itself."""
        return LINKS[self.link_name](output)

    def check_targets(self, targets: Array, n_outputs: int) -> None:
        """Check the values of a whole target array once, before training; the host waits for the answer.

        Raises
        ------
        InvalidInputError
            If a label is not in 0 … n_outputs − 1, a row of probabilities does not sum to 1, a value is not finite or out of
            the loss's range (naming value and place), or the shape does not fit `n_outputs`.
        InvalidTypeError
            If labels are not integers (bool included), or values are not real numbers.
        """
        if self.target_kind == "labels":
            check_labels(targets, n_outputs)
        else:
            check_values(targets, n_outputs, *self.target_range)

    def config(self) -> dict[str, Any]:
        """Name and parameters as JSON values: `losses.get(**config)` is an equal loss.

        Raises
        ------
        ConfigError
            If this is a loss of the user's own, which no file can name.
        """
        raise ConfigError(f"loss {self.name or type(self).__name__!r} is not one of mlpx's: pass it again when loading")

    def _admit(self, output: Array, targets: Array, weights: Array | None) -> tuple[Array, Array | None]:
        """Targets and weights as `forward` takes them, after a look at shapes and dtypes, never at values."""
        xp = namespace_of(output)
        if not xp.isdtype(output.dtype, "real floating"):
            raise InvalidTypeError(f"the output of a loss is real floating, got {output.dtype}")
        if self.target_kind == "labels":
            targets = admitted_labels(output, targets)
        else:
            targets = admitted_values(output, targets)
        return targets, None if weights is None else admitted_weights(output, weights)


class Equation(Loss):
    """A loss that is one op; the dataclass fields of a subclass are the op's attributes."""

    op: ClassVar[Op]

    def forward(self, output: Array, targets: Array) -> tuple[Array, Residuals]:
        """The op's rows and residuals."""
        return self.op(output, targets, **vars(self))

    def backward(self, drows: Array, residuals: Residuals) -> Array:
        """The op's gradient with respect to the output."""
        return self.op.gradient(drows, residuals)

    def config(self) -> dict[str, Any]:
        """Name and parameters as JSON values; ConfigError for a subclass that no file can name."""
        return {"name": self.name, **vars(self)} if LOSSES.get(self.name) is type(self) else super().config()


def weighted_mean(rows: Array, weights: Array | None = None) -> Array:
    """Σ w L / Σ w over the rows, 0-d; without weights each counts 1; 0 where all weights are 0 or there are no rows."""
    xp = namespace_of(rows)
    if weights is None:
        mean = xp.sum(rows, axis=0, keepdims=True) / max(rows.shape[0], 1)
    else:
        mean = xp.sum(rows * shares(rows, weights), axis=0, keepdims=True)
    return xp.reshape(mean, ())  # a sum to no axis would be a NumPy scalar, not an array


def shares(rows: Array, weights: Array | None) -> Array:
    """What part each row has in the mean, w / Σ w: the gradient of the mean with respect to the rows."""
    xp = namespace_of(rows)
    if weights is None:
        return xp.full(rows.shape, 1 / max(rows.shape[0], 1), dtype=rows.dtype, **placed_as(rows))
    total = xp.sum(weights, axis=0, keepdims=True)
    return weights / (total + xp.astype(total == 0, total.dtype))  # 0/1 where all weights are 0
