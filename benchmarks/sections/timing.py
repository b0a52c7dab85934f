"""A training step of an MLP on the device against the same step in PyTorch, eagerly, on the same processor.

Same network, first weights, batch, loss, Adam, IEEE float32, number of threads. Gradients are compared in float64 before
anything is timed. A round runs every contender for some steps and waits for the device; contenders take turns within a
round. What is given is the median over the rounds, and its ratio: below 1 means that mlpx takes less time.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import mlpx
from mlpx import layers, losses, optim
from mlpx.namespace import namespace_of
from mlpx.registry import Device
from mlpx.step import Batch, Descent, Objective, initial_state, training_step
from sections.places import is_gpu
from sections.record import Record

ROUND = 0.15
"""Seconds of a round for one contender."""

ROUNDS = 15
FEWEST = 5

GRADIENT = 1e-9
"""Largest relative difference of two float64 gradients: rounding gives 1e-13, a wrong term 1e-2."""


@dataclass(frozen=True)
class Size:
    """A network and its batch."""

    name: str
    widths: tuple[int, ...]
    batch: int

    def __str__(self) -> str:
        return f"{self.name} {'-'.join(map(str, self.widths))}, batch {self.batch}"


SIZES = (Size("S0", (2, 16, 1), 32), Size("S1", (784, 128, 64, 10), 128), Size("S2", (784, 512, 512, 10), 512))


def run(device: str, tiny: bool, record: Record) -> None:
    """Size after size."""
    where = mlpx.device(device)
    peer, reason = torch_device(where)
    record.note(
        peer=f"torch on {peer}" if peer else f"skipped: {reason}", load=os.getloadavg() if hasattr(os, "getloadavg") else None
    )
    sizes: dict[str, Any] = {}
    for size in SIZES[: 2 if tiny else 3]:
        with record.failing(str(size)):
            sizes[str(size)] = compared(size, where, peer, 3 if tiny else ROUNDS, record)
            record.note(sizes=sizes)
            record.headline(headline(sizes, reason))


def headline(sizes: dict[str, Any], reason: str) -> str:
    """A line for each size."""
    lines = ["µs a step" if not reason else f"µs a step; torch skipped: {reason}"]
    for size, said in sizes.items():
        times = ", ".join(f"{name} {one['median_us']:.0f}" for name, one in said["contenders"].items())
        ratios = ", ".join(f"{ratio:.2f} of {name}" for name, ratio in said["ratio"].items())
        lines.append(f"{size}: {times}" + (f"; mlpx takes {ratios}" if ratios else ""))
    return "\n".join(lines)


def torch_device(where: Device) -> tuple[str, str]:
    """PyTorch's name for the same processor, or why there is none."""
    try:
        import torch
    except ImportError as error:
        return "", f"torch cannot be imported ({error})"
    if not is_gpu(where):
        return "cpu", ""
    if not torch.cuda.is_available():
        return "", "this torch has no CUDA"
    return f"cuda:{where.name.rpartition(':')[2]}", ""


def compared(size: Size, where: Device, peer: str, rounds: int, record: Record) -> dict[str, Any]:
    """Gradients, then times."""
    said: dict[str, Any] = {"contenders": {}, "ratio": {}}
    if peer:
        off = said["gradient_difference"] = gradient_difference(size, where, peer)
        if not record.check(off <= GRADIENT, f"{size}: the gradient is off torch's by {off:.2e} relative; not timed"):
            return said
    with where.backend.precision("ieee"):
        contenders = {"mlpx": our_steps(size, where)}
        if peer:
            contenders |= {"torch": torch_steps(size, peer), "torch fused": torch_steps(size, peer, fused=True)}
        measured = interleaved(contenders, rounds)
    said["contenders"] = measured
    ours = measured["mlpx"]["median_us"]
    said["ratio"] = {name: round(ours / one["median_us"], 3) for name, one in measured.items() if name != "mlpx"}
    return said


def interleaved(contenders: dict[str, Callable[[int], float]], rounds: int) -> dict[str, Any]:
    """Median and spread of the microseconds a step takes, contenders in turn, each round begun by another."""
    count: dict[str, int] = {}
    first: dict[str, float] = {}
    for name, steps in contenders.items():
        started = time.perf_counter()
        steps(1)
        first[name] = time.perf_counter() - started
        steps(5)
        started = time.perf_counter()
        steps(5)
        count[name] = max(FEWEST, min(1000, int(5 * ROUND / (time.perf_counter() - started))))
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = time.perf_counter()
            last = contenders[name](count[name])
            taken[name].append((time.perf_counter() - started) / count[name] * 1e6)
            if not np.isfinite(last):
                raise AssertionError(f"the loss of {name} is {last}")
    return {
        name: {
            "median_us": round(statistics.median(times), 2),
            "fastest_us": round(min(times), 2),
            "slowest_us": round(max(times), 2),
            "rounds": rounds,
            "steps_a_round": count[name],
            "first_step_s": round(first[name], 4),
        }
        for name, times in taken.items()
    }


