"""The training step of a plain network on NumPy arrays, written into buffers that are made once: the twin of `gradient`.

It has the same inputs and the same results, up to the rounding of sums, as the step that `gradient.Recipe` makes of mlpx's
equations, and tests hold it to that. It exists because on the host most of a small step is the making of arrays: with 100
hidden units it needs half the time, and it overwrites the state it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit

from mlpx import layers
from mlpx.losses import Loss
from mlpx.ops.cross_entropy import poisson_rate
from mlpx.parameters import Layout
from mlpx.sklearn.architecture import Architecture
from mlpx.sklearn.fit_losses import BinaryLogLoss, LogLoss, SquaredError
from mlpx.sklearn.updates import FoldedAdam, MomentumSGD
from mlpx.step import Batch, Descent, Epoch, State

BLOCK = 8192  # numbers an update works on at once: its five vectors stay in a core's cache
Views = list[np.ndarray]


class PlainNetwork:
    """Value and gradient of a penalised loss for batches of one size.

    Parameters
    ----------
    architecture : Architecture
        Of fully connected layers only.
    loss : LogLoss, BinaryLogLoss or SquaredError
    alpha : float
    rows : int
    dtype : floating dtype
    """

    def __init__(self, architecture: Architecture, loss: Loss, alpha: float, rows: int, dtype: Any) -> None:
        blocks: Any = architecture.net.children()
        self._activations = [block.activation.name if block.activation else "identity" for block in blocks]
        self._outputs = [np.empty((rows, block.n_out), dtype) for block in blocks]
        self._deltas = [np.empty((rows, block.n_out), dtype) for block in blocks[:-1]]
        self._scratch = [
            np.empty((rows, block.n_out), bool if name == "relu" else dtype)
            for block, name in zip(blocks[:-1], self._activations[:-1], strict=True)
        ]
        self._penalty = [np.empty(block.n_out * block.n_in, dtype) for block in blocks]
        self._loss = _LOSSES[type(loss)]
        self._alpha, self._rows, self._index = alpha, rows, np.arange(rows)
        self._least = -math.log1p(-float(np.finfo(dtype).eps)), -math.log(float(np.finfo(dtype).eps))

    def value_and_gradient(self, w: Views, b: Views, x: Any, batch: tuple[Any, Any], dw: Views, db: Views) -> float:
        """The value; the gradient is written to dw and db. `batch` is targets and row weights (or ())."""
        targets, weights = batch
        a = x
        for weight, bias, z, name in zip(w, b, self._outputs, self._activations, strict=True):
            np.matmul(a, weight.T, out=z)
            np.add(z, bias, out=z)
            _activate(name, z)
            a = z
        total = float(self._rows) if isinstance(weights, tuple) else float(weights.sum())
        share = None if isinstance(weights, tuple) else weights / (total or 1.0)
        rows = self._loss(self, a, targets)
        value = float(rows.sum()) / self._rows if share is None else float(rows @ share)
        if share is None:
            a *= 1 / self._rows
        else:
            a *= share[:, None]
        self._back(w, x, dw, db)
        return value + self._add_penalty(w, dw, self._alpha / max(total, float(np.finfo(a.dtype).eps)))

    def _back(self, w: Views, x: Any, dw: Views, db: Views) -> None:
        """BP-3, BP-4 and BP-2 from the last layer, whose δ has replaced its output, to the first."""
        delta = self._outputs[-1]
        for i in range(len(w) - 1, -1, -1):
            before = self._outputs[i - 1] if i else x
            if dw[i].flags.c_contiguous:
                np.matmul(delta.T, before, out=dw[i])
            else:
                np.matmul(before.T, delta, out=dw[i].T)
            np.add.reduce(delta, axis=0, out=db[i])
            if i:
                np.matmul(delta, w[i], out=self._deltas[i - 1])
                delta = self._deltas[i - 1]
                _times_slope(self._activations[i - 1], delta, before, self._scratch[i - 1])

    def _add_penalty(self, w: Views, dw: Views, strength: float) -> float:
        """½ α ‖W‖² / Σw, and α W / Σw added to the gradient."""
        if self._alpha == 0:
            return 0.0
        squares = 0.0
        for weight, gradient, slope in zip(w, dw, self._penalty, strict=True):
            flat = (weight if weight.flags.c_contiguous else weight.T).reshape(-1)
            squares += float(flat @ flat)
            along = (gradient if weight.flags.c_contiguous else gradient.T).reshape(-1)  # a view: both have one layout
            along += np.multiply(flat, strength, out=slope)
        return 0.5 * strength * squares

    # ------------------------------------------------------------------ rows of the loss; z becomes δ of the sum

    def _softmax(self, z: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if labels.ndim == 2:  # one-hot rows
            labels = labels.argmax(axis=1)
        z -= z.max(axis=1, keepdims=True)
        rows = z[self._index, labels]
        np.exp(z, out=z)
        normaliser = np.add.reduce(z, axis=1, keepdims=True)
        z /= normaliser
        z[self._index, labels] -= 1
        rows = np.log(normaliser[:, 0]) - rows
        return np.minimum(np.maximum(rows, self._least[0], out=rows), self._least[1], out=rows)

    def _sigmoid(self, z: np.ndarray, targets: np.ndarray) -> np.ndarray:
        elements = np.maximum(z, 0) - z * targets + np.log1p(np.exp(-np.abs(z)))
        np.minimum(np.maximum(elements, self._least[0], out=elements), self._least[1], out=elements)
        expit(z, out=z)
        z -= targets
        return elements[:, 0] if elements.shape[1] == 1 else elements.sum(axis=1)

    def _squared(self, z: np.ndarray, targets: np.ndarray) -> np.ndarray:
        z -= targets
        return np.einsum("nk,nk->n", z, z) * (0.5 / z.shape[1])


_LOSSES: dict[type, Callable[..., np.ndarray]] = {
    LogLoss: PlainNetwork._softmax,
    BinaryLogLoss: PlainNetwork._sigmoid,
    SquaredError: PlainNetwork._squared,
}


ACTIVATIONS = ("identity", "logistic", "tanh", "relu")


def is_plain(architecture: Architecture, loss: Loss) -> bool:
    """Whether a network and a loss are such that `PlainNetwork` can stand in."""
    return type(loss) in _LOSSES and all(
        type(block) is layers.Dense and (block.activation is None or block.activation.name in ACTIVATIONS)
        for block in architecture.net.children()
    )


def predict(coefs: Views, intercepts: Views, activation: str, out_activation: str, x: Any) -> np.ndarray:
    """The prediction of a plain network of NumPy arrays for the rows of x, which may be a sparse matrix."""
    last = len(coefs) - 1
    for number, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        x = np.asarray(x @ coef)
        x = x + intercept if x.dtype != intercept.dtype else np.add(x, intercept, out=x)
        if number < last:
            _activate(activation, x)
    if out_activation == "softmax":
        x -= x.max(axis=1, keepdims=True)
        np.exp(x, out=x)
        x /= np.add.reduce(x, axis=1, keepdims=True)
    elif out_activation == "exp":
        return np.asarray(poisson_rate(x))
    else:
        _activate(out_activation, x)
    return x


class HostStep:
    """The step for batches of `rows` rows, of an epoch or (`whole`) given as they are; overwrites the state."""

    def __init__(
        self, architecture: Architecture, loss: Loss, alpha: float, descent: Descent, rows: int, *, whole: bool
    ) -> None:
        self._architecture, self._loss, self._alpha = architecture, loss, alpha
        self._layout: Layout = architecture.net.layout
        self._descent, self._rows, self._whole = descent, rows, whole
        self._network: PlainNetwork | None = None

    def __call__(self, state: State, batch: Any) -> tuple[State, dict[str, Any]]:
        """One step."""
        if self._network is None or self._gradient.dtype != state.params.dtype:
            self._make_buffers(state, batch)
        assert self._network is not None  # made just now
        x, targets, weights = batch if self._whole else self._taken(state, batch)
        flat: Any = state.params
        if flat is not self._flat:
            self._flat, self._w, self._b = flat, *self._views(flat)
        value = self._network.value_and_gradient(self._w, self._b, x, (targets, weights), self._dw, self._db)
        rate = float(self._descent.optimizer.learning_rate(state.step, flat.dtype) * state.rate_scale)
        moments = self._update(self._descent.optimizer, flat, state.optimizer, rate)
        totals = state.totals._replace(loss=state.totals.loss + value * self._rows)
        cursor = state.cursor if self._whole else state.cursor + np.int32(self._rows)
        return state._replace(optimizer=moments, step=state.step + np.int32(1), cursor=cursor, totals=totals), {}

    def _make_buffers(self, state: State, batch: Any) -> None:
        dtype: Any = state.params.dtype
        self._network = PlainNetwork(self._architecture, self._loss, self._alpha, self._rows, dtype)
        self._gradient, self._spare = np.zeros(self._layout.length, dtype), np.empty(BLOCK, dtype)
        self._dw, self._db = self._views(self._gradient)
        self._flat: Any = None
        if not self._whole:
            self._x = np.empty((self._rows, batch.data.x.shape[1]), dtype)

    def _views(self, flat: np.ndarray) -> tuple[Views, Views]:
        entries = self._layout.entries
        views: dict[str, np.ndarray] = {
            name: flat[entry.offset : entry.offset + entry.size].reshape(entry.shape) for name, entry in entries.items()
        }
        prefixes = self._architecture.dense
        return [views[f"{prefix}weight"] for prefix in prefixes], [views[f"{prefix}bias"] for prefix in prefixes]

    def _taken(self, state: State, epoch: Epoch) -> Batch:
        data: Any = epoch.data
        start = int(state.cursor)
        rows: Any = epoch.order[start : start + self._rows]
        np.take(data.x, rows, axis=0, out=self._x, mode="clip")
        weights = () if isinstance(data.weights, tuple) else data.weights[rows]
        return Batch(self._x, data.targets[rows], weights)  # type: ignore[arg-type]

    def _update(self, optimizer: Any, flat: np.ndarray, moments: Any, rate: float) -> Any:
        """scikit-learn's rules of `updates`, block by block and in place."""
        adam = isinstance(optimizer, FoldedAdam)
        t = 0
        if adam:
            t = moments.t + np.int32(1)
            steps = float(t)
            rate *= math.sqrt(_missing(optimizer.beta2, steps)) / _missing(optimizer.beta1, steps)
        for start in range(0, flat.shape[0], BLOCK):
            part = slice(start, start + BLOCK)
            p, g = flat[part], self._gradient[part]
            spare = self._spare[: p.shape[0]]
            if adam:
                _adam(p, g, moments.m[part], moments.v[part], spare, rate, optimizer)
            else:
                _momentum(p, g, moments.velocity[part], spare, rate, optimizer)
        return moments._replace(t=t) if adam else moments


