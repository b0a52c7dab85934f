"""The folder of one checkpoint: how it is named, written, read back and checked.

    step-00000200/
      arrays.safetensors     arrays and metadata
      manifest.json          step, and size and SHA-256 of the file beside it: written last, it completes the checkpoint

The same step saved once more is `step-00000200.1`. `.partial-step-…` is a save that was cut short, `.removed-step-…` one
that was being removed; the next save cleans both up.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlpx.errors import CheckpointCorruptError, CheckpointNotFoundError, CheckpointWriteError
from mlpx.store import strict_json
from mlpx.store.array_file import check_format, decode_arrays, read_content
from mlpx.store.durable import open_regular, publish_folder, remove_tree, write_file

FORMAT, FORMAT_VERSION = "mlpx checkpoint", 1
ARRAYS, MANIFEST = "arrays.safetensors", "manifest.json"
MAX_STEP = 10**18 - 1
MAX_MANIFEST = 1 << 16

_FIELDS = {"format", "format_version", "step", "files"}
_NAME = re.compile(r"step-([0-9]{8,18})(?:\.([1-9][0-9]{0,8}))?")
_LEFTOVER = re.compile(r"\.(partial|removed)-step-[0-9]{8,18}(\.[0-9]{1,9})?-[0-9a-f]{16}")


@dataclass(frozen=True)
class Checkpoint:
    """What was saved at a step."""

    step: int
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]


class Entry(NamedTuple):
    """A checkpoint in a listing; ordered as numbers, a later save of the same step after the earlier."""

    step: int
    generation: int
    path: Path


class RemovedMeanwhileError(Exception):
    """The checkpoint was there when listed, and a writer has removed it since."""


class Listing(NamedTuple):
    """What is in a folder of checkpoints."""

    entries: list[Entry]
    partial: list[str]
    removed: list[str]


def listing(folder: Path) -> Listing:
    """Checkpoints in ascending order, and the names of the leftovers of saves cut short and of removals cut short."""
    names = os.listdir(folder)
    matches = [match for match in map(_NAME.fullmatch, names) if match]
    entries = [Entry(int(match[1]), int(match[2] or 0), folder / match[0]) for match in matches]
    leftovers = [match for match in map(_LEFTOVER.fullmatch, names) if match]
    return Listing(
        sorted(entry for entry in entries if entry.path.name == _name(entry.step, entry.generation)),
        [match[0] for match in leftovers if match[1] == "partial"],
        [match[0] for match in leftovers if match[1] == "removed"],
    )


def publish(folder: Path, step: int, data: bytes, entries: Iterable[Entry]) -> Path:
    """Write a new checkpoint under a partial name, compare what the disk holds, and give it its name beside `entries`."""
    generations = [entry.generation for entry in entries if entry.step == step]
    path = folder / _name(step, max(generations, default=-1) + 1)
    partial = folder / f".partial-{path.name}-{secrets.token_hex(8)}"
    digest = hashlib.sha256(data).hexdigest()
    files = {ARRAYS: {"size": len(data), "sha256": digest}}
    record = {"format": FORMAT, "format_version": FORMAT_VERSION, "step": step, "files": files}
    manifest = strict_json.encode(record, "manifest").encode("ascii")
    try:
        os.mkdir(partial)
        write_file(partial / ARRAYS, data)
        write_file(partial / MANIFEST, manifest)
        _compare(partial / ARRAYS, digest)
        _compare(partial / MANIFEST, hashlib.sha256(manifest).hexdigest())
        publish_folder(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            remove_tree(partial)
        raise
    return path


def set_aside(path: Path) -> Path:
    """Take a checkpoint or a partial save out of every reader's and writer's way at once, before it is removed."""
    name = path.name.removeprefix(".partial-")
    token = "" if name != path.name else f"-{secrets.token_hex(8)}"
    aside = path.with_name(f".removed-{name}{token}")
    os.rename(path, aside)
    return aside


def load(entry: Entry) -> Checkpoint:
    """The checkpoint of an entry, checked against its manifest; RemovedMeanwhileError if it is gone."""
    try:
        if entry.path.is_symlink() or not entry.path.is_dir():
            raise CheckpointCorruptError(f"{entry.path}: not a folder of its own; expected a folder, no link")
        expected = _read_manifest(entry)
        source = str(entry.path / ARRAYS)
        with open_regular(source, sole=True) as (file, size):
            if size != expected["size"]:
                raise CheckpointCorruptError(f"{source}: {size} bytes, expected {expected['size']}")
            data = read_content(file, size, source)
        found = hashlib.sha256(data).hexdigest()
        if found != expected["sha256"]:
            raise CheckpointCorruptError(f"{source}: SHA-256 {found}, expected {expected['sha256']}")
    except (CheckpointNotFoundError, CheckpointCorruptError) as error:
        if not os.path.lexists(entry.path):
            raise RemovedMeanwhileError from error
        if isinstance(error, CheckpointCorruptError):
            raise
        raise CheckpointCorruptError(f"{error.filename}: missing, the checkpoint is incomplete") from error
    return Checkpoint(entry.step, *decode_arrays(data, source))


def _name(step: int, generation: int) -> str:
    """The folder name of a checkpoint."""
    return f"step-{step:08d}" + (f".{generation}" if generation else "")


def _compare(path: Path, sha256: str) -> None:
    """Read a file back and raise unless it holds what was to be written."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise CheckpointWriteError(errno.EIO, f"read back with SHA-256 {found}, written with {sha256}", str(path))


def _read_manifest(entry: Entry) -> dict[str, Any]:
    """Size and digest of the array file, from a manifest that names nothing else."""
    path = entry.path / MANIFEST
    with open_regular(path, sole=True) as (file, size):
        if size > MAX_MANIFEST:
            raise CheckpointCorruptError(f"{path}: {size} bytes, at most {MAX_MANIFEST} expected")
        text = file.read(MAX_MANIFEST)
    try:
        record = strict_json.decode(text)
    except ValueError as error:
        raise CheckpointCorruptError(f"{path}: not a manifest: {error}") from error
    check_format(record, FORMAT, FORMAT_VERSION, _FIELDS, str(path))
    if type(record["step"]) is not int or record["step"] != entry.step:
        raise CheckpointCorruptError(f"{path}: of step {record['step']!r:.40}, expected {entry.step}")
    files = record["files"]
    if not isinstance(files, dict) or set(files) != {ARRAYS}:
        raise CheckpointCorruptError(f"{path}: names the files {files!r:.120}, expected {ARRAYS} and no other")
    expected = files[ARRAYS]
    sound = isinstance(expected, dict) and set(expected) == {"size", "sha256"}
    if not sound or type(expected["size"]) is not int or not re.fullmatch("[0-9a-f]{64}", str(expected["sha256"])):
        raise CheckpointCorruptError(f"{path}: {ARRAYS} is described by {expected!r:.120}, expected size and sha256")
    return expected
