"""Transfers: what is moved arrives bit for bit and shares no memory; what is not moved by name is not moved at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mlpx import transfer
from mlpx.certify.foreign import ForeignArray
from mlpx.certify.measuring import EAGER, Place, measure, quiet, said
from mlpx.certify.observing import host_reads
from mlpx.certify.ops import prepared_case
from mlpx.certify.record import Check
from mlpx.certify.specimens import Specimen, specimens
from mlpx.certify.subject import Subject
from mlpx.errors import DeviceMismatchError, MlpxError
from mlpx.ops.definition import OPS, Case
from mlpx.parameters import Parameters
from mlpx.registry import Device
from mlpx.testing.op_checks import expect_refusal_of_two_devices, op_trial
from mlpx.testing.trials import cast
from mlpx.testing.variants import Variant
from mlpx.typing import Array

DTYPES = ("bool", "int32", "int64", "float32", "float64")
ROUND_TRIP, NO_HOST, REFUSAL, TWO_DEVICES = "round trip", "no read by the host", "refusal of", "refusal of two devices"


def checks(subject: Subject) -> Iterator[Check]:
    """Round trips of every dtype; no transfer that nobody asked for in any op or network."""
    coarsest = subject.floating[-1]
    place = Place("transfers", subject.eager, EAGER, coarsest)
    for dtype in DTYPES:
        if _has(subject, dtype):
            yield Place("transfers", subject.eager, "", dtype).check("arrays", ROUND_TRIP, _round_trips(subject, dtype))
    for case in (case for op in OPS.values() for case in op.cases):
        yield place.check(case.name, NO_HOST, _host_reads(case, subject.eager, coarsest))
        yield from _mixed_op_checks(case, place)
    for specimen in specimens():
        yield from _mixed_network_checks(specimen, place)
    for variant in subject.traced:
        if not variant.materialises:  # arrays without values: whoever reads one is found out
            cases = [prepared_case(case, coarsest) for op in OPS.values() for case in op.cases]
            yield from measure("transfers", cases, variant, coarsest)


def _has(subject: Subject, dtype: str) -> bool:
    """Whether the library really has a dtype."""
    try:
        subject.backend.check_dtype(dtype)
    except MlpxError:
        return False
    return hasattr(subject.backend.namespace(), dtype)


# ------------------------------------------------------------------ what is asked for


def _round_trips(subject: Subject, dtype: str) -> str:
    """What is wrong with copies to the device, to each other device, and back; empty if nothing is."""
    home = Device(subject.backend, subject.device)
    others = [Device(subject.backend, name) for name in subject.backend.devices() if name != subject.device]
    for what, array in _luggage(dtype).items():
        kept = array.astype(array.dtype.newbyteorder("="), copy=True)
        try:
            there = transfer.to_device(array, home)
            if array.size:
                array.fill(1)
                transfer.to_numpy(there).fill(1)
            direct = transfer.to_numpy(there)
            for stop in (home, *others, home):
                there = transfer.to_device(there, stop)
            back = transfer.to_numpy(there)
        except Exception as error:
            return f"{what}: {said(error)}"
        for arrived, way in ((direct, ""), (back, " from a tour of all devices")):
            if (arrived.dtype, arrived.shape) != (kept.dtype, kept.shape):
                found = f"{arrived.dtype} of shape {arrived.shape}"
                return f"{what}: went as {kept.dtype} of shape {kept.shape}, came back{way} as {found}"
            if kept.size and arrived.tobytes() == np.ones_like(kept).tobytes() != kept.tobytes():
                return f"{what}: the copy on the device shares memory with an array on the host"
            if arrived.tobytes() != kept.tobytes():
                return f"{what}: came back{way} with other bits"
    return ""


def _luggage(dtype: str) -> dict[str, np.ndarray]:
    """Arrays whose bits are easily lost: special numbers, and unusual shapes, layouts and byte orders."""
    draw = np.random.default_rng(5)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        limits = np.finfo(kind)
        special = [np.nan, np.inf, -np.inf, 0.0, -0.0, limits.max, limits.tiny, limits.smallest_subnormal, 1 + limits.eps]
        table = draw.standard_normal((7, 5)).astype(kind)
    elif kind.kind == "i":
        special = [np.iinfo(kind).min, np.iinfo(kind).max, 0, -1]
        table = draw.integers(-(2**31), 2**31, (7, 5)).astype(kind)
    else:
        special = [True, False, False]
        table = draw.integers(0, 2, (7, 5)).astype(kind)
    return {
        "special numbers": np.asarray(special, dtype=kind),
        "0-d": np.asarray(special[0], dtype=kind),
        "no rows": np.zeros((0, 3), dtype=kind),
        "C order": table.copy(),
        "Fortran order": np.asfortranarray(table),
        "every other column": np.repeat(table, 2, axis=1)[:, ::2],
        "reversed": table.copy()[::-1],
        "foreign byte order": table.astype(kind.newbyteorder(">")),
    }


# ------------------------------------------------------------------ what nobody asked for


def _host_reads(case: Case, variant: Variant, dtype: str) -> str:
    """Which values of an op's arrays the host reads or moves while it runs forward and backward."""
    trial = op_trial(case, seed=0)
    try:
        placed = [variant.put(cast(array, dtype)) for array in trial.inputs.values()]
        with quiet(), host_reads(variant.backend, placed[-1]) as counted:
            trial.function(*placed)
    except Exception as error:
        return said(error)
    return "" if not counted else f"{', '.join(sorted(counted))}: called while the op ran"


