"""Trials measured: errors beside their budgets, where a check would only say yes or no."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from mlpx.certify.observing import Calls, definitions_only, observed
from mlpx.certify.record import Check
from mlpx.testing import budgets
from mlpx.testing.trials import Results, Trial, cast, expect_kinds, expect_repeats, expect_unmodified
from mlpx.testing.variants import Variant
from mlpx.typing import Array

EAGER = "eager"
CONDUCT = "conduct"
"""What is not a value: the kinds of the results, whether inputs stay as they were, whether a second run gives the same bits."""

Runner = Callable[[Calls, str], tuple[str, str]]
"""From the calls and a result's name: what ran, and what is wrong with that."""


@dataclass(frozen=True)
class Draw:
    """Inputs rounded to a dtype, and what must come out of them."""

    rounded: Mapping[str, np.ndarray]
    expected: Results


@dataclass(frozen=True)
class Prepared:
    """A trial with several draws of its inputs in one dtype; one function serves them all."""

    name: str
    trial: Trial
    draws: tuple[Draw, ...]
    ran: Runner


def prepared(name: str, trials: Sequence[Trial], dtype: str, ran: Runner | None = None) -> Prepared:
    """Trials of one function on several draws, rounded to a dtype, with their references by definitions alone."""
    draws = []
    for trial in trials:
        rounded = {label: cast(array, dtype) for label, array in trial.inputs.items()}
        with definitions_only():
            expected = trial.reference(*(cast(array, "float64") for array in rounded.values()))
        draws.append(Draw(rounded, expected))
    return Prepared(name, trials[0], tuple(draws), ran or _nothing_said)


def _nothing_said(*_: object) -> tuple[str, str]:
    """A function made of many ops: what ran of each is said elsewhere."""
    return "", ""


def measure(section: str, subjects: Sequence[Prepared], variant: Variant, dtype: str) -> Iterator[Check]:
    """Errors of all results of all subjects as one variant computes them.

    A variant that traces gets all subjects as one function, which is compiled once; if that fails, each for itself, so
    that the one to blame is found.
    """
    if not variant.trace:
        for subject in subjects:
            yield from _measured(section, (subject,), variant, dtype)
        return
    try:
        yield from _measured(section, subjects, variant, dtype, strict=True)
    except _FaultError:
        for subject in subjects:
            yield from _measured(section, (subject,), variant, dtype)


class _FaultError(Exception):
    """Something was raised while a function ran."""


def _measured(section: str, subjects: Sequence[Prepared], variant: Variant, dtype: str, *, strict: bool = False) -> list[Check]:
    """The checks of subjects that run as one function; with `strict`, _FaultError if it raises."""
    call = variant.wrap(lambda *inputs: [one.trial.function(*given) for one, given in zip(subjects, inputs, strict=True)])
    rounds = max(len(one.draws) for one in subjects)
    placed: list[list[list[Array]]] = []
    results: list[list[Results]] = []
    way = variant.trace or EAGER
    try:
        with observed(variant.backend) as calls, quiet():
            for turn in range(rounds):
                placed.append([[variant.put(a) for a in _draw(one, turn).rounded.values()] for one in subjects])
                results.append(call(*placed[-1]))
            again = call(*placed[0])
    except Exception as error:
        if strict:
            raise _FaultError from error
        return [Check(section, one.name, CONDUCT, way, dtype, False, detail=said(error)) for one in subjects]
    checks: list[Check] = []
    for index, one in enumerate(subjects):
        own = [Outcome(_draw(one, turn), placed[turn][index], results[turn][index]) for turn in range(rounds)]
        checks += _checks_of(one, own, again[index], Place(section, variant, way, dtype), calls)
    return checks


def _draw(subject: Prepared, turn: int) -> Draw:
    return subject.draws[min(turn, len(subject.draws) - 1)]


@dataclass(frozen=True)
class Outcome:
    """A draw, its inputs where they were put, and what came out."""

    draw: Draw
    placed: list[Array]
    results: Results


@dataclass(frozen=True)
class Place:
    """Where something ran, for its records."""

    section: str
    variant: Variant
    way: str
    dtype: str

    def check(self, name: str, quantity: str, problem: str = "", **values: Any) -> Check:
        """A record of something that ran here; it passed if there is no problem."""
        return Check(self.section, name, quantity, self.way, self.dtype, not problem, detail=problem, **values)


def _checks_of(subject: Prepared, outcomes: list[Outcome], again: Results, place: Place, calls: Calls) -> Iterator[Check]:
    first = outcomes[0]
    problem = _misconduct(first, again, place)
    yield place.check(subject.name, CONDUCT, problem)
    if problem or not place.variant.materialises:
        return
    for name, wanted in first.draw.expected.items():
        if wanted is None:
            continue
        pairs = [(place.variant.get(one.results[name]), one.draw.expected[name]) for one in outcomes]
        ran, fault = subject.ran(calls, name)
        yield valued(place, subject.name, name, pairs, subject.trial.budget(name), ran, fault)


def _misconduct(first: Outcome, again: Results, place: Place) -> str:
    """What is wrong with the results of one draw other than their values."""
    try:
        if first.results.keys() != first.draw.expected.keys():
            raise AssertionError(f"gave {', '.join(first.results)}; expected {', '.join(first.draw.expected)}")
        expect_kinds(first.results, first.draw.expected, first.placed, place.variant, place.dtype)
        if place.variant.materialises:
            expect_unmodified(first.placed, first.draw.rounded, place.variant)
            expect_repeats(again, first.results, place.variant)
    except AssertionError as error:
        return str(error)
    return ""


def valued(
    place: Place,
    name: str,
    quantity: str,
    pairs: Iterable[tuple[np.ndarray, Any]],
    budget: float,
    ran: str = "",
    fault: str = "",
) -> Check:
    """The record of a result: its largest error over pairs of values and reference, in eps of the reference's scale."""
    worst, eps_of = 0.0, place.dtype
    for values, reference in pairs:
        floating = np.issubdtype(np.asarray(reference).dtype, np.floating)
        if np.shape(values) != np.shape(reference):
            fault = fault or f"has shape {np.shape(values)}, expected {np.shape(reference)}"
        elif floating:
            worst = max(worst, budgets.error_in_eps(values, np.asarray(reference), eps_of))
        elif not np.array_equal(values, reference):
            fault = fault or f"{int(np.sum(values != reference))} of {np.size(values)} values differ from the reference"
    if not fault and not isfinite(worst):
        fault = "not finite where the definition is, or the other way round"
    problem = fault or ("" if worst <= budget else "off by more than its budget")
    return place.check(name, quantity, problem, error=worst if isfinite(worst) else None, budget=budget, ran=ran)


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries may warn; NumPy's own warnings of overflow and invalid values are errors, as in the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        yield


def said(error: BaseException) -> str:
    """An error in one line."""
    return f"raised {type(error).__name__}: {' '.join(str(error).split())[:300]}"
