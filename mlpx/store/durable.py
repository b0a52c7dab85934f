"""Files that survive a crash: the one place that writes, renames, removes and opens what mlpx stores.

A file or folder gets its name only when all its bytes are on the disk: write, fsync the file, fsync its folder, rename,
fsync the parent. Whatever is cut short before the rename is a leftover under a `.partial` name that no reader looks at.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mlpx.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointNotFoundError,
    CheckpointReadError,
    CheckpointWriteError,
)
from mlpx.store.folder_lock import try_lock, wait_for_lock

_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_RENAMES_OPEN_FILES = os.name != "nt"
_SYNCS_FOLDERS = os.name != "nt"
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextlib.contextmanager
def write_errors(path: os.PathLike[str] | str, doing: str) -> Iterator[None]:
    """Turn the system's errors into CheckpointWriteError with errno, path and what was being done."""
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        number = error.errno or errno.EIO
        raise CheckpointWriteError(number, f"{doing} failed: {os.strerror(number)}", os.fspath(path)) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and wait until its bytes are on the disk."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
    try:
        _fill(fd, data)
    finally:
        os.close(fd)


def replace_file(path: os.PathLike[str] | str, data: bytes, *, overwrite: bool) -> None:
    """Give `path` the content `data`: all of it or, after any failure, none of it.

    A symbolic link is followed. Leftovers of killed writers of the same file are removed first.
    """
    target = Path(os.path.realpath(path))
    with write_errors(path, f"writing {len(data)} bytes"):
        _refuse_target(path, target, overwrite)
        _remove_leftovers(target)
        partial, fd = _new_partial(target)
        try:
            try:
                _fill(fd, data)
                if _RENAMES_OPEN_FILES:  # keeps the lock, which says that this file is no leftover, until it has its name
                    _name(partial, target, overwrite)
            finally:
                os.close(fd)
            if not _RENAMES_OPEN_FILES:
                _name(partial, target, overwrite)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise
        sync_folder(target.parent)


def publish_folder(partial: Path, final: Path) -> None:
    """Give a folder of finished files its final name, on the disk."""
    sync_folder(partial)
    os.rename(partial, final)
    sync_folder(final.parent)


def make_folder(path: Path) -> None:
    """Create a folder and the missing ones above it, on the disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):  # made by another process meanwhile, or a file: found out by its next user
        os.mkdir(path)
    sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a file, a symbolic link (not what it points to) or a folder with its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        os.unlink(path)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    if not _SYNCS_FOLDERS:
        return
    fd = os.open(path, _READ)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(fd)


@contextlib.contextmanager
def open_regular(path: os.PathLike[str] | str, *, sole: bool = False) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file open for reading, and its size; with `sole`, neither a symbolic link nor one of several hard links.

    Never blocks (a FIFO is refused), and reads rather than maps: a file that shrinks meanwhile is an error, not a SIGBUS.
    """
    try:
        fd = os.open(path, _READ | (_FLAGS if sole else 0))
        try:
            found = os.fstat(fd)
            _refuse_kind(path, found, sole)
            with os.fdopen(fd, "rb", closefd=False) as file:
                yield file, found.st_size
        finally:
            os.close(fd)
    except CheckpointError:
        raise
    except OSError as error:
        raise _read_error(path, error) from error


def _read_error(path: os.PathLike[str] | str, error: OSError) -> Exception:
    """The error to show for a system error met while opening or reading."""
    number, name = error.errno or errno.EIO, os.fspath(path)
    if number in (errno.ENOENT, errno.ENOTDIR):
        return CheckpointNotFoundError(errno.ENOENT, "no model file or checkpoint here", name)
    if number == errno.ELOOP:
        return CheckpointCorruptError(f"{name}: is a symbolic link; expected a regular file")
    return CheckpointReadError(number, f"reading failed: {os.strerror(number)}", name)


def _refuse_kind(path: os.PathLike[str] | str, found: os.stat_result, sole: bool) -> None:
    """Raise unless what was opened is a regular file, and with `sole` the only name of it."""
    if stat.S_ISDIR(found.st_mode):
        raise CheckpointNotFoundError(errno.ENOENT, "no model file here, this is a folder", os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointCorruptError(f"{os.fspath(path)}: not a regular file (mode {stat.filemode(found.st_mode)})")
    if sole and found.st_nlink > 1:
        raise CheckpointCorruptError(
            f"{os.fspath(path)}: is a hard link to a file with {found.st_nlink} names; expected its own"
        )


def _fill(fd: int, data: bytes) -> None:
    """Write all of data, however little each call takes, and wait for the disk."""
    rest = memoryview(data)
    while rest:
        written = os.write(fd, rest[: 1 << 30])
        if written == 0:
            raise OSError(errno.EIO, "the system wrote 0 bytes")
        rest = rest[written:]
    os.fsync(fd)


def _refuse_target(path: os.PathLike[str] | str, target: Path, overwrite: bool) -> None:
    """Raise when the name is taken: by a file unless `overwrite`, by anything else always."""
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise CheckpointWriteError(
            errno.EEXIST, "there is something here that is not a regular file; choose another name", os.fspath(path)
        )
    if not overwrite:
        raise CheckpointWriteError(errno.EEXIST, "the file exists; give overwrite=True to replace it", os.fspath(path))


def _new_partial(target: Path) -> tuple[Path, int]:
    """A new locked file beside target."""
    while True:
        partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
        wait_for_lock(fd)
        if os.path.lexists(partial):  # else another writer took it for a leftover in the moment before the lock
            return partial, fd
        os.close(fd)


def _remove_leftovers(target: Path) -> None:
    """Remove what killed writers of target left: partial files that nobody has locked."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.partial")
    for name in os.listdir(target.parent):
        if pattern.fullmatch(name):
            with contextlib.suppress(OSError):
                _remove_unlocked(target.with_name(name))


def _remove_unlocked(partial: Path) -> None:
    """Remove a partial file unless a living writer holds its lock."""
    fd = os.open(partial, _READ | _FLAGS)
    try:
        if try_lock(fd) is True:
            os.unlink(partial)
    finally:
        os.close(fd)


def _name(partial: Path, target: Path, overwrite: bool) -> None:
    """Move partial to target; without `overwrite` never onto a file that came there meanwhile."""
    if overwrite:
        os.replace(partial, target)
        return
    try:
        os.link(partial, target)  # unlike rename, refuses a taken name
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        os.rename(partial, target)
    else:
        os.unlink(partial)