def _adam(p: Any, g: Any, m: Any, v: Any, spare: Any, rate: float, rule: FoldedAdam) -> None:
    m *= rule.beta1
    np.multiply(g, 1 - rule.beta1, out=spare)
    m += spare
    v *= rule.beta2
    np.multiply(g, g, out=spare)
    spare *= 1 - rule.beta2
    v += spare
    np.sqrt(v, out=spare)
    spare += rule.eps
    np.divide(m, spare, out=spare)
    spare *= rate
    p -= spare


def _momentum(p: Any, g: Any, velocity: Any, spare: Any, rate: float, rule: MomentumSGD) -> None:
    g *= rate
    velocity *= rule.momentum
    velocity -= g
    if rule.nesterov and rule.momentum:
        np.multiply(velocity, rule.momentum, out=spare)
        spare -= g
        p += spare
    else:
        p += velocity


def _activate(name: str, z: np.ndarray) -> None:
    if name == "relu":
        np.maximum(z, 0, out=z)
    elif name == "tanh":
        np.tanh(z, out=z)
    elif name == "logistic":
        expit(z, out=z)


def _times_slope(name: str, delta: np.ndarray, a: np.ndarray, spare: np.ndarray) -> None:
    """δ ⊙ f'(z), given a = f(z)."""
    if name == "relu":
        np.greater(a, 0, out=spare)
        delta *= spare
    elif name == "tanh":
        np.multiply(a, a, out=spare)
        np.subtract(1, spare, out=spare)
        delta *= spare
    elif name == "logistic":
        delta *= a
        np.subtract(1, a, out=spare)
        delta *= spare


def _missing(beta: float, steps: float) -> float:
    return 1.0 if beta == 0 else -math.expm1(steps * math.log(beta))
