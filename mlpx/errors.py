"""Every error mlpx raises on purpose.

Each derives from `MlpxError` and from the built-in a Python user expects. A message names the argument or file, what was
found, what is accepted, and what to do next.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class MlpxError(Exception):
    """Base of every error of this library."""


class InvalidInputError(MlpxError, ValueError):
    """An array has a shape or value that cannot be used."""


class InvalidTypeError(MlpxError, TypeError):
    """An argument is of a type or dtype that cannot be used."""


class ConfigError(MlpxError, ValueError):
    """A setting is unknown or out of range."""


class DeviceMismatchError(MlpxError, ValueError):
    """Arrays of two libraries or two devices meet in one call."""


class BackendMissingError(MlpxError, ImportError):
    """An array library or device was asked for that this machine cannot run."""


class ResourceLimitError(MlpxError, MemoryError):
    """More memory is needed than there is."""


class DivergenceError(MlpxError, ArithmeticError):
    """Training produced a loss or a weight that is not finite."""


class TraceError(MlpxError, TypeError):
    """A function cannot be recorded as a program, because what it does depends on the values of its arrays."""


class DataFileError(MlpxError, ValueError):
    """A data file cannot be read as a table."""


class CheckpointError(MlpxError):
    """Base of the errors about model files and checkpoints."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no model file or checkpoint at the given place."""


class CheckpointCorruptError(CheckpointError, ValueError):
    """A model file or checkpoint is damaged or is not one of ours."""


class CheckpointVersionError(CheckpointError, ValueError):
    """A model file was written by a newer version of mlpx."""


class CheckpointMismatchError(CheckpointError, ValueError):
    """A checkpoint belongs to another network, optimizer or data set."""


class CheckpointWriteError(CheckpointError, OSError):
    """A model file or checkpoint could not be written."""


class CheckpointReadError(CheckpointError, OSError):
    """The system refused to read a model file or checkpoint: no permission, or a failing disk."""


class CheckpointBusyError(CheckpointError, OSError):
    """Another process or thread is saving into the same folder."""


def unknown_name(kind: str, given: object, allowed: Iterable[str]) -> ConfigError:
    """Error for a name that is not registered: given, nearest, allowed."""
    names = sorted(allowed)
    near = get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"unknown {kind} {given!r}{hint} (allowed: {', '.join(names)})")


def unknown_keyword(function: str, given: str, allowed: Iterable[str]) -> InvalidTypeError:
    """Error for a keyword that a function or class does not take: given, nearest, allowed."""
    names = list(allowed)
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InvalidTypeError(f"{function} takes no argument {given!r}{hint} (allowed: {', '.join(names)})")


def checked_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: an unknown keyword raises InvalidTypeError with the nearest name, not Python's bare TypeError."""
    allowed = [name for name in inspect.signature(function).parameters if name != "self"]
    called = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def checked(*args: P.args, **keywords: P.kwargs) -> R:
        for name in keywords:
            if name not in allowed:
                raise unknown_keyword(called, name, allowed)
        return function(*args, **keywords)

    return checked
