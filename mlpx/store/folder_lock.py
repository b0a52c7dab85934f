"""Locks that end with their holder: one process saves into a folder, and a dead one blocks nobody."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import warnings
import weakref
from pathlib import Path

from mlpx.errors import CheckpointBusyError, CheckpointWriteError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK_NAME = ".lock"
_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_HOLDER_BYTES = 200


def try_lock(fd: int) -> bool | None:
    """Whether this open file is now locked by us; None where the file system has no locks."""
    try:
        if fcntl is None:
            _lock_on_windows(fd)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno in _UNSUPPORTED:
            return None
        raise
    return True


def wait_for_lock(fd: int) -> None:
    """Lock an open file that others hold for moments only; where that cannot be done, go on without."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)


def _lock_on_windows(fd: int) -> None:
    """Lock one byte far behind the text, since Windows keeps others from reading what is locked."""
    import msvcrt

    os.lseek(fd, 1 << 30, os.SEEK_SET)
    try:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    finally:
        os.lseek(fd, 0, os.SEEK_SET)


def _close_quietly(fd: int) -> None:
    """Close the lock file; nothing is lost with it, so that a failure matters to nobody."""
    with contextlib.suppress(OSError):
        os.close(fd)


class FolderLock:
    """The sole right to save into a folder, until released, garbage-collected, or the process ends.

    Parameters
    ----------
    folder : Path
        Must exist; a file `.lock` in it names the holder and stays there.

    Raises
    ------
    CheckpointBusyError
        If another process, or another lock in this one, holds it: the message names the holder.
    """

    def __init__(self, folder: Path):
        self.path = folder / LOCK_NAME
        self._fd = os.open(self.path, _FLAGS, 0o666)
        self._close = weakref.finalize(self, _close_quietly, self._fd)
        try:
            self._acquire()
        except BaseException:
            self.release()
            raise
        _held.add(self)

    def _acquire(self) -> None:
        """Lock the file and write into it who holds it."""
        locked = try_lock(self._fd)
        if locked is False:
            raise CheckpointBusyError(errno.EBUSY, f"being saved to by {self._holder()}", str(self.path.parent))
        if locked is None:
            warnings.warn(
                f"{self.path.parent}: this file system has no locks; two processes saving here would not be noticed",
                stacklevel=5,
            )
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"process {os.getpid()} on {platform.node()}".encode()[:_HOLDER_BYTES])

    def _holder(self) -> str:
        """What the holder wrote into the lock file."""
        text = os.read(self._fd, _HOLDER_BYTES).decode("utf-8", "replace")
        own = text.startswith(f"process {os.getpid()} on ")
        return f"{text or 'another process'}{' (this process, through another Checkpoints: close that one)' if own else ''}"

    def check(self) -> None:
        """Raise CheckpointWriteError unless the folder is still the one that was locked."""
        try:
            same = os.path.samestat(os.fstat(self._fd), os.lstat(self.path))
        except FileNotFoundError:
            same = False
        if not same:
            text = "the folder was removed or replaced since the last save; make a new Checkpoints to go on there"
            raise CheckpointWriteError(errno.ENOENT, text, str(self.path.parent))

    def release(self) -> None:
        """Give the right up; a second call does nothing."""
        self._close()

    @property
    def held(self) -> bool:
        """Whether the lock has not been released (nor left behind in a parent process)."""
        return self._close.alive


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _release_in_child() -> None:
    """Close inherited locks, so that a forked worker neither saves nor keeps the folder locked after its parent's death."""
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
