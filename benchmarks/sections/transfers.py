"""Moves between libraries and devices: bits and dtypes stay, memory is never shared, DLPack carries what mlpx computes on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

import mlpx
from mlpx import layers, registry
from mlpx.errors import ConfigError
from mlpx.namespace import namespace_of
from mlpx.registry import Device
from sections.places import memory_of
from sections.record import Record

LIBRARIES = ("numpy", "cupy", "torch", "jax")
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64", "complex128")
EXCHANGED = ("int32", "int64", "float32", "float64")
SHAPES = ((), (0, 3), (5,), (3, 4, 2))


def run(device: str, tiny: bool, record: Record) -> None:
    """Between the device and every other, and between the others."""
    del tiny
    places, missing = present(device)
    record.note(places=[str(place) for place in places], missing=missing)
    moves = exchanges = 0
    for source, target in itertools.product(places, places):
        with record.failing(f"{source} to {target}"):
            moves += moved(source, target, record)
            unshared(source, target, record)
    by_dlpack: dict[str, str] = {}
    for source, target in itertools.permutations(places, 2):
        if memory_of(source) == memory_of(target):
            by_dlpack[f"{source} to {target}"] = exchanged(source, target, record)
            exchanges += 1
    record.note(moves=moves, dlpack=by_dlpack)
    names = ", ".join(str(place) for place in places)
    absent = f"\nskipped: {'; '.join(f'{name}: {reason}' for name, reason in missing.items())}" if missing else ""
    record.headline(f"{moves} moves bit-exact and unshared, {exchanges} DLPack pairs, between {names}{absent}")


def present(device: str) -> tuple[list[Device], dict[str, str]]:
    """The device, the first device of each kind of every library here, and why others are not."""
    found, missing = {str(mlpx.device(device)): mlpx.device(device)}, {}
    for name in LIBRARIES:
        if name not in registry.names() or not registry.availability(name).ok:
            missing[name] = registry.availability(name).reason if name in registry.names() else "no such backend"
            continue
        backend = registry.require(name)
        kinds: dict[str, Device] = {}
        for one in backend.devices():
            kinds.setdefault(one.partition(":")[0], Device(backend, one))
        found |= {str(place): place for place in kinds.values()}
    return list(found.values()), missing


def samples(place: Device) -> Iterator[np.ndarray]:
    """Arrays of every dtype that a library keeps: random words, so that odd bit patterns occur, NaNs of floats among them."""
    draw = np.random.default_rng(0)
    for dtype, shape in itertools.product(DTYPES, SHAPES):
        if not keeps(place, dtype):
            continue
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        words = np.frombuffer(draw.bytes(size), dtype=np.uint8)
        yield ((words & 1).astype(bool) if dtype == "bool" else words.view(dtype)).reshape(shape)
    yield np.asarray([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e-310, 1.7976931348623157e308])
    yield np.asarray([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 1e-40, 3.4028235e38], dtype=np.float32)


def keeps(place: Device, dtype: str) -> bool:
    """Whether a library has a dtype, and has it switched on."""
    try:
        place.backend.check_dtype(dtype)
    except ConfigError:
        return False
    return hasattr(place.namespace, dtype)


def moved(source: Device, target: Device, record: Record) -> int:
    """NumPy to source to target to NumPy: the same dtype and bits; how many arrays went."""
    count = 0
    for array in samples(source):
        if not keeps(target, array.dtype.name):
            continue
        back = mlpx.to_numpy(mlpx.to_device(mlpx.to_device(array, source), target))
        same = back.dtype == array.dtype and back.shape == array.shape and back.tobytes() == array.tobytes()
        record.check(same, f"{source} to {target}: {array.dtype} of shape {array.shape} came back as {back.dtype} {back.shape}")
        count += 1
    return count


def unshared(source: Device, target: Device, record: Record) -> None:
    """Writing to either array of a move leaves the other as it was."""
    for written in ("the source", "the copy"):
        expected = np.arange(4096, dtype=np.float32)
        given: Any = mlpx.to_device(expected.copy(), source)
        copy: Any = mlpx.to_device(given, target)
        one, other = (given, copy) if written == "the source" else (copy, given)
        place = source if written == "the source" else target
        if place.backend.name == "jax":
            continue  # cannot be written
        one[:] = -1.0
        place.backend.synchronize(place.name)
        kept = np.array_equal(mlpx.to_numpy(other), expected)
        record.check(kept, f"{source} to {target}: writing to {written} changed the other")


def exchanged(source: Device, target: Device, record: Record) -> str:
    """Arrays taken over by the target's own `from_dlpack` have their values, and a layer computes on them."""
    take = from_dlpack(target)
    layer = layers.Dense(3, 2, "relu")
    for dtype in EXCHANGED:
        values = np.arange(12, dtype=dtype).reshape(4, 3)
        try:
            given = mlpx.to_device(values, source)
            taken = take(given)
        except Exception as error:
            record.check("float" not in dtype, f"DLPack {source} to {target}, {dtype}: {type(error).__name__}: {error}")
            continue
        record.check(np.array_equal(mlpx.to_numpy(taken), values), f"DLPack {source} to {target}, {dtype}: other values")
        record.check(str(mlpx.device(taken)) == str(target), f"DLPack {source} to {target}: found on {mlpx.device(taken)}")
        if "float" in dtype:
            weight = mlpx.to_device(np.ones((2, 3), dtype), target)
            bias = mlpx.to_device(np.ones(2, dtype), target)
            y = mlpx.to_numpy(layer.forward({"weight": weight, "bias": bias}, taken)[0])
            expected = np.maximum(values @ np.ones((3, 2), dtype) + 1, 0)
            record.check(np.array_equal(y, expected), f"DLPack {source} to {target}, {dtype}: a layer computes wrongly on it")
    return "taken over"


def from_dlpack(place: Device) -> Any:
    """The library's own way to take an array over."""
    namespace = place.namespace
    own = getattr(namespace, "from_dlpack", None)
    return own if own is not None else namespace_of(mlpx.to_device(np.zeros(1, np.float32), place)).from_dlpack
