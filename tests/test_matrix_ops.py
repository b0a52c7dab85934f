"""Every case of every op, on every backend, device, dtype and traced form; and its backward pass against autodiff."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mlpx import registry
from mlpx.ops import OPS
from mlpx.ops.definition import Case, Draw
from mlpx.testing import budgets, check_op
from mlpx.testing.assertions import assert_values
from mlpx.testing.op_checks import differentiated

CASES = [case for op in OPS.values() for case in op.cases]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _oracles() -> dict:
    """tests/ is no package: its modules are loaded by path."""
    spec = importlib.util.spec_from_file_location("oracles", Path(__file__).parent / "oracles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ORACLES


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_every_op_has_a_case_with_a_hand_worked_example_somewhere(op):
    assert op.cases
    assert any(case.examples for case in op.cases), f"{op.name}: no case has an example"


def test_no_two_cases_of_an_op_have_one_name():
    names = [case.name for case in CASES]
    assert sorted(set(names)) == sorted(names)


@every_case
def test_op_keeps_its_contract(case: Case, backend_variant):
    check_op(case, backend_variant)


@every_case
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_backward_is_the_derivative_that_autodiff_finds(case: Case, library: str):
    available = registry.availability(library)
    if not available.ok:
        pytest.skip(f"{library}: {available.reason} (cure: {available.cure})")
    inputs = [np.asarray(one) for one in case.inputs(Draw(1))]
    wanted = differentiated(case, inputs)
    if not wanted:
        pytest.skip(f"{case.name} has no differentiable input")
    y, residuals = case.op.definition(*inputs, **case.attributes)
    dy = np.random.default_rng(2).standard_normal(np.shape(y))
    stated = case.op.gradient.definition(dy, residuals)
    stated = stated if isinstance(stated, tuple) else (stated,)
    for index, ours, theirs in zip(wanted, stated, _oracles()[library](case, inputs, dy, wanted), strict=True):
        budget = 2 * max(budgets.normalising(case.terms), budgets.of(case.kind, case.terms))
        assert_values(np.asarray(ours), theirs, dtype="float64", budget=budget, what=f"gradient of argument {index}")
