"""Random bits on the device are those of NumPy, bit for bit: keys, draws, permutations, dropout masks, first weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import mlpx
from mlpx import layers, random
from mlpx.registry import Device
from sections.record import Record

INITIALISERS = [f"{family}_{shape}" for family in ("glorot", "he", "lecun") for shape in ("uniform", "normal")]
MANY = 1_000_003


def run(device: str, tiny: bool, record: Record) -> None:
    """Every kind of draw once on NumPy and once on the device."""
    where = mlpx.device(device)
    compared = words = 0
    for what, draw in draws(10_007 if tiny else MANY):
        with record.failing(what):
            expected, found = mlpx.to_numpy(draw("numpy")), mlpx.to_numpy(draw(where))
            same = expected.dtype == found.dtype and expected.shape == found.shape and expected.tobytes() == found.tobytes()
            differing = int(np.sum(expected != found)) if expected.shape == found.shape else "all"
            record.check(same, f"{what}: {differing} of {expected.size} numbers are not NumPy's")
            compared, words = compared + 1, words + expected.size
    record.note(draws=compared, numbers=words)
    record.headline(f"{compared} kinds of draw, {words:,} numbers equal to NumPy's bit for bit")


def draws(n: int) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """What to draw on a given device, by name."""
    for seed in (0, 1, 2**32 + 7, 2**64 - 1):
        yield f"bits, seed {seed}", lambda device, seed=seed: random.bits(random.key(seed), n, device=device)
    key = random.key(3)
    yield "fold_in on the device", lambda device: random.fold_in(mlpx.to_device(key, device), 7)
    yield "split on the device", lambda device: random.split(mlpx.to_device(key, device), 5)
    for dtype in ("float32", "float64"):
        yield f"uniform {dtype}", lambda device, dtype=dtype: random.uniform(key, (n,), dtype=dtype, device=device)
        yield f"normal {dtype}", lambda device, dtype=dtype: random.normal(key, (7, n // 7), dtype=dtype, device=device)
    yield "bernoulli", lambda device: random.bernoulli(key, 0.3, n, device=device)
    yield "permutation", lambda device: random.permutation(key, n, device=device)
    yield "dropout mask", lambda device: dropped(n, device)
    for name in INITIALISERS:
        net = mlpx.Sequential(layers.Dense(37, 64, "tanh", weight_init=name), layers.Dense(64, 10))
        yield f"first weights, {name}", lambda device, net=net: net.init(5, device, "float32").flat


def dropped(n: int, device: str | Device) -> Any:
    """Ones through a dropout layer in training: where the zeros are is the mask."""
    ones = mlpx.to_device(np.ones((1, n), dtype=np.float32), device)
    key = mlpx.to_device(random.key(11), device)
    return layers.Dropout(0.25).forward({}, ones, train=True, key=key)[0]
