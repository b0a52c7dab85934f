"""Kernels: each one that a backend registers must have run by itself somewhere in all that was computed."""

from __future__ import annotations

from collections.abc import Iterator

from mlpx.certify.observing import Calls, kernel_title
from mlpx.certify.record import Check
from mlpx.certify.subject import Subject


def checks(subject: Subject, calls: Calls) -> Iterator[Check]:
    """One record for each registered kernel; `calls` are those of every other section."""
    for name, kernel in sorted(subject.backend.kernels.items()):
        title = kernel_title(kernel)
        made, handed_back = calls.kernels[name], calls.fell_back[name]
        problem = ""
        if not made:
            problem = f"{title} is registered for {name!r} and did not run: nothing that was computed looks that name up"
        elif made == handed_back:
            problem = f"{title} handed all of its {made} calls back to the definition"
        yield Check("kernels", name, "calls", "", "", not problem, ran=title, detail=problem or f"{made - handed_back} calls")
