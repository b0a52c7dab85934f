"""Opening a data file that really is a file, never more of it than memory holds, and noticing when it changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mlpx.errors import DataFileError, ResourceLimitError
from mlpx.machine import host_memory

BOMB_FLOOR = 64 * 2**20
BOMB_RATIO = 200

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO (named pipe)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def reading(path: str | Path) -> Iterator[BinaryIO]:
    """A regular file, opened for reading in binary.

    Opening never blocks. What is read stays right or is refused: the file is read, not mapped, and its size and time of
    change are compared when the block ends.

    Raises
    ------
    DataFileError
        If there is no such file, it is no regular file, may not be read, or was changed while it was read.
    """
    with _open_regular(path) as file:
        before = os.fstat(file.fileno())
        try:
            yield file
        except DataFileError as error:
            _check_unchanged(path, before, file, error)
            raise
        except OSError as error:
            raise DataFileError(f"{path}: cannot be read: {error.strerror or error}") from error
        _check_unchanged(path, before, file, None)


def file_size(file: BinaryIO) -> int:
    """Bytes in an open file."""
    return os.fstat(file.fileno()).st_size


def check_fits_memory(source: str, needed: int) -> None:
    """Raise ResourceLimitError, before anything is allocated, if a file holds more than this machine's memory."""
    memory = host_memory()
    if memory is not None and needed > memory.free:
        raise ResourceLimitError(
            f"{source}: holds {needed / 2**30:.1f} GiB, {memory.free / 2**30:.1f} GiB of memory are free; "
            "cut the file into smaller ones"
        )


def check_not_a_bomb(source: str, claimed: int, stored: int) -> None:
    """Raise DataFileError if a compressed file claims far more than its size can honestly hold."""
    if claimed > BOMB_FLOOR and claimed > BOMB_RATIO * stored:
        raise DataFileError(
            f"{source}: {stored} bytes claim to hold {claimed}: more than {BOMB_RATIO} times their size is refused; "
            "store the data without compression if this is no mistake"
        )


def excerpt(text: str, limit: int = 40) -> str:
    """A quoted piece of a file for a message, never long."""
    return repr(text if len(text) <= limit else text[:limit] + "…")


def _open_regular(path: str | Path) -> BinaryIO:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        _check_regular(path, os.stat(path).st_mode)
        descriptor = os.open(path, flags)
    except DataFileError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataFileError(f"{path}: cannot be read: {reason}; give the path of a file that you may read") from error
    file = os.fdopen(descriptor, "rb")
    try:  # between the look at the name and the opening, another file may have taken the name
        _check_regular(path, os.fstat(descriptor).st_mode)
    except DataFileError:
        file.close()
        raise
    return file


def _check_regular(path: str | Path, mode: int) -> None:
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise DataFileError(f"{path}: is {name}, not a file; give the path of a file")


def _check_unchanged(path: str | Path, before: os.stat_result, file: BinaryIO, cause: Exception | None) -> None:
    now = os.fstat(file.fileno())
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise DataFileError(
            f"{path}: was changed while it was read: {before.st_size} bytes at the start, {now.st_size} now; "
            "read it again when its writer is done"
        ) from cause
