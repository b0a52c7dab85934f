"""The checkpoints of a run: saved so that a crash at any moment costs none, loaded so that damage is never passed on."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlpx.arguments import whole_number
from mlpx.errors import (
    CheckpointBusyError,
    CheckpointCorruptError,
    CheckpointNotFoundError,
    CheckpointReadError,
    ConfigError,
)
from mlpx.store.array_file import Metadata, encode_arrays
from mlpx.store.checkpoint_folder import (
    MAX_STEP,
    Checkpoint,
    Entry,
    Listing,
    RemovedMeanwhileError,
    listing,
    load,
    publish,
    set_aside,
)
from mlpx.store.durable import make_folder, remove_tree, sync_folder, write_errors
from mlpx.store.folder_lock import FolderLock


class Checkpoints:
    """Saves and loads the checkpoints of one run; also a context manager that gives the folder's lock up at its end.

    Each step has its own sub-folder, renamed into place once and never touched again until it is removed. The file `.lock`
    names who is saving. Readers need no lock and may look on while a writer saves.

    Parameters
    ----------
    folder : path
        Made by the first save. If it vanishes later, saving is an error: it is not made twice.
    keep : int or None
        How many checkpoints stay; None for all. Older ones are removed once a newer one has been read back and compared.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with Checkpoints(tempfile.mkdtemp(), keep=2) as checkpoints:
    ...     for step in (100, 200, 300):
    ...         path = checkpoints.save(step, {"parameters": np.full(3, step)}, {"epoch": step // 100})
    ...     checkpoints.steps(), checkpoints.latest().metadata
    ([200, 300], {'epoch': 3})
    """

    def __init__(self, folder: os.PathLike[str] | str, keep: int | None = 3):
        self.folder = Path(os.path.abspath(folder))
        self.keep = None if keep is None else whole_number("keep", keep)
        self._lock: FolderLock | None = None
        self._saving = threading.Lock()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others save into the folder; the next save takes the right again."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def save(self, step: int, arrays: Mapping[str, np.ndarray], metadata: Metadata) -> Path:
        """Store a checkpoint durably and remove those beyond `keep`.

        When this returns, the checkpoint survives a crash of the process or the machine; until then the earlier ones do.
        Failing to remove old ones is a warning, since the new one is safe.

        Parameters
        ----------
        step : int
            Orders the checkpoints, as a number. A step that exists is stored beside its first version, which it supersedes.
        arrays, metadata
            As for `mlpx.store.array_file.write_arrays`.

        Returns
        -------
        pathlib.Path
            The checkpoint's folder.

        Raises
        ------
        CheckpointWriteError
            The system refused, or what was read back differs. `errno` and `filename` say what and where.
        CheckpointBusyError
            Somebody else is saving into this folder.
        ConfigError, InvalidTypeError, InvalidInputError
            The step, an array or a metadata value cannot be stored.
        """
        step = whole_number("step", step, at_least=0)
        if step > MAX_STEP:
            raise ConfigError(f"step={step}: expected at most {MAX_STEP}")
        if not self._saving.acquire(blocking=False):
            raise CheckpointBusyError(errno.EBUSY, "another thread of this process is saving here", str(self.folder))
        try:
            data = encode_arrays(arrays, metadata)
            with write_errors(self.folder, f"saving step {step} ({len(data)} bytes)"):
                self._take_lock()
                self._remove_leftovers()
                path = publish(self.folder, step, data, listing(self.folder).entries)
            self._prune(path)
        finally:
            self._saving.release()
        return path

    def latest(self) -> Checkpoint:
        """The checkpoint of the highest step that is whole; warns if a newer one is damaged.

        Raises
        ------
        CheckpointNotFoundError
            There is none; the message counts the unfinished ones.
        CheckpointCorruptError, CheckpointReadError
            All are damaged; the error is that of the newest.
        CheckpointVersionError
            The newest was written by a newer mlpx.
        """
        while True:
            found = self._listing()
            if not found.entries:
                ignored = f", {len(found.partial)} incomplete ignored" if found.partial else ""
                raise CheckpointNotFoundError(errno.ENOENT, f"no checkpoint in this folder{ignored}", str(self.folder))
            with contextlib.suppress(RemovedMeanwhileError):  # by a writer who has saved a newer one: look again
                return _newest_whole(found.entries)

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of one step.

        Raises
        ------
        CheckpointNotFoundError
            There is none of that step; the message lists those there are.
        CheckpointCorruptError, CheckpointVersionError, CheckpointReadError, ResourceLimitError
            As `latest`, but without falling back to another one.
        """
        entries = self._listing().entries
        found = [entry for entry in entries if entry.step == step]
        if found:
            with contextlib.suppress(RemovedMeanwhileError):
                return load(found[-1])
        steps = ", ".join(str(entry.step) for entry in entries if entry not in found) or "none"
        raise CheckpointNotFoundError(errno.ENOENT, f"no checkpoint of step {step} (there are: {steps})", str(self.folder))

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending; none if there is no folder. Whether they are whole, loading tells."""
        if not os.path.lexists(self.folder):
            return []
        return sorted({entry.step for entry in self._listing().entries})

    def _listing(self) -> Listing:
        """What is in the folder, with a reader's errors."""
        try:
            return listing(self.folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CheckpointNotFoundError(error.errno, "no folder of checkpoints here", str(self.folder)) from error
        except OSError as error:
            text = f"listing the checkpoints failed: {error.strerror}"
            raise CheckpointReadError(error.errno or errno.EIO, text, str(self.folder)) from error

    def _take_lock(self) -> None:
        """Hold the folder's lock: made with the folder at the first save, only checked afterwards."""
        if self._lock is not None and self._lock.held:
            self._lock.check()
            return
        make_folder(self.folder)
        self._lock = FolderLock(self.folder)

    def _remove_leftovers(self) -> None:
        """Remove what earlier saves left; what cannot be removed is in nobody's way."""
        found = listing(self.folder)
        for name in found.partial + found.removed:
            path = self.folder / name
            try:
                # A writer that lives after all, where the file system has no locks, then fails instead of publishing a part.
                remove_tree(set_aside(path) if name in found.partial else path)
            except OSError as error:
                warnings.warn(f"{path}: a leftover of an earlier save cannot be removed: {error}", stacklevel=4)

    def _prune(self, saved: Path) -> None:
        """Remove all but the newest `keep` and the one just saved."""
        if self.keep is None:
            return
        try:
            old = [entry.path for entry in listing(self.folder).entries[: -self.keep] if entry.path != saved]
            aside = [set_aside(path) for path in old]
            if aside:
                sync_folder(self.folder)
            for path in aside:
                remove_tree(path)
        except OSError as error:
            warnings.warn(f"{saved} is saved, but removing older checkpoints failed: {error}", stacklevel=3)


def _newest_whole(entries: list[Entry]) -> Checkpoint:
    """The last of the entries that loads, with a warning about those after it."""
    failures: list[CheckpointCorruptError | CheckpointReadError] = []
    for entry in reversed(entries):
        try:
            found = load(entry)
        except (CheckpointCorruptError, CheckpointReadError) as error:
            failures.append(error)
            continue
        if failures:
            said = "; ".join(str(error) for error in failures)
            warnings.warn(f"fell back to {entry.path}, since newer checkpoints are damaged: {said}", stacklevel=3)
        return found
    for error in failures[1:]:
        failures[0].add_note(f"an older checkpoint is damaged too: {error}")
    raise failures[0]
