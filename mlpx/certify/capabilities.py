"""The capability table in the docs, written from the ops and their cases: `python -m mlpx.certify.capabilities FILE`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlpx import registry
from mlpx.certify.observing import kernel_title
from mlpx.ops.definition import OPS, UPDATES, Case, Draw, Op
from mlpx.testing import budgets
from mlpx.testing.op_checks import differentiated
from mlpx.testing.training_checks import UPDATES as UPDATES_IN_A_ROW
from mlpx.testing.variants import FLOATING

KERNELS_HEADING = "## Kernels"
"""What stands behind it depends on what is installed."""
_HEAD = """\
# What every op can do

This page is generated from the ops and their case records: `python -m mlpx.certify.capabilities FILE`.

Every op runs, forward and backward, on every backend (`numpy`, `cupy`, `torch`, `jax`, and any that a plug-in brings), on every
device of it, in {dtypes}: by its definition, which is the equation shown here, or by a kernel, a backend's faster twin of it
that is held to the same budget.

"Budget" says how far a result may be from the definition in float64 NumPy, in eps of the result's scale, for the sizes that
are checked, with m terms in the longest sum; the reasons are in [the certificate](../explanation/certificate.md). How far each
op is off on your machine, and what ran, `mlpx certify` measures.
"""


def markdown() -> str:
    """The whole page."""
    return machine_independent() + "\n".join(["", KERNELS_HEADING, "", *_kernel_lines()]) + "\n"


def machine_independent() -> str:
    """The page up to the table of kernels: what follows from the ops alone."""
    return "\n".join(_lines()) + "\n"


def equation(op: Op) -> tuple[str, ...]:
    """The equations in an op's docstring: the lines of its first indented block."""
    block: list[str] = []
    for line in inspect.cleandoc(op.__doc__ or "").splitlines()[1:]:
        if line.startswith("    "):
            block.append(" ".join(line.split()))
        elif block or line.startswith("---"):
            break
    return tuple(block)


def _lines() -> Iterator[str]:
    yield _HEAD.format(dtypes=" and ".join(FLOATING))
    yield "## Ops"
    yield ""
    yield _row(("op", "equation", "arrays", "gradients of", "kind", "m", "budget", "cases"))
    yield _row(["---"] * 8)
    for name in sorted(OPS):
        yield _op_row(OPS[name])
    yield ""
    yield "## Update rules"
    yield ""
    yield (
        f"They are element-wise: {UPDATES_IN_A_ROW} updates in a row may be off by {UPDATES_IN_A_ROW} · "
        f"{budgets.elementwise():g} eps. They have no backward pass."
    )
    yield ""
    yield _row(("update rule", "equation"))
    yield _row(["---"] * 2)
    for name in sorted(UPDATES):
        yield _row((f"`{name}`", _formulas(UPDATES[name])))


def _op_row(op: Op) -> str:
    """One op, all its cases together."""
    names = list(inspect.signature(op.definition).parameters)
    drawn = [case.inputs(Draw(0)) for case in op.cases]
    arrays = names[: max((len(inputs) for inputs in drawn), default=0)]
    wanted = {names[index] for case, inputs in zip(op.cases, drawn, strict=True) for index in differentiated(case, inputs)}
    kinds = dict.fromkeys(f"{case.kind}" for case in op.cases)
    budget = max((budgets.of(case.kind, case.terms) for case in op.cases), default=0.0)
    return _row(
        (
            f"`{op.name}`",
            _formulas(op),
            ", ".join(arrays),
            ", ".join(name for name in arrays if name in wanted) or "none",
            ", ".join(kinds),
            str(max((case.terms for case in op.cases), default=1)),
            f"{budget:.3g}",
            ", ".join(map(_label, op.cases)),
        )
    )


def _label(case: Case) -> str:
    return case.label or "plain"


def _kernel_lines() -> Iterator[str]:
    """Which ops and functions have kernels in the backends that are known here."""
    rows = [
        (f"`{backend}`", f"`{name}`", f"`{kernel_title(kernel)}`")
        for backend in registry.names()
        if backend not in registry.registered()
        for name, kernel in sorted(registry.find(backend).kernels.items())
    ]
    yield "In the backends that come with mlpx; what is not listed runs by its definition." if rows else "There are none."
    if rows:
        yield ""
        yield _row(("backend", "stands in for", "kernel"))
        yield _row(["---"] * 3)
        yield from map(_row, rows)


def _formulas(op: Op) -> str:
    return "<br>".join(f"`{line.replace('|', chr(92) + '|')}`" for line in equation(op))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
