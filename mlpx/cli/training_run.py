"""A whole training run: from a source of data to a folder with model, metrics, history and curves."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

import mlpx
from mlpx import data, layers, losses, optim, transfer
from mlpx.arguments import real_number, whole_number
from mlpx.cli.curves import draw_curves
from mlpx.compositions import Sequential
from mlpx.data import Encoder, Table
from mlpx.errors import CheckpointNotFoundError, ConfigError
from mlpx.registry import Device
from mlpx.train import EarlyStopping, History, Trainer

PARTS = ("train", "validation", "test")
SHARES = (0.7, 0.1, 0.2)
L2_OF_ONE_ROW = 4.0  # λ = 4 / n: the same prior on the weights however many rows speak against it
MODEL, METRICS, HISTORY, CURVES = "model.safetensors", "metrics.json", "history.csv", "curves.png"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class RunSettings:
    """The options of `mlpx train`."""

    source: str
    target: str | None
    task: str | None
    hidden: tuple[int, ...]
    activation: str
    dropout: float
    loss: str | None
    optimizer: str
    learning_rate: float | None
    l2: float | None
    epochs: int
    batch_size: int
    patience: int
    device: str
    dtype: str
    precision: str
    seed: int
    missing: str
    scale: bool
    out: Path | None
    force: bool
    checkpoint_every: int | None
    resume: bool
    progress: bool | None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 0), ("patience", 0), ("seed", 0)):
            whole_number(name, getattr(self, name), at_least=least)
        real_number("dropout", self.dropout, 0, 1, open_high=True)


@dataclass(frozen=True)
class RunResult:
    """What a training run gave: `record` is what `metrics.json` holds, and where the files are."""

    record: dict[str, Any]

    def show(self) -> None:
        """Print results and places as a table."""
        record = self.record
        table = RichTable(title=f"{record['source']}: {record['network']}", title_justify="left")
        table.add_column("")
        for name in record["test"]:
            table.add_column(name, justify="right")
        for part in PARTS:
            table.add_row(part, *(f"{value:.4f}" for value in record[part].values()))
        console = Console(soft_wrap=True)
        console.print(table)
        console.print(f"device     {record['device']} ({record['dtype']}, precision {record['precision']})", highlight=False)
        console.print(
            f"training   {record['epochs']} epochs in {record['seconds']:.1f} s; stopped: {record['stopped']}", highlight=False
        )
        for name, place in record["files"].items():
            console.print(f"{name:10} {place}", highlight=False)
        headline = next((name for name in ("accuracy", "r2") if name in record["test"]), "loss")
        console.print(f"[bold]test {headline} {record['test'][headline]:.4f} on {record['device']}[/]", highlight=False)


def train(settings: RunSettings) -> RunResult:
    """Read, split, encode, train, measure, write.

    Raises
    ------
    DataFileError, ConfigError, BackendMissingError, DivergenceError, CheckpointError, ResourceLimitError
        See their texts; nothing has been written before the data and all settings are known to be good.
    """
    device = transfer.device(settings.device)
    missing = cast("Literal['error', 'drop', 'fill']", settings.missing)
    table = data.read(settings.source, target=settings.target, missing=missing)
    parts, encoder = divided(table, settings)
    trainer = make_trainer(settings, encoder, device, rows=len(parts["train"]))
    folder = out_folder(settings)
    arrays = {name: (encoder.transform(part), encoder.transform_target(part)) for name, part in parts.items()}
    started = time.perf_counter()
    stopping = (EarlyStopping(patience=settings.patience),) if settings.patience else ()
    checkpointed = settings.checkpoint_every is not None or settings.resume
    history = trainer.fit(
        *arrays["train"],
        epochs=settings.epochs,
        batch_size=min(settings.batch_size, len(parts["train"])) or None,
        validation=arrays["validation"],
        callbacks=stopping,
        progress=settings.progress,
        checkpoint=folder / CHECKPOINTS if checkpointed else None,
        checkpoint_every=settings.checkpoint_every,
        resume=settings.resume,
    )
    seconds = time.perf_counter() - started
    results = {name: in_target_units(trainer.evaluate(*arrays[name]), encoder) for name in PARTS}
    return RunResult(write_results(folder, settings, trainer, history, results, seconds))


def divided(table: Table, settings: RunSettings) -> tuple[dict[str, Table], Encoder]:
    """The rows to train on, to validate on and to test on, and what is learned from the first about the columns."""
    whole = Encoder.fit(table, task=settings.task)
    labels = whole.transform_target(table) if whole.task == "classification" else None
    rows = data.split(len(table), SHARES, settings.seed, labels)
    parts = {name: table.take(chosen) for name, chosen in zip(PARTS, rows, strict=True)}
    encoder = Encoder.fit(
        parts["train"], task=whole.task, scale_inputs=settings.scale, scale_target=settings.scale and labels is None
    )
    return parts, encoder


def make_trainer(settings: RunSettings, encoder: Encoder, device: Device, rows: int) -> Trainer:
    """A multilayer perceptron for the encoder's inputs and outputs, and how it is to be trained."""
    blocks: list[layers.Layer] = []
    width = encoder.n_inputs
    for units in settings.hidden:
        blocks.append(layers.Dense(width, units, activation=settings.activation))
        if settings.dropout:
            blocks.append(layers.Dropout(settings.dropout))
        width = units
    blocks.append(layers.Dense(width, encoder.n_outputs))
    default = "softmax_cross_entropy" if encoder.task == "classification" else "half_squared_error"
    loss = losses.get(settings.loss or default)
    if (loss.target_kind == "labels") != (encoder.task == "classification"):
        raise ConfigError(f"loss {loss.name!r} is not for {encoder.task}, which is what the target asks for; see --task")
    optimizer = {"name": settings.optimizer}
    if settings.learning_rate is not None:
        optimizer["learning_rate"] = settings.learning_rate  # type: ignore[assignment]
    trainer = Trainer(
        Sequential(*blocks),
        loss=loss,
        optimizer=optim.get(optimizer),
        device=device,
        dtype=settings.dtype,
        precision=settings.precision,
        seed=settings.seed,
        l2=L2_OF_ONE_ROW / rows if settings.l2 is None else settings.l2,
    )
    trainer.extras = {"encoder": encoder.config()}
    return trainer


