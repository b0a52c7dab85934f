"""The checks of a loss and of an optimizer: one call each, on every library that works on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlpx import losses
from mlpx.losses import Loss
from mlpx.ops.definition import Draw
from mlpx.optim import Optimizer
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values
from mlpx.testing.differences import compare
from mlpx.testing.trials import GRADIENT_OF, Trial, cast, faults_of, run
from mlpx.testing.variants import Variants, as_variants
from mlpx.typing import Array

ROWS, OUTPUTS = 7, 3
UPDATES = 3
DESCENT = 50


def check_loss(loss: Loss | str, output: Any = None, targets: Any = None, variants: Variants = None, *, seed: int = 0) -> None:
    """Check a loss: its value, its first delta, its mean over rows and its weights.

    Parameters
    ----------
    loss : Loss or str
        `loss(output, targets, weights=None) -> (value, ∂value/∂output)`, or the name of one.
    output, targets : arrays, optional
        A batch to use; if not given, 7 rows of 3 normal numbers, and targets of the loss's kind and range, off its kinks.
    variants : names or Variants, optional
        As in `check_op`.
    seed : int
        Of what is drawn.

    Raises
    ------
    AssertionError
        As `check_op`; and if the value is not a mean over rows, or equal weights change it.
    """
    checked: Any = losses.get(loss) if isinstance(loss, str) else loss
    draw = Draw(seed)
    output = draw.normal(ROWS, OUTPUTS) if output is None else cast(np.asarray(output), "float64")
    targets = _draw_targets(checked, output, draw) if targets is None else cast(np.asarray(targets), "float64")
    weights = draw.uniform(output.shape[0], low=0.5, high=1.5)
    with faults_of(f"loss {checked!r}"):
        for given in (None, weights):
            _, doutput = checked(output, targets, given)
            compare(lambda o, w=given: checked(o, targets, w)[0], [output], {"output": (0, doutput)}, np.ones(()), seed)
        _check_mean(checked, output, targets)
    terms = int(np.prod(output.shape))
    for weighted in (False, True):
        inputs = {"output": output, "targets": targets} | ({"weights": weights} if weighted else {})
        trial = _loss_trial(checked, inputs, terms)
        for variant in as_variants(variants):
            for dtype in variant.dtypes:
                run(trial, variant, dtype)


def _draw_targets(loss: Any, output: np.ndarray, draw: Draw) -> np.ndarray:
    """Targets of the loss's kind and range, off the kinks that losses of an error have."""
    if loss.target_kind == "labels":
        return draw.integers(output.shape[0], below=output.shape[1])
    low, high = loss.target_range
    if np.isfinite(high):
        return draw.uniform(*output.shape, low=max(low, high - 1), high=high)
    targets = output + draw.away_from(*output.shape, kinks=(-1.0, 0.0, 1.0))
    return np.abs(targets) + low if np.isfinite(low) else targets


def _check_mean(loss: Any, output: np.ndarray, targets: np.ndarray) -> None:
    """The same rows twice, or with weights of one, have the same mean; each row then counts half in the gradient."""
    budget = 2 * budgets.normalising(2 * output.size)
    value, doutput = loss(output, targets)
    twice, dtwice = loss(np.concatenate([output, output]), np.concatenate([targets, targets]))
    equal, dequal = loss(output, targets, np.ones(output.shape[0]))
    for what, got, wanted in (
        ("value of the same rows twice", twice, value),
        ("gradient of the same rows twice", dtwice, np.concatenate([doutput, doutput]) / 2),
        ("value with weights of one", equal, value),
        ("gradient with weights of one", dequal, doutput),
    ):
        assert_values(got, wanted, dtype="float64", budget=budget, what=what)


def _loss_trial(loss: Any, inputs: dict[str, np.ndarray], terms: int) -> Trial:
    def function(*arrays: Array) -> dict[str, Any]:
        value, doutput = loss(*arrays)
        return {"value": value, GRADIENT_OF + "output": doutput}

    label = f"loss {loss!r}" + (" with weights" if "weights" in inputs else "")
    return Trial(label, inputs, function, function, lambda _: budgets.normalising(terms), tuple(inputs))


