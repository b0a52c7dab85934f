"""The losses that have a name, and how a name, a class or a user's function becomes a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mlpx.arguments import real_number
from mlpx.errors import InvalidInputError, InvalidTypeError, unknown_name
from mlpx.losses.base import LOSSES, Equation, Loss
from mlpx.ops import cross_entropy, regression_losses
from mlpx.typing import Array, Residuals


@dataclass(frozen=True)
class HalfSquaredError(Equation):
    """½‖y − o‖² summed over the outputs: the lecture's cost, `mlpx.ops.regression_losses.half_squared_error`."""

    name = "half_squared_error"
    op = regression_losses.half_squared_error


@dataclass(frozen=True)
class MSE(Equation):
    """Mean squared error, `mlpx.ops.regression_losses.mse`."""

    name = "mse"
    op = regression_losses.mse


@dataclass(frozen=True)
class MAE(Equation):
    """Mean absolute error, `mlpx.ops.regression_losses.mae`."""

    name = "mae"
    op = regression_losses.mae


@dataclass(frozen=True)
class Huber(Equation):
    """Huber's loss, squared up to `delta` > 0 and absolute beyond, `mlpx.ops.regression_losses.huber`."""

    delta: float = 1.0
    name = "huber"
    op = regression_losses.huber

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", real_number("delta", self.delta, low=0.0, open_low=True))


@dataclass(frozen=True)
class Quantile(Equation):
    """Pinball loss of the `q`-quantile, q in (0, 1), `mlpx.ops.regression_losses.quantile`."""

    q: float = 0.5
    name = "quantile"
    op = regression_losses.quantile

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", real_number("q", self.q, low=0.0, high=1.0, open_low=True, open_high=True))


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Equation):
    """Cross entropy of classes with softmax of the output, `mlpx.ops.cross_entropy.softmax_cross_entropy`."""

    name = "softmax_cross_entropy"
    op = cross_entropy.softmax_cross_entropy
    link_name = "softmax"
    target_kind = "labels"
    default_metrics = ("accuracy",)


@dataclass(frozen=True)
class SigmoidCrossEntropy(Equation):
    """Cross entropy of bits with sigmoid of the output, `mlpx.ops.cross_entropy.sigmoid_cross_entropy`."""

    name = "sigmoid_cross_entropy"
    op = cross_entropy.sigmoid_cross_entropy
    link_name = "sigmoid"
    target_range = (0.0, 1.0)
    default_metrics = ("accuracy",)


@dataclass(frozen=True)
class Poisson(Equation):
    """Log-likelihood of counts, the output being the log of their rate, `mlpx.ops.cross_entropy.poisson`."""

    name = "poisson"
    op = cross_entropy.poisson
    link_name = "exp"
    target_range = (0.0, float("inf"))
    default_metrics = ("mae",)


@dataclass(frozen=True, repr=False)
class FunctionLoss(Loss):
    """A user's function (output, targets) -> (rows (n,), ∂rows/∂output (n, k)) as a loss."""

    function: Callable[[Array, Array], tuple[Array, Array]]

    @property
    def name(self) -> str:  # type: ignore[override]
        """The function's own name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def forward(self, output: Array, targets: Array) -> tuple[Array, Residuals]:
        """What the function returns, if its shapes are right."""
        rows, slope = self.function(output, targets)
        if tuple(rows.shape) != (output.shape[0],) or slope.shape != output.shape:
            raise InvalidInputError(
                f"loss {self.name} returned arrays of shapes {tuple(rows.shape)} and {tuple(slope.shape)}; expected the loss "
                f"of each row, ({output.shape[0]},), and its gradient, {tuple(output.shape)}"
            )
        return rows, slope

    def backward(self, drows: Array, residuals: Residuals) -> Array:
        """The function's slope, times drows of the row."""
        return drows[:, None] * residuals

    def __repr__(self) -> str:
        return f"FunctionLoss({self.name})"


_CLASSES = (HalfSquaredError, MSE, MAE, Huber, SoftmaxCrossEntropy, SigmoidCrossEntropy, Poisson, Quantile)
LOSSES.update({one.name: one for one in _CLASSES})


def get(name: str | Loss | type[Loss] | Callable[..., Any], **parameters: Any) -> Loss:
    """The loss that a name, a loss, a loss class or a function stands for.

    Parameters
    ----------
    name : str, Loss, subclass of Loss, or callable
        One of `LOSSES`; or a loss of your own: an instance, a class, or a function (output, targets) -> (rows, slope) of the
        loss of each row (n,) and its gradient with respect to the output (n, k).
    **parameters
        Of a loss given by name or class: `delta` of "huber", `q` of "quantile".

    Raises
    ------
    ConfigError
        If the name is unknown, or a parameter is out of range.
    InvalidTypeError
        If there is no such parameter, or `name` is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> get("huber", delta=2.0)
    Huber(delta=2.0)
    >>> def fourth_power(output, targets):
    ...     error = output - targets
    ...     return (error**4)[:, 0], 4 * error**3
    >>> value, delta = get(fourth_power)(np.asarray([[1.0], [2.0]]), np.asarray([[0.0], [0.0]]))
    >>> float(value), delta.tolist()
    (8.5, [[2.0], [16.0]])
    """
    if isinstance(name, str):
        if name not in LOSSES:
            raise unknown_name("loss", name, LOSSES)
        return _made(LOSSES[name], parameters)
    if isinstance(name, type) and issubclass(name, Loss):
        return _made(name, parameters)
    if not isinstance(name, Loss) and not callable(name):
        raise InvalidTypeError(f"loss is a {type(name).__name__}; expected a name ({', '.join(LOSSES)}), a Loss or a function")
    if parameters:
        raise InvalidTypeError(f"{', '.join(parameters)}: parameters go with the name of a loss, not with {name!r}")
    return name if isinstance(name, Loss) else FunctionLoss(name)


def _made(kind: type[Loss], parameters: dict[str, Any]) -> Loss:
    """An instance of a loss class; parameters it does not have are refused with the nearest that it has."""
    known = tuple(getattr(kind, "__dataclass_fields__", ()))
    for given in parameters if known or issubclass(kind, Equation) else ():
        if given not in known:
            near = get_close_matches(given, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidTypeError(f"loss {kind.name!r} has no parameter {given!r}{hint} (takes: {', '.join(known) or 'none'})")
    return kind(**parameters)
