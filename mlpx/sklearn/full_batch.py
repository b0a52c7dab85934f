"""L-BFGS over all rows: SciPy's on the host, where scikit-learn's results are to be followed, mlpx's own on devices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from mlpx.optim import LBFGS, LBFGSState
from mlpx.parameters import Parameters, Scope
from mlpx.sklearn.architecture import Architecture
from mlpx.sklearn.gradient import PenalisedLoss
from mlpx.sklearn.host_kernel import PlainNetwork, is_plain
from mlpx.sklearn.placement import Place
from mlpx.step import Batch
from mlpx.typing import Array

RELATIVE_CHANGE = 1e7 * np.finfo(np.float64).eps  # SciPy's default `ftol`: less change than that ends the search


class Packing:
    """Parameters as scikit-learn's one vector: the weights of all layers as (n_in, n_out), then the biases, then the rest."""

    def __init__(self, architecture: Architecture) -> None:
        shapes = architecture.net.layout.shapes
        weights = [f"{prefix}weight" for prefix in architecture.dense]
        biases = [f"{prefix}bias" for prefix in architecture.dense]
        others = [name for name in shapes if name not in {*weights, *biases}]
        self._transposed = frozenset(weights)
        self._places: list[tuple[str, int, int, tuple[int, ...]]] = []
        start = 0
        for name in (*weights, *biases, *others):
            shape = shapes[name][::-1] if name in self._transposed else shapes[name]
            stop = start + int(np.prod(shape))
            self._places.append((name, start, stop, shape))
            start = stop

    def unpacked(self, vector: np.ndarray) -> dict[str, Any]:
        """Views of the parameters in a vector, by name."""
        named = {name: vector[start:stop].reshape(shape) for name, start, stop, shape in self._places}
        return {name: array.T if name in self._transposed else array for name, array in named.items()}

    def packed(self, named: dict[str, Any]) -> np.ndarray:
        """A vector of parameters or gradients."""
        parts = (named[name].T if name in self._transposed else named[name] for name, *_ in self._places)
        return np.concatenate([np.ravel(part) for part in parts])


def value_and_gradient(
    objective: PenalisedLoss, batch: Batch, buffers: dict[str, Any]
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The penalised loss over all rows as a function of scikit-learn's vector."""
    packing = Packing(objective.architecture)
    if is_plain(objective.architecture, objective.loss) and not hasattr(batch.x, "tocsr") and batch.x.dtype == np.float64:
        return _with_kernel(objective, batch, packing)

    def evaluate(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, grads, _ = objective.gradient({**packing.unpacked(vector), **buffers}, batch)
        return float(value), packing.packed(grads)

    return evaluate


def _with_kernel(objective: PenalisedLoss, batch: Batch, packing: Packing) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The same function, computed in buffers that are made once."""
    prefixes = objective.architecture.dense
    network = PlainNetwork(objective.architecture, objective.loss, objective.alpha, batch.x.shape[0], np.float64)

    def views(vector: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        named = packing.unpacked(vector)
        return [named[f"{prefix}weight"] for prefix in prefixes], [named[f"{prefix}bias"] for prefix in prefixes]

    def evaluate(vector: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = np.empty_like(vector)
        value = network.value_and_gradient(*views(vector), batch.x, (batch.targets, batch.weights), *views(gradient))
        return value, gradient

    return evaluate


def fit_on_host(estimator: Any, objective: PenalisedLoss, batch: Batch, named: dict[str, Array]) -> dict[str, Any]:
    """Minimise with SciPy's L-BFGS-B, as scikit-learn does: the same iterations, and its messages."""
    packing = Packing(objective.architecture)
    buffers = {name: named[name] for name in objective.architecture.net.buffer_layout.entries}
    result = scipy.optimize.minimize(
        value_and_gradient(objective, batch, buffers),
        packing.packed(named),
        method="L-BFGS-B",
        jac=True,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
    )
    _warn_unless_converged(result.status, result.message, result.nit, estimator.max_iter)
    estimator.n_iter_ = min(result.nit, estimator.max_iter)
    estimator.loss_ = float(result.fun)
    dtype = batch.x.dtype
    return {**{name: array.astype(dtype) for name, array in packing.unpacked(result.x).items()}, **buffers}


def fit_on_device(
    estimator: Any, objective: PenalisedLoss, batch: Batch, named: dict[str, Array], place: Place
) -> dict[str, Array]:
    """Minimise with mlpx's L-BFGS: vectors stay on the device, two numbers an evaluation are read."""
    net = objective.architecture.net
    buffers = {name: named[name] for name in net.buffer_layout.entries}
    eps = float(place.xp.finfo(batch.x.dtype).eps)
    optimizer = LBFGS(
        tolerance_gradient=estimator.tol, tolerance_change=max(RELATIVE_CHANGE, eps), max_evaluations=min(20, estimator.max_fun)
    )

    def step(nothing: tuple[()], given: tuple[Array, dict[str, Array], Batch]) -> tuple[Any, tuple[Array, Array]]:
        flat, fixed, rows = given
        params = Scope(Parameters(net.layout, flat), "")
        value, grads, _ = objective.gradient({**params, **fixed}, rows)
        return nothing, (value, net.layout.flatten(grads, flat))

    flat = net.layout.flatten({name: named[name] for name in net.layout.entries}, batch.x)
    run = place.compile(step, ((), (flat, buffers, batch)))

    def evaluate(vector: Array) -> tuple[Array, Array]:
        return run((), (vector, buffers, batch))[1]

    state: LBFGSState = optimizer.init(flat, *evaluate(flat))
    while not state.finished and int(state.iteration) < estimator.max_iter and int(state.evaluations) < estimator.max_fun:
        state = optimizer.iterate(evaluate, state)
    estimator.n_iter_ = int(state.iteration)
    estimator.loss_ = place.number(state.value)
    if not state.finished:
        _warn_unless_converged(1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT", estimator.n_iter_, estimator.max_iter)
    elif not state.converged:
        _warn_unless_converged(2, f"ABNORMAL: {state.reason}", estimator.n_iter_, estimator.max_iter)
    return {**Parameters(net.layout, state.params), **buffers}


def _warn_unless_converged(status: int, message: str, iterations: int, limit: int) -> None:
    """scikit-learn's warning about L-BFGS."""
    if status == 0:
        return
    more = f" (max_iter={limit})" if iterations >= limit else ""
    warnings.warn(
        f"lbfgs failed to converge after {iterations} iteration(s) (status={status}):\n{message}\n\n"
        f"Increase the number of iterations to improve the convergence{more}.\nYou might also want to scale the data as "
        "shown in:\n    https://scikit-learn.org/stable/modules/preprocessing.html",
        ConvergenceWarning,
        stacklevel=4,
    )
