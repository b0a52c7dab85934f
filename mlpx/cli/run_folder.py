"""Where a training run writes, and what: model, metrics, history, curves."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlpx.errors import CheckpointNotFoundError, ConfigError
from mlpx.store.durable import remove_tree, replace_file

MODEL, METRICS, HISTORY, CURVES = "model.safetensors", "metrics.json", "history.csv", "curves.png"
CHECKPOINTS = "checkpoints"


def chosen(out: Path | None, *, force: bool, resume: bool) -> Path | None:
    """The folder that was asked for, checked but untouched; None where a new one is to be found.

    Raises
    ------
    ConfigError
        If it is a file, or has results already that nobody allowed to replace.
    CheckpointNotFoundError
        If a run is to be resumed and it has no checkpoints.
    """
    if out is None:
        return None
    if resume:
        if not (out / CHECKPOINTS).is_dir():
            raise CheckpointNotFoundError(
                f"{out} holds no checkpoints to resume from; train with --out {out} --checkpoint-every STEPS first"
            )
        return out
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise ConfigError(f"--out {out} is not empty; choose another folder, or allow it with --force")
    return out


@contextlib.contextmanager
def claimed(folder: Path | None, source: str, *, resume: bool) -> Iterator[Path]:
    """The run's folder, made before training so that nobody trains for results that cannot be written.

    A folder made here that is still empty when something fails is removed again. Checkpoints of an earlier run are removed
    unless this run goes on from them.
    """
    try:
        made = _new_folder(source) if folder is None else _existing_or_made(folder)
        old = None if folder is None else folder / CHECKPOINTS
        if old is not None and not resume and old.exists():
            remove_tree(old)
    except OSError as error:
        raise ConfigError(f"--out {error.filename or folder}: cannot be written: {error.strerror}") from error
    place = made[-1] if made else folder
    assert place is not None  # one of the two branches above found it
    try:
        yield place
    except BaseException:
        for empty in reversed(made):
            with contextlib.suppress(OSError):
                empty.rmdir()
        raise


def write_record(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Write `metrics.json`, last of all files; returns what it holds: NaN and infinity, which JSON lacks, become null."""
    plain = json_values(record)
    replace_file(folder / METRICS, (json.dumps(plain, indent=2, allow_nan=False) + "\n").encode(), overwrite=True)
    return plain


def json_values(value: Any) -> Any:
    """The same, with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {name: json_values(part) for name, part in value.items()}
    if isinstance(value, list):
        return [json_values(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _new_folder(source: str) -> list[Path]:
    """Make runs/SOURCE-N with the first free N; the folders made, outermost first."""
    made = _existing_or_made(Path("runs"))
    stem = Path(source).name.split(".")[0] or "run"
    number = 1
    while True:
        folder = Path("runs") / f"{stem}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return [*made, folder]


def _existing_or_made(folder: Path) -> list[Path]:
    """Make a folder and those above it where they are missing; the folders made, outermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
    if not missing:
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    return missing[::-1]
