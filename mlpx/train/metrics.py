"""How good predictions are: pure functions of whole arrays (output, targets, weights) -> 0-d array, on the arrays' device.

`output` is the network's output before the link (logits); weights (n,) say how much each row counts. Nothing here waits for a
device. What a name means depends on the loss in one place, `get`: under a loss with sigmoid link "accuracy" looks at every
output by itself, and the errors of values are those of the prediction, not of what goes into the link.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from mlpx.errors import InvalidTypeError, unknown_name
from mlpx.losses import Loss, weighted_mean
from mlpx.losses.targets import admitted_labels, admitted_values, admitted_weights
from mlpx.namespace import namespace_of, placed_as
from mlpx.ops import cross_entropy, regression_losses
from mlpx.typing import Array


@dataclass(frozen=True)
class Metric:
    """A named measure of predictions.

    Attributes
    ----------
    name : str
    function : callable
        (output, targets, weights) -> 0-d array.
    better : str
        "higher" or "lower".
    link : callable, optional
        What is made of the output before it is measured.
    """

    name: str
    function: Callable[..., Array]
    better: Literal["higher", "lower"]
    link: Callable[[Array], Array] | None = None

    def __call__(self, output: Array, targets: Array, weights: Array | None = None) -> Array:
        """The measure of a whole data set, or of a batch, 0-d."""
        namespace_of(output, targets)
        return self.function(output if self.link is None else self.link(output), targets, weights)


def accuracy(output: Array, targets: Array, weights: Array | None = None) -> Array:
    """Fraction of rows whose largest output is that of the target class.

    Of equal outputs the first counts as largest; so does NaN, as in every library's argmax: look at the loss to notice it. One
    output (n, 1) is a bit: `binary_accuracy`.

    Parameters
    ----------
    output : (n, k) floating
    targets : (n,) integer labels, or (n, k) rows whose largest element is the class
    weights : (n,), optional
    """
    if output.ndim == 2 and output.shape[1] == 1:
        return binary_accuracy(output, targets, weights)
    labels, predicted = _classes(output, targets)
    return _mean(output, namespace_of(output).astype(predicted == labels, output.dtype), weights)


def binary_accuracy(output: Array, targets: Array, weights: Array | None = None) -> Array:
    """Fraction of outputs on the right side, each of a row's k outputs counting by itself: [o > 0] against [t > ½].

    A logit of 0, and NaN, say 0. For k > 1 this is not the subset accuracy of scikit-learn, which asks for all bits of a row.

    Parameters
    ----------
    output, targets : (n, k)
    weights : (n,), optional
    """
    xp = namespace_of(output, targets)
    targets = admitted_values(output, targets)
    right = xp.astype((output > 0) == (targets > 0.5), output.dtype)
    return _mean(output, xp.mean(right, axis=1), weights)


def top_k(output: Array, targets: Array, weights: Array | None = None, *, k: int = 5) -> Array:
    """Fraction of rows whose target class is among the k largest outputs; `top_1` is `accuracy`, but NaN is never a hit.

    Of equal outputs the one in front ranks higher.

    Parameters
    ----------
    output : (n, classes) floating
    targets : (n,) integer labels, or (n, classes) rows whose largest element is the class
    weights : (n,), optional
    k : int
    """
    xp = namespace_of(output, targets)
    labels, _ = _classes(output, targets)
    column = xp.arange(output.shape[1], dtype=labels.dtype, **placed_as(output))
    is_target = labels[:, None] == column
    own = xp.sum(xp.where(is_target, output, xp.zeros_like(output)), axis=1, keepdims=True)  # a product would make 0·∞ NaN
    behind = (output < own) | ((output == own) & (column >= labels[:, None]))
    rank = xp.sum(xp.astype(~behind, output.dtype), axis=1)
    return _mean(output, xp.astype(rank < k, output.dtype), weights)


def macro_f1(output: Array, targets: Array, weights: Array | None = None) -> Array:
    """F1 of each class, 2 tp / (2 tp + fp + fn), averaged over the classes that occur among targets or predictions.

    Parameters
    ----------
    output : (n, k) floating
        One output (n, 1) is a bit, which makes two classes.
    targets : (n,) integer labels, or (n, k) rows whose largest element is the class
    weights : (n,), optional
    """
    if output.ndim == 2 and output.shape[1] == 1:
        return binary_macro_f1(output, targets, weights)
    xp = namespace_of(output, targets)
    labels, predicted = _classes(output, targets)
    column = xp.arange(output.shape[1], dtype=labels.dtype, **placed_as(output))
    true = xp.astype(labels[:, None] == column, output.dtype)
    guess = xp.astype(predicted[:, None] == column, output.dtype)
    return _mean_f1(true, guess, weights, only_present=True)


def binary_macro_f1(output: Array, targets: Array, weights: Array | None = None) -> Array:
    """F1 of each output as a bit, averaged over all outputs (multi-label); of one output, over its two classes that occur.

    Parameters
    ----------
    output, targets : (n, k)
        [o > 0] against [t > ½].
    weights : (n,), optional
    """
    xp = namespace_of(output, targets)
    targets = admitted_values(output, targets)
    true, guess = xp.astype(targets > 0.5, output.dtype), xp.astype(output > 0, output.dtype)
    if output.shape[1] > 1:
        return _mean_f1(true, guess, weights, only_present=False)
    true, guess = xp.concat((1 - true, true), axis=1), xp.concat((1 - guess, guess), axis=1)
    return _mean_f1(true, guess, weights, only_present=True)


def mae(output: Array, targets: Array, weights: Array | None = None) -> Array:
    """Mean absolute error over rows and outputs, both (n, k)."""
    return _mean(output, regression_losses.mae(output, admitted_values(output, targets))[0], weights)


def mse(output: Array, targets: Array, weights: Array | None = None) -> Array:
    """Mean squared error over rows and outputs, both (n, k)."""
    return _mean(output, regression_losses.mse(output, admitted_values(output, targets))[0], weights)


def r2(output: Array, targets: Array, weights: Array | None = None) -> Array:
    """Coefficient of determination, 1 − Σ w (y − o)² / Σ w (y − ȳ)², averaged uniformly over the outputs.

    Of constant targets it is 1 where they are met exactly, else 0.

    Parameters
    ----------
    output, targets : (n, k)
    weights : (n,), optional
    """
    xp = namespace_of(output, targets)
    targets = admitted_values(output, targets)
    w = xp.ones_like(output[:, 0]) if weights is None else admitted_weights(output, weights)
    w = w[:, None]
    mean = xp.sum(w * targets, axis=0) / _nonzero(xp.sum(w, axis=0))
    residual = xp.sum(w * (targets - output) ** 2, axis=0)
    total = xp.sum(w * (targets - mean) ** 2, axis=0)
    varies = xp.astype(total != 0, output.dtype)
    met = xp.astype(residual == 0, output.dtype)
    return xp.reshape(xp.mean(varies * (1 - residual / _nonzero(total)) + (1 - varies) * met, axis=0, keepdims=True), ())


def log_loss(output: Array, targets: Array, weights: Array | None = None) -> Array:
    """Mean of −log of the probability that softmax of the output gives to the target class; (n, 1): `binary_log_loss`.

    Parameters
    ----------
    output : (n, k) floating
    targets : (n,) integer labels, or (n, k) rows of probabilities
    weights : (n,), optional
    """
    if output.ndim == 2 and output.shape[1] == 1:
        return binary_log_loss(output, targets, weights)
    return _mean(output, cross_entropy.softmax_cross_entropy(output, admitted_labels(output, targets))[0], weights)


def binary_log_loss(output: Array, targets: Array, weights: Array | None = None) -> Array:
    """Mean over rows and outputs of −log of the probability that sigmoid of the output gives to the target bit; both (n, k)."""
    return _mean(output, cross_entropy.sigmoid_cross_entropy(output, admitted_values(output, targets))[0], weights)


METRICS: dict[str, Metric] = {
    one.name: one
    for one in (
        Metric("accuracy", accuracy, "higher"),
        Metric("binary_accuracy", binary_accuracy, "higher"),
        Metric("top_5", top_k, "higher"),
        Metric("macro_f1", macro_f1, "higher"),
        Metric("binary_macro_f1", binary_macro_f1, "higher"),
        Metric("mae", mae, "lower"),
        Metric("mse", mse, "lower"),
        Metric("r2", r2, "higher"),
        Metric("log_loss", log_loss, "lower"),
        Metric("binary_log_loss", binary_log_loss, "lower"),
    )
}


_RANKED = re.compile(r"top_([1-9]\d*)")


def is_named(name: str) -> bool:
    """Whether `get` knows a metric by this name."""
    return name in METRICS or _RANKED.fullmatch(name) is not None


def get(name: str | Metric | Callable[..., Array], loss: Loss | None = None) -> Metric:
    """The metric that a name or a function stands for, as it is to be read under a loss.

    Parameters
    ----------
    name : str, Metric or callable
        One of `METRICS`; "top_3" with any number; a Metric; or a function (output, targets, weights) -> 0-d array, of which
        higher is better (make a Metric to say lower).
    loss : Loss, optional
        With a sigmoid link, "accuracy", "macro_f1" and "log_loss" are the binary ones; "mae", "mse" and "r2" measure what the
        loss's link makes of the output. Without a loss, the output is taken as it is.

    Raises
    ------
    ConfigError
        If the name is unknown.
    InvalidTypeError
        If it is neither a name nor callable.
    """
    if isinstance(name, Metric):
        return name
    if not isinstance(name, str):
        if not callable(name):
            raise InvalidTypeError(
                f"metric is a {type(name).__name__}; expected a name ({', '.join(METRICS)}), a Metric or a function"
            )
        return Metric(getattr(name, "__name__", type(name).__name__), name, "higher")
    ranked = _RANKED.fullmatch(name)
    if ranked:
        return Metric(name, partial(top_k, k=int(ranked[1])), "higher")
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    metric = METRICS[name]
    if loss is not None and loss.link_name == "sigmoid" and f"binary_{name}" in METRICS:
        return replace(metric, function=METRICS[f"binary_{name}"].function)
    if loss is not None and loss.link_name != "identity" and name in ("mae", "mse", "r2"):
        return replace(metric, link=loss.link)
    return metric


def _classes(output: Array, targets: Array) -> tuple[Array, Array]:
    """Target and predicted class of each row, in one integer dtype."""
    xp = namespace_of(output, targets)
    targets = admitted_labels(output, targets)
    predicted = xp.argmax(output, axis=1)
    return xp.astype(targets if targets.ndim == 1 else xp.argmax(targets, axis=1), predicted.dtype), predicted


def _mean(output: Array, rows: Array, weights: Array | None) -> Array:
    return weighted_mean(rows, None if weights is None else admitted_weights(output, weights))


def _mean_f1(true: Array, guess: Array, weights: Array | None, *, only_present: bool) -> Array:
    """Mean over the columns of 2 tp / (true + guessed), of 0/1 arrays (n, k)."""
    xp = namespace_of(true)
    occurs = xp.sum(true + guess, axis=0)
    counted = xp.astype(occurs > 0, true.dtype) if only_present else xp.ones_like(occurs)
    w = xp.ones_like(true[:, 0]) if weights is None else admitted_weights(true, weights)
    w = w[:, None]
    f1 = 2 * xp.sum(w * true * guess, axis=0) / _nonzero(xp.sum(w * (true + guess), axis=0))
    mean = xp.sum(f1 * counted, axis=0, keepdims=True) / _nonzero(xp.sum(counted, axis=0, keepdims=True))
    return xp.reshape(mean, ())


def _nonzero(total: Array) -> Array:
    """A sum as a divisor: 1 in place of 0, where what is divided is 0 too."""
    xp = namespace_of(total)
    return total + xp.astype(total == 0, total.dtype)
