"""A Trainer's run against a loop written in plain PyTorch: autograd, torch.optim, and the rules that the docstrings state.

Both start from the same numbers, draw the same rows and masks (by the documented keys), and are compared after every epoch in
float64. A run leaves this path if a batch is lost, a mask not scaled, a term forgotten or a counter off by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mlpx import Sequential, Trainer, layers, optim, random, registry
from mlpx.testing import budgets, check_optimizer
from mlpx.testing.assertions import assert_values

SEED, ROWS, WIDTH, CLASSES = 11, 23, 6, 3
EPOCHS, BATCH = 4, 5  # 23 rows: four batches of 5 and one of 3
STEPS = EPOCHS * -(-ROWS // BATCH)
BUDGET = budgets.trajectory(STEPS, ROWS)
RATE, RATE_FACTOR, RATE_EVERY = 0.05, 0.5, 6


@dataclass
class Setting:
    """What a run is made of: arguments of Trainer and of fit, and the same for PyTorch."""

    optimizer: optim.Optimizer
    torch_optimizer: tuple[str, dict[str, Any]]
    trainer: dict[str, Any] = field(default_factory=dict)
    shuffle: bool = True
    weighted: bool = False
    dropout: float = 0.0
    rate: Callable[[int, int], float] = lambda step, epoch: RATE


def rate_schedule():
    return optim.schedules.StepDecay(RATE, every=RATE_EVERY, factor=RATE_FACTOR)


def stair(step: int, epoch: int) -> float:
    return RATE * RATE_FACTOR ** (step // RATE_EVERY)


def never_good_enough():
    """A plateau from the second epoch on: cut after it, and after every one that follows."""
    return optim.ReduceOnPlateau(RATE, factor=RATE_FACTOR, patience=0, min_delta=100.0, monitor="loss")


SETTINGS = {
    "descent": Setting(optim.SGD(RATE), ("SGD", {}), shuffle=False),
    "momentum": Setting(optim.SGD(rate_schedule(), momentum=0.9), ("SGD", {"momentum": 0.9}), rate=stair),
    "plateau": Setting(
        optim.SGD(never_good_enough()), ("SGD", {}), rate=lambda step, epoch: RATE * RATE_FACTOR ** max(epoch - 1, 0)
    ),
    "nesterov": Setting(
        optim.SGD(RATE, momentum=0.8, nesterov=True), ("SGD", {"momentum": 0.8, "nesterov": True}), {"clip_value": 0.02}
    ),
    "adam": Setting(optim.Adam(RATE), ("Adam", {}), {"ema": 0.9}),
    "adamw": Setting(optim.AdamW(RATE, weight_decay=0.1), ("AdamW", {"weight_decay": 0.1}), {"clip_norm": 0.1}, weighted=True),
    "rmsprop": Setting(optim.RMSprop(RATE), ("RMSprop", {"alpha": 0.9}), {"l2": 0.3}),
    "class-weights": Setting(optim.SGD(RATE), ("SGD", {}), {"class_weight": {0: 3.0, 2: 0.5}}, weighted=True),
    "balanced": Setting(optim.SGD(RATE), ("SGD", {}), {"class_weight": "balanced"}),
    "thinned": Setting(optim.Adam(RATE), ("Adam", {}), dropout=0.4),
}
DEVICES = ("numpy", "strict:device1", "torch:cpu", "jax:cpu")


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, labels and weights."""
    generator = np.random.default_rng(SEED)
    x = generator.standard_normal((ROWS, WIDTH))
    return x, generator.integers(0, CLASSES, ROWS).astype(np.int32), generator.uniform(0.5, 2.0, ROWS)


def network(dropout: float) -> Sequential:
    return Sequential(
        layers.Dense(WIDTH, 8, activation="tanh"),
        layers.BatchNorm(8),
        layers.Dropout(dropout),
        layers.Dense(8, CLASSES),
    )


def on_device(name: str) -> str:
    """The device, or a skip with reason and cure."""
    import mlpx.testing  # makes "strict" known

    assert mlpx.testing
    found = registry.availability(name.partition(":")[0])
    if not found.ok:
        pytest.skip(f"{name}: {found.reason} (cure: {found.cure})")
    return name


class Thinning:
    """Dropout by masks that are drawn as documented: one key a run, a step, a block."""

    def __init__(self, rate: float, blocks: int, position: int) -> None:
        self.rate, self.blocks, self.position = rate, blocks, position
        self.run_key = random.fold_in(random.key(SEED), random.Purpose.DROPOUT)

    def __call__(self, x, step: int):
        import torch

        if not self.rate:
            return x
        key = random.split(random.fold_in(self.run_key, step), self.blocks)[self.position]
        keep = random.uniform(key, tuple(x.shape)) < np.float32(1 - self.rate)
        return x * torch.tensor(keep) / (1 - self.rate)