def _mixed_op_checks(case: Case, place: Place) -> Iterator[Check]:
    """Arrays of another library, of the host, or of another device among an op's arguments are refused."""
    trial = op_trial(case, seed=0)
    inputs = [cast(array, place.dtype) for name, array in trial.inputs.items() if name != "dy"]
    if len(inputs) < 2:
        return
    for who, stranger in _strangers(place.variant).items():
        problem = ""
        for position in range(len(inputs)):
            given: list[Any] = [place.variant.put(one) for one in inputs]
            given[position] = stranger(inputs[position])
            problem = problem or _refused(lambda given=given: case.op(*given, **case.attributes), f"as argument {position}")
        yield place.check(case.name, f"{REFUSAL} {who}", problem)
    if len(place.variant.backend.devices()) > 1:
        problem = ""
        try:
            with quiet():
                expect_refusal_of_two_devices(trial, place.variant)
        except AssertionError as error:
            problem = str(error)
        yield place.check(case.name, TWO_DEVICES, problem)


def _mixed_network_checks(specimen: Specimen, place: Place) -> Iterator[Check]:
    """A network on the device refuses a batch, and targets, that are elsewhere."""
    put, net = place.variant.put, specimen.net

    def on_device(array: np.ndarray) -> Array:
        return put(cast(array, place.dtype))

    buffers = Parameters(net.buffer_layout, on_device(specimen.buffers))
    params = Parameters(net.layout, on_device(specimen.params), buffers)
    x, targets = specimen.x[0], specimen.targets[0]
    output = on_device(np.ones(net.output_shape(x.shape)))
    for who, stranger in _strangers(place.variant).items():
        problem = _refused(lambda here=stranger: net.forward(params, here(cast(x, place.dtype))), "as x")
        problem = problem or _refused(
            lambda here=stranger: specimen.loss(output, here(cast(targets, place.dtype))), "as targets"
        )
        yield place.check(specimen.name, f"{REFUSAL} {who}", problem)


def _strangers(variant: Variant) -> dict[str, Callable[[np.ndarray], Any]]:
    """Ways to make an array that does not belong: always one of another library; of the host where this is not the host."""

    def foreign(array: np.ndarray) -> ForeignArray:
        return ForeignArray(array.shape, variant.put(array).dtype)

    if isinstance(variant.put(np.zeros(1, dtype=np.float32)), np.ndarray):
        return {"another library's arrays": foreign}
    return {"another library's arrays": foreign, "the host's arrays": lambda array: array}


def _refused(call: Callable[[], Any], where: str) -> str:
    """What is wrong with how a call takes arrays of two libraries; empty if it raises DeviceMismatchError."""
    try:
        with quiet():
            call()
    except DeviceMismatchError:
        return ""
    except Exception as error:
        return f"{where}: {said(error)}, not DeviceMismatchError"
    return f"{where}: was accepted; it must raise DeviceMismatchError"
