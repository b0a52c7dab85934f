"""The public checks of mlpx.testing on the device: every op, loss, optimizer and layer, in every way the device runs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import mlpx
from mlpx import layers, losses, optim
from mlpx.layers.activation import ACTIVATIONS
from mlpx.ops import OPS
from mlpx.ops.definition import Draw
from mlpx.optim.base import OPTIMIZERS
from mlpx.testing import Variant, check_backend, check_layer, check_loss, check_op, check_optimizer
from mlpx.testing.variants import variants_of
from sections.record import Record


def run(device: str, tiny: bool, record: Record) -> None:
    """One check after another; what was not reached is named if time runs out."""
    chosen = variants(device)
    record.note(variants=[one.name for one in chosen])
    probes = check_backend(chosen[0].backend.name)
    record.note(probes={verdict: probes.count(verdict) for verdict in ("fine", "deviates", "fails")})
    record.check(probes.ok, f"check_backend: {probes}")
    waiting = list(checks(chosen, seeds=1 if tiny else 2))
    done, slowest = 0, ("", 0.0)
    for what, check in waiting:
        record.note(checked=done, running=what, of=len(waiting))
        started = time.perf_counter()
        with record.failing(what):
            check()
        slowest = max(slowest, (what, round(time.perf_counter() - started, 2)), key=lambda one: one[1])
        done += 1
    record.note(checked=done, running="", slowest=slowest)
    names = ", ".join(one.name for one in chosen)
    record.headline(f"{done - len(record.failures)} of {done} checks pass on {names}; {probes.count('fine')} probes")


def variants(device: str) -> tuple[Variant, ...]:
    """The device itself, and the traced and read-only forms of its library."""
    where = mlpx.device(device)
    forms = [one for one in variants_of(where.backend.name) if one.trace or one.readonly]
    return (Variant(str(where), where.backend, where.name), *forms)


def checks(chosen: tuple[Variant, ...], seeds: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every check by name, bound to its arguments."""
    for seed in range(seeds):
        for op in OPS.values():
            for case in op.cases:
                yield f"op {case.name}, seed {seed}", lambda case=case, seed=seed: check_op(case, chosen, seed=seed)
        for name in losses.LOSSES:
            yield f"loss {name}, seed {seed}", lambda name=name, seed=seed: check_loss(name, variants=chosen, seed=seed)
        for optimizer in optimizers():
            yield f"{optimizer!r}, seed {seed}", lambda one=optimizer, seed=seed: check_optimizer(one, chosen, seed=seed)
        for layer, given in blocks():
            yield (
                f"{layer!r}, seed {seed}",
                lambda one=layer, given=given, seed=seed: check_layer(one, variants=chosen, seed=seed, **given),
            )


def optimizers() -> list[optim.Optimizer]:
    """Every update rule of mlpx with its defaults, and with what these leave out."""
    own = (kind for kind in OPTIMIZERS.values() if kind.__module__.startswith("mlpx."))
    rules: list[Any] = [kind for kind in own if issubclass(kind, optim.Optimizer)]
    return [
        *(kind() for kind in rules),
        optim.SGD(0.1, momentum=0.9),
        optim.SGD(0.1, momentum=0.9, nesterov=True),
        optim.Adam(optim.WarmUp(optim.Cosine(1e-2, steps=20), steps=2)),
        optim.AdamW(optim.Exponential(1e-2, decay=0.9), weight_decay=0.1),
    ]


def blocks() -> list[tuple[layers.Layer, dict[str, Any]]]:
    """Every layer and composition, and what to feed it."""
    rows = {"input_shape": (6, 5)}
    return [
        *((layers.Dense(5, 4, activation=name), rows) for name in sorted(ACTIVATIONS)),
        *((layers.Activation(name, 5), rows) for name in sorted(ACTIVATIONS)),
        (layers.Dropout(0.3), rows),
        (layers.LayerNorm(5), rows),
        (layers.BatchNorm(5), rows),
        (layers.Columns(1, 4), rows),
        (layers.Flatten(), {"input_shape": (4, 3, 2)}),
        (layers.Embedding(7, 3), {"x": Draw(0).integers(6, 2, below=7)}),
        (mlpx.Sequential(layers.Dense(5, 6, "tanh"), layers.BatchNorm(6), layers.Dense(6, 2)), rows),
        (mlpx.Residual(layers.LayerNorm(5), layers.Dense(5, 5, "gelu")), rows),
        (mlpx.Parallel(layers.Dense(5, 3, "swish"), layers.Dense(5, 2), combine="concat"), rows),
        (mlpx.Parallel(layers.Dense(5, 3, "elu"), layers.Dense(5, 3), combine="sum"), rows),
        (mlpx.Sequential(layers.Dropout(0.2), layers.Dense(5, 4, "relu"), layers.Dropout(0.4)), rows),
    ]