def problem(size: Size) -> tuple[mlpx.Network, losses.Loss, np.ndarray, np.ndarray]:
    """Network, loss, and a float64 batch."""
    *hidden, last = size.widths
    blocks = [layers.Dense(n_in, n_out, "relu") for n_in, n_out in pairwise(hidden)]
    net = mlpx.Sequential(*blocks, layers.Dense(hidden[-1], last))
    draw = np.random.default_rng(0)
    x = draw.standard_normal((size.batch, size.widths[0]))
    if last == 1:
        return net, losses.get("sigmoid_cross_entropy"), x, draw.integers(0, 2, (size.batch, 1)).astype(np.float64)
    return net, losses.get("softmax_cross_entropy"), x, draw.integers(0, last, size.batch)


def our_steps(size: Size, where: Device) -> Callable[[int], float]:
    """A function that makes so many training steps, waits for the device and returns the last loss."""
    net, loss, x, y = problem(size)
    descent = Descent(optim.Adam(1e-4))
    state = initial_state(net.init(0, where, "float32"), descent.optimizer, 0)
    batch = placed(x, y, where, "float32")
    step = where.backend.compile(training_step(Objective(net, loss), descent), (state, batch))

    def steps(count: int) -> float:
        nonlocal state
        metrics: dict[str, Any] = {}
        for _ in range(count):
            state, metrics = step(state, batch)
        where.backend.synchronize(where.name)
        return float(mlpx.to_numpy(metrics["loss"]))

    return steps


def torch_steps(size: Size, peer: str, *, fused: bool = False) -> Callable[[int], float]:
    """The same in PyTorch: autograd, and its Adam as it comes or in its fused form."""
    import torch

    model, loss, x, y = torch_problem(size, peer, torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, **({"fused": True} if fused else {}))

    def steps(count: int) -> float:
        value = None
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
        assert value is not None  # count is at least 1
        return float(value.detach())  # waits for the device

    return steps


def torch_problem(size: Size, peer: str, dtype: Any) -> tuple[Any, Any, Any, Any]:
    """The network of `problem` in PyTorch with the same weights, its loss, and the batch."""
    import torch

    net, _, x, y = problem(size)
    params = {name: mlpx.to_numpy(array) for name, array in net.init(0, "numpy", "float32").items()}
    blocks: list[Any] = []
    for number in range(len(size.widths) - 1):
        linear = torch.nn.Linear(size.widths[number], size.widths[number + 1])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(params[f"{number}.weight"]))
            linear.bias.copy_(torch.from_numpy(params[f"{number}.bias"]))
        blocks += [torch.nn.ReLU(), linear] if number else [linear]
    model = torch.nn.Sequential(*blocks).to(peer, dtype)
    loss = torch.nn.BCEWithLogitsLoss() if size.widths[-1] == 1 else torch.nn.CrossEntropyLoss()
    targets = torch.from_numpy(y).to(peer)
    return model, loss, torch.from_numpy(x).to(peer, dtype), targets.to(dtype) if size.widths[-1] == 1 else targets


def placed(x: np.ndarray, y: np.ndarray, where: Device, dtype: str) -> Batch:
    """The batch on the device: values in the dtype, labels in int32."""
    targets = y.astype(dtype) if y.ndim == 2 else y.astype(np.int32)
    return Batch(mlpx.to_device(x.astype(dtype), where), mlpx.to_device(targets, where))


def gradient_difference(size: Size, where: Device, peer: str) -> float:
    """Of our float64 gradient on the device and autograd's: the largest difference, relative to the largest component."""
    import torch

    net, loss, x, y = problem(size)
    # first weights are drawn in float32 and float64 alike, but rounded differently: both start from the float32 ones
    single = net.init(0, where, "float32")
    xp = namespace_of(single.flat)
    params = net.parameters({name: xp.astype(array, xp.float64) for name, array in single.items()})
    _, flat, _ = Objective(net, loss).gradient(params, placed(x, y, where, "float64"), None)
    model, their_loss, their_x, their_y = torch_problem(size, peer, torch.float64)
    their_loss(model(their_x), their_y).backward()
    ours = {name: mlpx.to_numpy(array) for name, array in params.replaced(flat).items()}
    linears = [block for block in model if isinstance(block, torch.nn.Linear)]
    worst = 0.0
    for number, linear in enumerate(linears):
        for name, theirs in (("weight", linear.weight.grad), ("bias", linear.bias.grad)):
            wanted = theirs.cpu().numpy()
            worst = max(worst, float(np.max(np.abs(ours[f"{number}.{name}"] - wanted)) / np.max(np.abs(wanted))))
    return worst