def check_optimizer(optimizer: Optimizer, variants: Variants = None, *, size: int = 11, seed: int = 0) -> None:
    """Check an update rule: pure, of constant types and shapes, traceable, equal on every library, and downhill.

    Parameters
    ----------
    optimizer : Optimizer
        With `init`, `update` and `learning_rate`.
    variants : names or Variants, optional
        As in `check_op`.
    size : int
        Length of the parameter vector.
    seed : int
        Of parameters and gradients.

    Raises
    ------
    AssertionError
        As `check_op`; and if the state changes structure, dtype or shape from one update to the next, or is modified, or if
        some updates on a quadratic bowl do not lower it.
    """
    trial = optimizer_trial(optimizer, size, seed)
    with faults_of(f"{optimizer!r}"):
        _check_state(optimizer, trial.inputs["params"])
        _check_descent(optimizer, trial.inputs["params"])
    for variant in as_variants(variants):
        for dtype in variant.dtypes:
            run(trial, variant, dtype)


def optimizer_trial(optimizer: Any, size: int = 11, seed: int = 0) -> Trial:
    """Some updates from given gradients, and the state they leave, as one function of parameters and gradients."""
    generator = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray] = {"params": generator.standard_normal(size)}
    inputs |= {f"gradient {turn}": generator.standard_normal(size) for turn in range(UPDATES)}
    inputs["step"] = np.zeros((), dtype=np.int32)

    def function(params: Array, *rest: Array) -> dict[str, Any]:
        state, step = optimizer.init(params), rest[-1]
        for turn, grads in enumerate(rest[:-1]):
            rate = optimizer.learning_rate(step + turn, params.dtype)
            params, state = optimizer.update(params, grads, state, rate)
        return {"params": params, **{f"state {number}": leaf for number, leaf in enumerate(_leaves(state))}}

    return Trial(repr(optimizer), inputs, function, function, lambda _: UPDATES * budgets.elementwise())


def _leaves(state: Any) -> Iterator[Any]:
    """The arrays of a nested state, in order."""
    if isinstance(state, tuple | list):
        for part in state:
            yield from _leaves(part)
    else:
        yield state


def _check_state(optimizer: Any, params: np.ndarray) -> None:
    """A compiled step needs a state that keeps its structure, dtypes and shapes; whoever has an old one may go back to it."""
    rate = optimizer.learning_rate(np.zeros((), dtype=np.int32), params.dtype)
    before = optimizer.init(params)
    _, after = optimizer.update(params, np.ones_like(params), before, rate)
    kinds = [[(np.asarray(leaf).dtype, np.shape(leaf)) for leaf in _leaves(state)] for state in (before, after)]
    if kinds[0] != kinds[1] or type(before) is not type(after):
        raise AssertionError(f"update changed the state's structure from {before!r} to {after!r}")
    kept = [np.array(leaf) for leaf in _leaves(after)]  # of the second state: zeros may be written to unseen
    optimizer.update(params, np.ones_like(params), after, rate)
    if not all(np.array_equal(leaf, was) for leaf, was in zip(_leaves(after), kept, strict=True)):
        raise AssertionError("update modified the state it was given")


def _check_descent(optimizer: Any, params: np.ndarray) -> None:
    """Some updates on ½ Σ c p², c from ½ to 1, lower it."""
    curvature = np.linspace(0.5, 1.0, params.size)
    start = params
    state = optimizer.init(params)
    for turn in range(DESCENT):
        rate = optimizer.learning_rate(np.asarray(turn, dtype=np.int32), params.dtype)
        params, state = optimizer.update(params, curvature * params, state, rate)
    before, after = (float(np.sum(curvature * p * p)) / 2 for p in (start, params))
    if not after < before:
        raise AssertionError(f"{DESCENT} updates took a quadratic bowl from {before:.6g} to {after:.6g}; they should lower it")
