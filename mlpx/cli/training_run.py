"""A whole training run: from a source of data to a folder with model, metrics, history and curves."""

from __future__ import annotations

import math
import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

import mlpx
from mlpx import data, layers, losses, optim, transfer
from mlpx.cli import run_folder
from mlpx.cli.curves import draw_curves
from mlpx.cli.train_options import TrainOptions
from mlpx.compositions import Sequential
from mlpx.data import Encoder, Table
from mlpx.data.target_encoding import NumberTarget
from mlpx.errors import ConfigError
from mlpx.losses import Loss
from mlpx.registry import Device
from mlpx.train import EarlyStopping, History, Trainer

PARTS = ("train", "validation", "test")
SHARES = (0.7, 0.1, 0.2)
L2_OF_ONE_ROW = 4.0  # λ = 4 / n: the same prior on the weights however many rows speak against it
HEADLINES = ("accuracy", "r2", "loss")


@dataclass(frozen=True)
class RunResult:
    """What a training run gave: `record` is what `metrics.json` holds, results and where the files are."""

    record: dict[str, Any]

    def show(self) -> None:
        """Print results and places."""
        record = self.record
        table = RichTable(title=Text(f"{record['source']}: {record['network']}"), title_justify="left")
        table.add_column("")
        for name in record["test"]:
            table.add_column(name, justify="right")
        for part in PARTS:
            table.add_row(part, *map(_number, record[part].values()))
        console = Console(soft_wrap=True, emoji=False, markup=False, highlight=False)
        console.print(table)
        console.print(f"device    {record['device']} ({record['dtype']}, precision {record['precision']})")
        console.print(f"training  {record['epochs']} epochs in {record['seconds']:.1f} s; stopped: {record['stopped']}")
        for name, place in record["files"].items():
            console.print(f"{name:9} {place}")
        console.print(f"{headline(record['test'])} on {record['device']}", style="bold")


def train(options: TrainOptions) -> RunResult:
    """Read, split, encode, train, measure, write.

    Raises
    ------
    DataFileError, ConfigError, BackendMissingError, DivergenceError, CheckpointError, ResourceLimitError
        See their texts; nothing has been written before the data and all settings are known to be good.
    """
    folder = run_folder.chosen(options.out, force=options.force, resume=options.resume)
    device = transfer.device(options.device)
    missing = cast("Literal['error', 'drop', 'fill']", options.missing)
    parts, encoder = divided(data.read(options.source, target=options.target, missing=missing), options)
    trainer = make_trainer(options, encoder, device, rows=len(parts["train"]))
    arrays = {name: (encoder.transform(part), encoder.transform_target(part)) for name, part in parts.items()}
    with run_folder.claimed(folder, options.source, resume=options.resume) as place:
        history = fitted(trainer, arrays, options, place)
        history.rows = [in_target_units(row, encoder) for row in history.rows]
        results = {name: in_target_units(trainer.evaluate(*arrays[name]), encoder) for name in PARTS}
        return RunResult(write_results(place, options, trainer, history, results))


def divided(table: Table, options: TrainOptions) -> tuple[dict[str, Table], Encoder]:
    """The rows to train on, to validate on and to test on, and what is learned from the first about the columns."""
    whole = Encoder.fit(table, task=options.task)
    loss = loss_for(whole.task, options)
    labels = whole.transform_target(table) if whole.task == "classification" else None
    rows = data.split(len(table), SHARES, options.seed, labels)
    parts = {name: table.take(chosen) for name, chosen in zip(PARTS, rows, strict=True)}
    encoder = Encoder.fit(
        parts["train"],
        task=whole.task,
        scale_inputs=options.scale,
        scale_target=options.scale and loss.target_kind == "values" and loss.link_name == "identity",
        unseen="zero",  # a category too rare to be among the training rows
    )
    return parts, encoder


def loss_for(task: str, options: TrainOptions) -> Loss:
    """The loss that was asked for, or the usual one; ConfigError if it is for another task."""
    loss = losses.get(options.loss or ("softmax_cross_entropy" if task == "classification" else "half_squared_error"))
    if (loss.target_kind == "labels") != (task == "classification"):
        raise ConfigError(f"--loss {loss.name!r} is not for {task}, which is what the target asks for; see --task")
    return loss


