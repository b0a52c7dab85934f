"""Update rules, and training as it is really run: compiled by the backend, a hundred steps long in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from mlpx import registry
from mlpx.certify.measuring import CONDUCT, EAGER, Place, measure, prepared, quiet, said, valued
from mlpx.certify.observing import definitions_only
from mlpx.certify.record import Check
from mlpx.certify.specimens import Specimen, optimizers, specimens
from mlpx.certify.subject import Subject
from mlpx.optim import LBFGS
from mlpx.parameters import Parameters
from mlpx.step import Batch, initial_state, training_step
from mlpx.testing import budgets
from mlpx.testing.training_checks import optimizer_trial
from mlpx.testing.variants import Variant
from mlpx.typing import Array

COMPILED = "compiled"
STEPS = {"float64": 100, "float32": 1}
"""Many steps in float64 only: in float32 one relu gate flipped by rounding sends two right runs apart."""
SIZE = 67
"""Length of the vector on which update rules are measured: no whole number of any vector unit's lanes."""
DRAWS = 3
ITERATIONS = 2
"""Of L-BFGS: the second one uses the pair of vectors that the first has learned."""


def checks(subject: Subject) -> Iterator[Check]:
    """Errors of every update rule, of L-BFGS, and of every network's trajectory."""
    for dtype in subject.floating:
        rules = [
            prepared(name, [optimizer_trial(optimizer, SIZE, seed) for seed in range(DRAWS)], dtype)
            for name, optimizer in optimizers().items()
        ]
        for variant in subject.ways:
            if dtype in variant.dtypes:
                yield from measure("training", rules, variant, dtype)
        if dtype in subject.eager.dtypes:
            yield from _search_checks(subject, dtype)
        for number in range(len(specimens())):
            yield from _trajectory_checks(number, subject, dtype)


class Trajectory(NamedTuple):
    """Where training led, and the loss before each step."""

    params: np.ndarray
    losses: np.ndarray


def _trajectory_checks(number: int, subject: Subject, dtype: str) -> Iterator[Check]:
    """One network, trained with the step that the backend compiles."""
    specimen, steps, variant = specimens()[number], STEPS[dtype], subject.eager
    place = Place("training", variant, COMPILED, dtype)
    span = f"after {steps} step{'s' * (steps > 1)}"
    ran: list[str] = []

    def compile_step(step: Callable[..., Any], example: tuple[Any, ...]) -> Callable[..., Any]:
        compiled = subject.backend.compile(step, example)
        ran.append("definition" if compiled is step else f"{type(subject.backend).__name__}.compile")
        return compiled

    try:
        with quiet():
            found = train(specimen, variant, dtype, steps, compile_step)
    except Exception as error:
        yield place.check(specimen.name, CONDUCT, said(error))
        return
    wanted = _reference(number, dtype)
    budget = budgets.trajectory(steps, max(specimen.terms, specimen.outputs))
    for quantity, values, reference in zip((f"params {span}", f"losses {span}"), found, wanted, strict=True):
        yield valued(place, specimen.name, quantity, [(values, reference)], budget, ran[0])


@cache
def _reference(number: int, dtype: str) -> Trajectory:
    """The trajectory by definitions alone in float64 NumPy, from the same rounded start and data."""
    numpy = Variant("numpy", registry.find("numpy"), "cpu")
    with definitions_only():
        return train(specimens()[number], numpy, "float64", STEPS[dtype], lambda step, _: step, rounded_to=dtype)


def train(
    specimen: Specimen,
    variant: Variant,
    dtype: str,
    steps: int,
    compile_step: Callable[..., Callable[..., Any]],
    rounded_to: str | None = None,
) -> Trajectory:
    """Train a specimen from its first parameters, in `dtype`, on numbers that were rounded to `rounded_to` first."""

    def put(array: np.ndarray) -> Array:
        floating = np.issubdtype(array.dtype, np.floating)
        return variant.put(array.astype(rounded_to or dtype).astype(dtype) if floating else array)

    net, descent = specimen.net, specimen.descent
    buffers = Parameters(net.buffer_layout, put(specimen.buffers))
    params = Parameters(net.layout, put(specimen.params), buffers)
    state = initial_state(params, descent.optimizer, seed=0, averaged=descent.ema_decay is not None)
    batches = [Batch(put(x), put(targets)) for x, targets in zip(specimen.x, specimen.targets, strict=True)]
    step = compile_step(training_step(specimen.objective, descent), (state, batches[0]))
    losses = []
    for turn in range(steps):
        state, metrics = step(state, batches[turn % len(batches)])
        losses.append(metrics["loss"])
    return Trajectory(variant.get(state.params), np.asarray([variant.get(loss) for loss in losses]))


def _search_checks(subject: Subject, dtype: str) -> Iterator[Check]:
    """Two iterations of L-BFGS, which reads values on the host: what it evaluates may be traced, it itself is not.

    An iteration is as many passes through the network as its line search evaluates.
    """
    variant = subject.whole
    place = Place("training", variant, EAGER, dtype)
    specimen = specimens()[0]
    numpy = Variant("numpy", registry.find("numpy"), "cpu")
    with definitions_only():
        wanted = _searched(specimen, numpy, "float64", dtype)
    try:
        with quiet():
            found = _searched(specimen, variant, dtype, dtype)
    except Exception as error:
        yield place.check(LBFGS.name, CONDUCT, said(error))
        return
    passes = 1 + int(numpy.get(wanted.evaluations))
    pairs = [(variant.get(found.params), wanted.params)]
    quantity = f"params after {ITERATIONS} iterations"
    yield valued(place, LBFGS.name, quantity, pairs, budgets.trajectory(passes, max(specimen.terms, specimen.outputs)))


def _searched(specimen: Specimen, variant: Variant, dtype: str, rounded_to: str) -> Any:
    """The state of L-BFGS after its iterations on the first batch of a specimen."""

    def put(array: np.ndarray) -> Array:
        floating = np.issubdtype(array.dtype, np.floating)
        return variant.put(array.astype(rounded_to).astype(dtype) if floating else array)

    batch = Batch(put(specimen.x[0]), put(specimen.targets[0]))

    def evaluate(flat: Array) -> tuple[Array, Array]:
        value, gradient, _ = specimen.objective.gradient(Parameters(specimen.net.layout, flat), batch, None)
        return value, gradient

    optimizer, start, run = LBFGS(), put(specimen.params), variant.wrap(evaluate)
    state = optimizer.init(start, *run(start))
    for _ in range(ITERATIONS):
        state = optimizer.iterate(run, state)
    return state
