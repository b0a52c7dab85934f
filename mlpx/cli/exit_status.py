"""From an error to a few lines on standard error and an exit status."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

from mlpx import errors

STATUS: tuple[tuple[type[BaseException], int], ...] = (
    (errors.DivergenceError, 1),
    (errors.CheckpointError, 4),
    (errors.DataFileError, 3),
    (errors.InvalidInputError, 3),
    (MemoryError, 5),
    (errors.MlpxError, 2),
    (OSError, 3),
)
FAILED, USAGE, INTERRUPTED, PIPE_CLOSED, TERMINATED = 1, 2, 130, 141, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of this process if not given.

    Returns
    -------
    status : int
        0 done, 1 run failed or diverged, 2 usage or configuration, 3 data, 4 checkpoint, 5 resources, 130 and 143 interrupted
        by SIGINT and SIGTERM, 141 when nobody reads the output any more.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    with _short_warnings():
        try:
            return _run([argument for argument in given if argument != "--debug"])
        except BrokenPipeError:
            _discard_output()
            return PIPE_CLOSED
        except KeyboardInterrupt as signal:
            return _said("interrupted", signal, INTERRUPTED)
        except SystemExit as end:
            if isinstance(end.__context__, BrokenPipeError):  # rich's way to tell of one
                _discard_output()
                return PIPE_CLOSED
            return _said("terminated", end, TERMINATED) if end.code == TERMINATED else int(end.code or 0)
        except Exception as error:
            if debug:
                raise
            return _said("error", error, _status(error))


def _run(given: list[str]) -> int:
    """Parse and run; errors come out as they are, which the library's own runner would not do."""
    import typer  # loaded with the commands: a Ctrl-C meanwhile is caught as any other

    from mlpx.cli.app import app

    usage_error: type[Exception] = typer.BadParameter.__mro__[1]  # click's UsageError, which only some versions of typer export
    command = typer.main.get_command(app)
    try:
        with command.make_context("mlpx", given) as context:
            command.invoke(context)
    except typer.Exit as end:
        status = end.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except usage_error as error:
        asked = getattr(getattr(error, "ctx", None), "command_path", "mlpx")
        _print("error", f"{error.format_message()}")  # type: ignore[attr-defined]
        _print("", f"see {asked} --help")
        return USAGE
    else:
        status = 0
    sys.stdout.flush()  # a closed pipe shows here, not when the interpreter ends
    return status


def _status(error: Exception) -> int:
    return next((status for kind, status in STATUS if isinstance(error, kind)), FAILED)


def _said(kind: str, event: BaseException, status: int) -> int:
    """Print what happened, in one line, and its notes, in another; returns the status."""
    _print(kind, _one_line(event) if isinstance(event, Exception) else "")
    notes = " ".join(getattr(event, "__notes__", ()))
    if notes:
        _print("", notes)
    return status


def _one_line(error: Exception) -> str:
    """The message of an error, fit for somebody who does not read Python."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error)
    if not isinstance(error, errors.MlpxError | OSError):
        text = f"{type(error).__name__}: {text} (--debug shows where)"
    return " ".join(text.split())


def _print(kind: str, text: str) -> None:
    """A line on standard error."""
    from rich.console import Console  # loaded when there is something to say
    from rich.text import Text

    style = "yellow" if kind == "note" else "bold red"
    mark = f"{kind}: " if kind and text else kind
    with contextlib.suppress(BrokenPipeError):
        Console(stderr=True, soft_wrap=True, emoji=False).print(Text.assemble((mark, style), text))


@contextlib.contextmanager
def _short_warnings() -> Iterator[None]:
    """Show warnings as notes, without the place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's on overflow; what comes of it is an error that says more
        warnings.showwarning = lambda message, *_, **__: _print("note", " ".join(str(message).split()))
        yield


def _discard_output() -> None:
    """Let what is still buffered for the closed pipe go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