def make_trainer(options: TrainOptions, encoder: Encoder, device: Device, rows: int) -> Trainer:
    """A multilayer perceptron for the encoder's inputs and outputs, and how it is to be trained."""
    blocks: list[layers.Layer] = []
    width = encoder.n_inputs
    for units in options.layer_sizes:
        blocks.append(layers.Dense(width, units, activation=options.activation))
        if options.dropout:
            blocks.append(layers.Dropout(options.dropout))
        width = units
    blocks.append(layers.Dense(width, encoder.n_outputs))
    optimizer: dict[str, Any] = {"name": options.optimizer}
    if options.learning_rate is not None:
        optimizer["learning_rate"] = options.learning_rate
    trainer = Trainer(
        Sequential(*blocks),
        loss=loss_for(encoder.task, options),
        optimizer=optim.get(optimizer),
        device=device,
        dtype=options.dtype,
        precision=options.precision,
        seed=options.seed,
        clip_norm=options.clip_norm,
        l2=L2_OF_ONE_ROW / rows if options.l2 is None else options.l2,
    )
    trainer.extras = {"encoder": encoder.config()}
    return trainer


def fitted(trainer: Trainer, arrays: dict[str, tuple[Any, Any]], options: TrainOptions, folder: Path) -> History:
    """Train; a Ctrl-C that leaves a checkpoint says how to go on."""
    try:
        return trainer.fit(
            *arrays["train"],
            epochs=options.epochs,
            batch_size=min(options.batch_size, len(arrays["train"][1])) or None,
            validation=arrays["validation"],
            callbacks=(EarlyStopping(patience=options.patience),) if options.patience else (),
            progress=options.shows_progress,
            checkpoint=folder / run_folder.CHECKPOINTS if options.checkpointed else None,
            checkpoint_every=options.checkpoint_every,
            resume=options.resume,
        )
    except (KeyboardInterrupt, SystemExit) as signal:
        if options.checkpointed:
            signal.add_note(f"checkpoint in {folder}; the same command with --out {folder} --resume goes on from it")
        raise


def in_target_units(results: dict[str, float], encoder: Encoder) -> dict[str, float]:
    """Results with the mean absolute error in the unit of the target, whose standardised values were trained on."""
    if not isinstance(encoder.target, NumberTarget):
        return results
    scale = encoder.target.scaling.scale
    return {name: value * scale if name.removeprefix("validation_") == "mae" else value for name, value in results.items()}


def write_results(
    folder: Path, options: TrainOptions, trainer: Trainer, history: History, results: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """Write the four files; returns what `metrics.json` holds."""
    files = {"model": run_folder.MODEL, "metrics": run_folder.METRICS, "history": run_folder.HISTORY}
    trainer.save(folder / run_folder.MODEL)
    history.to_csv(folder / run_folder.HISTORY)
    try:
        title = f"{options.source} on {history.device}: {headline(results['test'])}"
        draw_curves(history, folder / run_folder.CURVES, title=title)
        files["curves"] = run_folder.CURVES
    except ConfigError as error:  # a picture less is no reason to lose a training run
        warnings.warn(str(error), stacklevel=2)
    record = {
        "source": options.source,
        "network": "-".join(map(str, _widths(trainer))),
        "parameters": trainer.net.layout.size,
        **results,
        "device": history.device,
        "dtype": history.dtype,
        "precision": history.precision,
        "seed": options.seed,
        "epochs": len(history),
        "stopped": history.stopped,
        "seconds": sum(history["seconds"]),
        "versions": {"mlpx": mlpx.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "files": {name: str(folder / file) for name, file in files.items()},
    }
    return run_folder.write_record(folder, record)


def headline(test: Mapping[str, float | None]) -> str:
    """The one number that says how good the model is, such as "test accuracy 0.9833"."""
    name = next(name for name in HEADLINES if name in test)
    return f"test {name} {_number(test[name])}"


def _widths(trainer: Trainer) -> list[int]:
    """Width of the input and number of units of every layer."""
    dense = [block for block in trainer.net.children() if isinstance(block, layers.Dense)]
    return [dense[0].n_in, *(block.n_out for block in dense)]


def _number(value: float | None) -> str:
    return f"{math.nan if value is None else value:.4f}"
