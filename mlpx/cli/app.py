"""The commands."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

import mlpx
from mlpx.cli.train_options import TrainOptions

EXIT_STATUSES = (
    "Exit status: 0 done, 1 run failed or diverged, 2 usage or configuration, 3 data, 4 checkpoint, 5 resources, "
    "130 and 143 interrupted."
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Options = TypeVar("Options")

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_STATUSES,
)


def options_of(settings: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Decorator: make a function of a dataclass a command that has the dataclass's fields as its options."""
    hints = get_type_hints(settings, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(settings)  # type: ignore[arg-type]
    ]

    def with_options(function: Callable[[Options], None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            function(settings(**given))

        command.__name__, command.__doc__, command.__annotations__ = function.__name__, function.__doc__, hints
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return with_options


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mlpx {mlpx.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Train multilayer perceptrons on NumPy, CuPy, PyTorch or JAX."""
    del version, debug  # acted upon by the callback above, and by main
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command(short_help="Train a network on a built-in set or a file.")
@options_of(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train a network on SOURCE and write model, metrics, history and curves."""
    from mlpx.cli import training_run  # with it comes what training needs

    result = training_run.train(options)
    if options.as_json:
        typer.echo(json.dumps(result.record, allow_nan=False))
    else:
        result.show()


@app.command(short_help="Predict the rows of a file with a trained model.")
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, or a model file.")],
    data: Annotated[str, typer.Argument(help="A file with the columns of training, or a built-in set.")],
    out: Annotated[Path | None, typer.Option(help="CSV file to write; standard output if not given.")] = None,
    device: Annotated[str, typer.Option(help="As in train.")] = "auto",
    missing: Annotated[str, typer.Option(help="Cells without a value: error, drop (their rows) or fill.")] = "error",
    force: Annotated[bool, typer.Option("--force", help="Replace the file --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict the rows of DATA with a trained model; measure it too where DATA has the target."""
    from mlpx.cli import prediction  # with it comes what predicting needs

    if out is not None:
        prediction.check_writable(out, force=force)
    result = prediction.predict(run, data, device=device, missing=missing)
    if out is not None:
        result.write(out)
    if as_json:
        typer.echo(json.dumps(result.record(out), allow_nan=False))
    elif out is None:
        result.to_csv(sys.stdout)
    else:
        typer.echo(f"{len(result)} predictions in {out}{result.measured_text()}")


@app.command(short_help="Show every value of a backward pass.")
def explain(
    subject: Annotated[
        str, typer.Argument(help="sigmoid-graph, perceptron-3-3-2, mazur; or RUN, a training run's folder or model file.")
    ],
    row: Annotated[int, typer.Option(help="Row of the data, counted from 0, to send through RUN.")] = 0,
    data: Annotated[str | None, typer.Option(help="The rows; those RUN was trained on if not given.")] = None,
    device: Annotated[str, typer.Option(help="As in train.")] = "auto",
    check: Annotated[bool, typer.Option(help="Measure every gradient by central differences.")] = True,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the derivation with formulas.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page to step through in a browser.")] = None,
    dot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the graph for Graphviz.")] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the drawing.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show every value of a forward and backward pass with its equation, each gradient beside its central differences."""
    from mlpx.cli import explanation  # loaded when asked

    asked = {"markdown": markdown, "html": html, "dot": dot, "svg": svg}
    files = {form: path for form, path in asked.items() if path is not None}
    result = explanation.explain(subject, files, row=row, data=data, device=device, check=check, force=force)
    if as_json:
        typer.echo(json.dumps(result.record(), allow_nan=False))
    elif files:
        for form, path in files.items():
            typer.echo(f"{form:9} {path}")
    else:
        result.show()


@app.command(short_help="Say what works on this machine, what does not, and the cure.")
def doctor(
    as_json: AsJson = False, quick: Annotated[bool, typer.Option("--quick", help="Skip the first products.")] = False
) -> None:
    """Say which backends and devices work here, which do not, why, and the cure."""
    from mlpx.cli import doctor as examination  # loaded when asked

    report = examination.report(quick=quick)
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        examination.render(report)


@app.command(short_help="Measure how far every backend here is from the definitions.")
def certify(
    device: Annotated[
        list[str] | None, typer.Option(help="A device or backend; repeatable. All of this machine if not given.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all of it to FILE.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="A B", help="Say what changed from file A to file B instead.")
    ] = None,
) -> None:
    """Check that every backend and device computes what the definitions say; exit status 1 if one does not."""
    from mlpx.cli import certificate  # with it come the numeric libraries

    devices = device or ()
    text, passed = certificate.run(devices, json_file) if compare is None else certificate.compared(devices, json_file, compare)
    typer.echo(text)
    raise typer.Exit(0 if passed else 1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False})
def accel(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(help="A Python script that uses scikit-learn's MLP classes; its arguments follow.")],
    device: Annotated[
        str | None, typer.Option(help="Where host data is computed, as in train; where it is if not given.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say what was replaced, not only what was not.")] = False,
) -> None:
    """Run SCRIPT with mlpx's MLPClassifier and MLPRegressor in place of scikit-learn's."""
    from mlpx.cli import accel as takeover  # with it come the numeric libraries

    takeover.run(script, context.args, device=device, verbose=verbose)