def in_target_units(results: dict[str, float], encoder: Encoder) -> dict[str, float]:
    """Results with the mean absolute error in the unit of the target, whose standardised values were trained on."""
    if encoder.task == "classification":
        return results
    scale = encoder.target.scaling.scale
    return {name: value * scale if name == "mae" else value for name, value in results.items()}


def write_results(
    folder: Path,
    settings: RunSettings,
    trainer: Trainer,
    history: History,
    results: dict[str, dict[str, float]],
    seconds: float,
) -> dict[str, Any]:
    """Write the four files; returns what `metrics.json` holds."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer.save(folder / MODEL)
    history.to_csv(folder / HISTORY)
    draw_curves(history, folder / CURVES, title=settings.source)
    files = {"model": MODEL, "metrics": METRICS, "history": HISTORY, "curves": CURVES}
    record = {
        "source": settings.source,
        "network": "-".join(map(str, sizes(trainer))),
        "parameters": trainer.net.layout.size,
        **results,
        "device": history.device,
        "dtype": history.dtype,
        "precision": history.precision,
        "seed": settings.seed,
        "epochs": len(history),
        "stopped": history.stopped,
        "seconds": seconds,
        "versions": {"mlpx": mlpx.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "files": {name: str(folder / file) for name, file in files.items()},
    }
    (folder / METRICS).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def sizes(trainer: Trainer) -> list[int]:
    """Width of the input and of every layer."""
    dense = [block for block in trainer.net.children() if isinstance(block, layers.Dense)]
    return [dense[0].n_in, *(block.n_out for block in dense)]


def out_folder(settings: RunSettings) -> Path:
    """Where the results go; ConfigError if there are results already that nobody allowed to replace."""
    if settings.out is None:
        if settings.resume:
            raise ConfigError("--resume needs --out RUN, the folder of the run to go on with")
        stem = Path(settings.source).stem if Path(settings.source).suffix else settings.source
        number = 1
        while (folder := Path("runs") / f"{stem}-{number}").exists():
            number += 1
        return folder
    if settings.resume:
        if not (settings.out / CHECKPOINTS).is_dir():
            raise CheckpointNotFoundError(
                f"{settings.out} holds no checkpoints to resume from; train with --checkpoint-every first"
            )
        return settings.out
    if settings.out.exists() and not settings.out.is_dir():
        raise ConfigError(f"--out {settings.out} is a file; name a folder")
    if settings.out.is_dir() and any(settings.out.iterdir()) and not settings.force:
        raise ConfigError(f"--out {settings.out} is not empty; choose another folder, or allow it with --force")
    return settings.out


def layer_sizes(text: str) -> tuple[int, ...]:
    """The numbers in "128,64"; none for ""."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    for position, part in enumerate(parts):
        if not part.isdecimal() or int(part) < 1:
            raise ConfigError(
                f"--hidden {text!r}: number {position + 1} is {part!r}; expected whole numbers ≥ 1, such as 128,64"
            )
    return tuple(map(int, parts))
