"""Every op, forward and backward, beside its definition in float64 NumPy on the same rounded inputs."""

from __future__ import annotations

from collections.abc import Iterator

from mlpx.certify.measuring import Prepared, Runner, measure, prepared
from mlpx.certify.observing import Calls
from mlpx.certify.record import Check
from mlpx.certify.subject import Subject
from mlpx.ops.definition import OPS, Case, Op
from mlpx.testing.op_checks import op_trial
from mlpx.testing.trials import GRADIENT_OF

DRAWS = 4
"""Draws of inputs for each case; the largest error of all is recorded."""


def checks(subject: Subject) -> Iterator[Check]:
    """Errors of every case of every op, in each way and dtype the backend computes in."""
    for dtype in subject.floating:
        cases = [prepared_case(case, dtype) for op in OPS.values() for case in op.cases]
        for variant in subject.ways:
            if dtype in variant.dtypes:
                yield from measure("ops", cases, variant, dtype)


def prepared_case(case: Case, dtype: str) -> Prepared:
    """A case with some draws of its inputs."""
    return prepared(case.name, [op_trial(case, seed) for seed in range(DRAWS)], dtype, _what_ran(case.op))


def _what_ran(op: Op) -> Runner:
    """What the calls say of an op, or, for a gradient, of its backward pass."""

    def ran(calls: Calls, result: str) -> tuple[str, str]:
        return calls.verdict(op.gradient.name if result.startswith(GRADIENT_OF) else op.name)

    return ran
