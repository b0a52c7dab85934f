"""From an error to a few lines on standard error and an exit status."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

import click
from rich.console import Console

from mlpx import errors

STATUS = (
    (errors.DivergenceError, 1),
    (errors.ResourceLimitError, 5),
    (errors.CheckpointError, 4),
    (errors.DataFileError, 3),
    (errors.InvalidInputError, 3),
    (errors.MlpxError, 2),
)
INTERRUPTED = 130
PIPE_CLOSED = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status.

    Returns
    -------
    status : int
        0 done, 1 run failed or diverged, 2 usage or configuration, 3 data, 4 checkpoint, 5 resources, 130 and 143 signals.
    """
    from mlpx.cli.app import app  # after the functions that report its errors

    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    said = Console(stderr=True, soft_wrap=True)
    warnings.showwarning = lambda message, *_, **__: said.print(f"[yellow]note:[/] {message}", highlight=False)
    try:
        status = app(given, prog_name="mlpx", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        said.print("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except errors.MlpxError as error:
        if debug:
            raise
        said.print(f"[bold red]error:[/] {_one_line(error)}", highlight=False, markup=True)
        return next(status for kind, status in STATUS if isinstance(error, kind))
    except OSError as error:
        if debug:
            raise
        said.print(f"[bold red]error:[/] {_one_line(error)}", highlight=False)
        return 3
    return int(status or 0)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).replace("[", r"\[")
