"""`mlpx explain`: every value of a backward pass, as a table, JSON, Markdown, a page, or a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mlpx.cli import run_folder
from mlpx.data import Encoder
from mlpx.errors import CheckpointMismatchError, CheckpointWriteError, ConfigError, DataFileError
from mlpx.explain import Graph, Trace, graph_picture, mazur, perceptron_3_3_2, sigmoid_graph, trace
from mlpx.explain.markdown import graph_markdown
from mlpx.explain.scenes import graph_scene
from mlpx.explain.table import graph_table
from mlpx.store.durable import replace_file
from mlpx.train import inputs, load

WIDE = 160  # columns from which the table has equations and measured slopes
LESSONS: dict[str, Callable[[], Graph | Trace]] = {
    "sigmoid-graph": sigmoid_graph,
    "perceptron-3-3-2": perceptron_3_3_2,
    "mazur": mazur,
}


@dataclass(frozen=True)
class Explanation:
    """A trace or a computational graph, and all that can be made of it."""

    subject: Graph | Trace

    def show(self) -> None:
        """Print the table."""
        console = Console(emoji=False, markup=False, highlight=False)
        if not console.is_terminal:
            console.width = WIDE  # a pipe or a file has no edge
        if isinstance(self.subject, Trace):
            console.print(self.subject.table(wide=console.width >= WIDE))
        else:
            console.print(graph_table(self.subject))

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return run_folder.json_values(self.subject.to_dict())

    def text(self, form: str) -> str:
        """The text of a file: "markdown", "html", "dot" or "svg"."""
        if isinstance(self.subject, Trace):
            made = {name: getattr(self.subject, f"to_{name}") for name in ("markdown", "html", "dot", "svg")}
        else:
            graph = self.subject
            made = {
                "markdown": lambda: graph_markdown(graph),
                "html": lambda: graph_scene(graph).to_html(),
                "dot": lambda: graph_picture(graph).to_dot(),
                "svg": lambda: graph_picture(graph).to_svg(),
            }
        return made[form]()


def explain(
    subject: str, files: dict[str, Path], *, row: int, data: str | None, device: str, check: bool, force: bool
) -> Explanation:
    """Explain a lesson, or a trained model on one row, and write the files asked for.

    Raises
    ------
    ConfigError
        If the row does not exist, the data are not known, or a file may not be written.
    CheckpointError, DataFileError
        If the model or the data cannot be used.
    """
    for form, path in files.items():
        _check_writable(form, path, force=force)
    made = Explanation(LESSONS[subject]() if subject in LESSONS else _trace_of_run(subject, row, data, device, check=check))
    for form, path in files.items():
        try:
            replace_file(path, made.text(form).encode(), overwrite=True)
        except CheckpointWriteError as error:
            raise ConfigError(f"--{form} {path} cannot be written: {error.strerror}") from error
    return made


def _trace_of_run(subject: str, row: int, data: str | None, device: str, *, check: bool) -> Trace:
    """One row through a trained model and back."""
    run = Path(subject)
    if not run.exists():
        raise ConfigError(
            f"{subject!r} is neither a lesson ({', '.join(LESSONS)}) nor the folder or model file of a training run"
        )
    model = load(run, device)
    if "encoder" not in model.extras:
        raise CheckpointMismatchError(f"{run} was not written by `mlpx train`: it does not say how columns become inputs")
    encoder = Encoder.from_config(model.extras["encoder"])
    source = _source_of(run) if data is None else data
    table = encoder.read(source, missing="fill")
    if encoder.target.name not in table.names:
        raise DataFileError(f"{source}: has no column {encoder.target.name!r}; a backward pass needs the target of the row")
    if not 0 <= row < len(table):
        raise ConfigError(f"--row {row}: {source} has the rows 0 to {len(table) - 1}")
    chosen = table.take(np.asarray([row]))
    x: Any = encoder.transform(chosen)
    prepared = model.prepared(x)
    n_outputs = model.net.output_shape(tuple(prepared.shape))[-1]
    targets = inputs.targets(encoder.transform_target(chosen), x, model.loss, n_outputs, model.device, model.dtype)
    made = trace(model.net, model.params, prepared, targets, model.loss, check=check)
    return replace(made, title=f"{run}: row {row} of {source}, {_said(encoder, made)}")


def _said(encoder: Encoder, made: Trace) -> str:
    """What the model predicts of the row, and what is true."""
    if encoder.task == "regression":
        predicted, true = (float(encoder.inverse_target(values)[0]) for values in (made.prediction, made.targets))
        return f"{encoder.target.name} {true:.6g}, predicted {predicted:.6g}"
    best = int(np.argmax(made.prediction[0]))
    true_name, name = encoder.class_names[int(made.targets.ravel()[0])], encoder.class_names[best]
    return f"class {true_name}, predicted {name} (probability {float(made.prediction[0, best]):.3f})"


def _source_of(run: Path) -> str:
    """The data a run was trained on, as its metrics say."""
    folder = run if run.is_dir() else run.parent
    try:
        return str(json.loads((folder / run_folder.METRICS).read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder / run_folder.METRICS} does not say what {run} was trained on: add --data SOURCE") from error


def _check_writable(form: str, path: Path, *, force: bool) -> None:
    """Raise ConfigError, before any work is done, if a file may not be replaced or there is no folder for it."""
    if path.is_dir():
        raise ConfigError(f"--{form} {path} is a folder; name a file")
    if path.exists() and not force:
        raise ConfigError(f"--{form} {path} exists; choose another file, or allow it with --force")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--{form} {path}: there is no folder {path.parent}")