def row_weights(setting: Setting, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sample weight times class weight of each row."""
    given = setting.trainer.get("class_weight")
    if given == "balanced":
        counts = np.bincount(labels, minlength=CLASSES)
        factors = ROWS / (CLASSES * counts)
    else:
        factors = np.asarray([(given or {}).get(label, 1.0) for label in range(CLASSES)])
    return (weights if setting.weighted else np.ones(ROWS)) * factors[labels]


def torch_run(setting: Setting, start: dict[str, np.ndarray]) -> tuple[list[float], dict[str, np.ndarray], np.ndarray]:
    """Epoch losses, final parameters and buffers by name, and the output for all rows, by PyTorch alone."""
    import torch

    x, labels, weights = problem()
    weights = torch.tensor(row_weights(setting, labels, weights))
    x, targets = torch.tensor(x), torch.tensor(labels, dtype=torch.int64)
    first, norm, last = torch.nn.Linear(WIDTH, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, CLASSES)
    net = torch.nn.ModuleList([first, norm, last]).double()
    ours = {"0.weight": first.weight, "0.bias": first.bias, "1.gain": norm.weight, "1.offset": norm.bias}
    ours |= {"3.weight": last.weight, "3.bias": last.bias}
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(torch.tensor(start[name]))
    kind, options = setting.torch_optimizer
    rule = (
        getattr(torch.optim, kind)(net.parameters(), lr=RATE, eps=1e-8, **options)
        if kind != "SGD"
        else torch.optim.SGD(net.parameters(), lr=RATE, **options)
    )
    thin, settings = Thinning(setting.dropout, 4, 2), setting.trainer
    average = {name: torch.zeros_like(one) for name, one in ours.items()}
    step, losses = 0, []
    for epoch in range(EPOCHS):
        order = np.arange(ROWS)
        if setting.shuffle:
            key = random.fold_in(random.fold_in(random.key(SEED), random.Purpose.SHUFFLE), epoch)
            order = np.argsort(random.bits(key, ROWS), kind="stable")
        total = 0.0
        for begin in range(0, ROWS, BATCH):
            rows = torch.tensor(order[begin : begin + BATCH])
            net.train()
            logits = last(thin(norm(torch.tanh(first(x[rows]))), step))
            each = torch.nn.functional.cross_entropy(logits, targets[rows], reduction="none")
            loss = torch.sum(each * weights[rows]) / torch.sum(weights[rows])
            loss = loss + 0.5 * settings.get("l2", 0.0) * (torch.sum(first.weight**2) + torch.sum(last.weight**2))
            rule.zero_grad()
            loss.backward()
            if "clip_value" in settings:
                torch.nn.utils.clip_grad_value_(net.parameters(), settings["clip_value"])
            if "clip_norm" in settings:
                _clip_norm(net, settings["clip_norm"])
            rule.param_groups[0]["lr"] = setting.rate(step, epoch)
            rule.step()
            step += 1
            total += float(loss.detach() * torch.sum(weights[rows]))
            decay = settings.get("ema", 0.0)
            average = {name: decay * average[name] + (1 - decay) * one.detach() for name, one in ours.items()}
        losses.append(total / float(torch.sum(weights)))
    shrinkage = 1 - settings.get("ema", 0.0) ** step
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(average[name] / shrinkage)
    net.eval()
    found = {name: one.detach().numpy() for name, one in ours.items()}
    found |= {"1.running_mean": norm.running_mean.numpy(), "1.running_variance": norm.running_var.numpy()}
    return losses, found, last(norm(torch.tanh(first(x)))).detach().numpy()


def _clip_norm(net, limit: float) -> None:
    """As torch.nn.utils.clip_grad_norm_, without the 1e-6 that it adds to the norm."""
    import torch

    norm = torch.sqrt(sum(torch.sum(one.grad**2) for one in net.parameters()))
    for one in net.parameters():
        one.grad *= min(1.0, limit / float(norm))


def our_run(
    setting: Setting, device: str, fits: tuple[int, ...] = (EPOCHS,)
) -> tuple[Trainer, dict[str, np.ndarray], list[float]]:
    x, labels, weights = problem()
    net = network(setting.dropout)
    trainer = Trainer(net, optimizer=setting.optimizer, device=device, dtype="float64", seed=SEED, **setting.trainer)
    start = {name: np.asarray(one) for name, one in net.init(SEED, dtype="float64").items()}
    losses = []
    for epochs in fits:
        history = trainer.fit(
            x,
            labels,
            epochs=epochs,
            batch_size=BATCH,
            shuffle=setting.shuffle,
            sample_weight=weights if setting.weighted else None,
            progress=False,
        )
        losses += history["loss"]
    return trainer, start, losses


def assert_same_run(trainer: Trainer, losses: list[float], expected: tuple) -> None:
    from mlpx import to_numpy

    their_losses, parameters, output = expected
    params = trainer.params
    assert_values(np.asarray(losses), np.asarray(their_losses), dtype="float64", budget=BUDGET, what="losses")
    for name, reference in parameters.items():
        assert_values(to_numpy(params[name]), reference, dtype="float64", budget=BUDGET, what=name)
    assert_values(to_numpy(trainer.predict(problem()[0])), output, dtype="float64", budget=BUDGET, what="output")


@pytest.mark.parametrize("name", SETTINGS)
def test_update_rule_keeps_its_contract(name, backend_variant):
    check_optimizer(SETTINGS[name].optimizer, backend_variant)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_is_that_of_a_loop_in_torch(name, device):
    pytest.importorskip("torch")
    trainer, start, losses = our_run(SETTINGS[name], on_device(device))
    assert_same_run(trainer, losses, torch_run(SETTINGS[name], start))


def test_a_second_fit_goes_on_with_moments_and_step_counter():
    pytest.importorskip("torch")
    setting = Setting(optim.Adam(RATE), ("Adam", {}), {"ema": 0.8}, shuffle=False)
    trainer, start, losses = our_run(setting, "numpy", fits=(1, EPOCHS - 1))
    assert_same_run(trainer, losses, torch_run(setting, start))
    assert int(trainer.state.step) == STEPS
