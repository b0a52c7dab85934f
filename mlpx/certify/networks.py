"""Whole networks: output, loss and gradients, and one step of every optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlpx import random
from mlpx.certify.measuring import Prepared, measure, prepared
from mlpx.certify.record import Check
from mlpx.certify.specimens import Specimen, optimizers, specimens
from mlpx.certify.subject import Subject
from mlpx.parameters import Parameters
from mlpx.step import Batch, Descent, initial_state
from mlpx.testing import budgets
from mlpx.testing.trials import Trial
from mlpx.typing import Array

AFTER_A_STEP = "params after one step of "


def checks(subject: Subject) -> Iterator[Check]:
    """Errors of every network in each dtype the backend computes in."""
    for dtype in subject.floating:
        yield from measure("networks", [_prepared(specimen, dtype) for specimen in specimens()], subject.whole, dtype)


def _prepared(specimen: Specimen, dtype: str) -> Prepared:
    return prepared(specimen.name, [_trial(specimen, number) for number in range(len(specimen.x))], dtype)


def _trial(specimen: Specimen, number: int) -> Trial:
    """Everything that a batch leads to, as one function of parameters, buffers, batch and key."""
    inputs = {
        "params": specimen.params,
        "buffers": specimen.buffers,
        "x": specimen.x[number],
        "targets": specimen.targets[number],
        "key": np.asarray(random.fold_in(random.key(0), number)),
    }
    net = specimen.net
    updates = optimizers() if specimen is specimens()[0] else {}  # they work on any flat vector: one network's will do

    def function(flat: Array, buffers: Array, x: Array, targets: Array, key: Array) -> dict[str, Any]:
        params = Parameters(net.layout, flat, Parameters(net.buffer_layout, buffers))
        output, residuals = net.forward(params, x)
        dx, _ = net.backward(params, residuals, output)
        value, grads, kept = specimen.objective.gradient(params, Batch(x, targets), key)
        results = {"output": output, "gradient of x": dx, "loss": value, "gradient of params": grads}
        if net.buffer_layout.entries:
            results["updated buffers"] = net.buffer_layout.flatten(net.updated_buffers(params, kept), buffers)
        for name, optimizer in updates.items():
            results[AFTER_A_STEP + name] = Descent(optimizer)(initial_state(params, optimizer, 0), grads).params
        return results

    def budget(name: str) -> float:
        passes = budgets.network(specimen.depth, specimen.terms, specimen.outputs)
        return passes + budgets.elementwise() if name.startswith(AFTER_A_STEP) else passes

    return Trial(specimen.name, inputs, function, function, budget)
