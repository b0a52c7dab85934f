"""The commands and their options."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train multilayer perceptrons on NumPy, CuPy, PyTorch or JAX.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train multilayer perceptrons on NumPy, CuPy, PyTorch or JAX."""


@app.command()
def train(
    source: Annotated[
        str, typer.Argument(help="digits, iris, wine, breast_cancer, diabetes, moons, spirals, friedman1, or a file.")
    ],
    target: Annotated[str | None, typer.Option(help="Column to predict.")] = None,
    task: Annotated[str | None, typer.Option(help="classification or regression; else told by the target.")] = None,
    hidden: Annotated[str, typer.Option(help="Units of the hidden layers.")] = "128,64",
    activation: Annotated[str, typer.Option(help="Activation of the hidden layers.")] = "relu",
    dropout: Annotated[float, typer.Option(help="Dropout rate behind every hidden layer.")] = 0.0,
    loss: Annotated[str | None, typer.Option(help="Loss; softmax_cross_entropy for classes, else half_squared_error.")] = None,
    optimizer: Annotated[str, typer.Option(help="adam, adamw, sgd, rmsprop or lbfgs.")] = "adam",
    learning_rate: Annotated[float | None, typer.Option(help="The optimizer's own default if not given.")] = None,
    l2: Annotated[float | None, typer.Option(help="λ of the structural risk ½λ‖W‖²; 4 / training rows if not given.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training rows, at most.")] = 100,
    batch_size: Annotated[int, typer.Option(help="Rows of a step; 0 is batch gradient descent.")] = 32,
    patience: Annotated[int, typer.Option(help="Epochs without a better validation loss before stopping; 0 never stops.")] = 15,
    device: Annotated[str, typer.Option(help="auto, numpy, cupy:0, torch:cpu, jax:cpu, …")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    precision: Annotated[str, typer.Option(help="ieee, tf32, bf16 or fp16.")] = "ieee",
    seed: Annotated[int, typer.Option(help="Of the split, first weights, row order and dropout.")] = 0,
    missing: Annotated[str, typer.Option(help="Cells without a value: error, drop (their rows) or fill.")] = "error",
    scale: Annotated[bool, typer.Option(help="Standardise inputs, and a regression's target.")] = True,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; runs/SOURCE-N if not given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that has results already.")] = False,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    progress: Annotated[bool | None, typer.Option(help="Live bar; shown on a terminal if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network on SOURCE and write model, metrics, history and curves."""
    from mlpx.cli import training_run  # with it come the numeric libraries

    settings = training_run.RunSettings(
        source=source,
        target=target,
        task=task,
        hidden=training_run.layer_sizes(hidden),
        activation=activation,
        dropout=dropout,
        loss=loss,
        optimizer=optimizer,
        learning_rate=learning_rate,
        l2=l2,
        epochs=epochs,
        batch_size=batch_size,
        patience=patience,
        device=device,
        dtype=dtype,
        precision=precision,
        seed=seed,
        missing=missing,
        scale=scale,
        out=out,
        force=force,
        checkpoint_every=checkpoint_every,
        resume=resume,
        progress=False if as_json and progress is None else progress,
    )
    result = training_run.train(settings)
    if as_json:
        typer.echo(json.dumps(result.record))
    else:
        result.show()


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, or a model file.")],
    data: Annotated[str, typer.Argument(help="A file with the columns of training, or a built-in set.")],
    out: Annotated[Path | None, typer.Option(help="CSV file to write; standard output if not given.")] = None,
    device: Annotated[str, typer.Option(help="As in train.")] = "auto",
    missing: Annotated[str, typer.Option(help="As in train.")] = "error",
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict the rows of DATA with a trained model; measure it too where DATA has the target."""
    from mlpx.cli import prediction  # with it come the numeric libraries

    result = prediction.predict(run, data, device=device, missing=missing)
    if out is not None:
        result.write(out, force=force)
    if as_json:
        typer.echo(json.dumps(result.record(out)))
    elif out is None:
        result.to_csv(sys.stdout)
    else:
        typer.echo(f"{len(result)} predictions in {out}" + result.measured_text())


@app.command()
def doctor(
    as_json: AsJson = False, quick: Annotated[bool, typer.Option("--quick", help="Skip the first products.")] = False
) -> None:
    """Say which backends and devices work here, which do not, why, and the cure."""
    from mlpx.cli import doctor as examination  # with it come the numeric libraries

    report = examination.report(quick=quick)
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        examination.render(report)
