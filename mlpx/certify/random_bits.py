"""Random numbers: the same bits as by the definitions on NumPy, and as they have been since this stream was fixed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mlpx import random
from mlpx.certify.measuring import EAGER, Place, quiet, said
from mlpx.certify.observing import definitions_only, observed
from mlpx.certify.record import Check
from mlpx.certify.subject import Subject
from mlpx.typing import Array

SHAPE = (50, 41)
SEED = 2**40 + 7

DRAWS: dict[str, Callable[[Array], Array]] = {
    "bits": lambda key: random.bits(key, SHAPE),
    "uniform": lambda key: random.uniform(key, SHAPE),
    "uniform in [-0.3, 1.7)": lambda key: random.uniform(key, SHAPE, low=-0.3, high=1.7),
    "normal": lambda key: random.normal(key, SHAPE),
    "bernoulli": lambda key: random.bernoulli(key, 0.9, SHAPE),
    "permutation": lambda key: random.permutation(key, 1000),
    "fold_in": lambda key: random.fold_in(key, 2**32 - 1),
    "split": lambda key: random.split(key, 5),
}

PINNED = {
    "bits": "8741eeb53b8711ce",
    "uniform": "09ca6dbc95f99827",
    "uniform in [-0.3, 1.7)": "125f13d3e3ecfcbc",
    "normal": "9fb94d939d0ff0a0",
    "bernoulli": "c0c1a000a8e765e5",
    "permutation": "6e01f544bd7ae612",
    "fold_in": "536fb39887ed0fbc",
    "split": "e5da20ee9ced1b8d",
}
"""First 16 digits of SHA-256 of each draw. They are what "the same seed" means: a change is a change of everybody's results."""


def digest(array: np.ndarray) -> str:
    """First 16 digits of SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def start_key() -> Any:
    """The key that all draws start from: both its words are in use."""
    return np.asarray(random.fold_in(random.key(SEED), 3))


def checks(subject: Subject) -> Iterator[Check]:
    """Digests of every draw, in each way the backend runs functions."""
    with definitions_only():
        wanted = {name: np.asarray(draw(start_key())) for name, draw in DRAWS.items()}
    for variant in subject.ways:
        place = Place("random", variant, variant.trace or EAGER, "")
        try:
            with quiet(), observed(subject.backend) as calls:
                draw_all = variant.wrap(lambda key: [draw(key) for draw in DRAWS.values()])
                drawn = [variant.get(array) for array in draw_all(variant.put(start_key()))]
        except Exception as error:
            yield place.check("all draws", "digest", said(error))
            continue
        ran = ", ".join(sorted(f"kernel of {name}" for name in calls.kernels)) or "definition"
        for name, found in zip(DRAWS, drawn, strict=True):
            yield _compared(place, name, found, wanted[name], ran)


def _compared(place: Place, name: str, found: np.ndarray, wanted: np.ndarray, ran: str) -> Check:
    """The digest of a draw beside NumPy's and the pinned one."""
    problem = ""
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        problem = f"gave {found.dtype} of shape {found.shape}, expected {wanted.dtype} of shape {wanted.shape}"
    elif digest(found) != digest(wanted):
        problem = f"{int(np.sum(found != wanted))} of {wanted.size} numbers are not NumPy's"
    elif digest(found) != PINNED[name]:
        problem = f"digest {digest(found)}, pinned is {PINNED[name]}"
    checked = place.check(name, "digest", problem, ran=ran)
    return checked if problem else Check(**{**vars(checked), "detail": f"sha256 {digest(found)}"})
