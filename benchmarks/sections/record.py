"""What a section has found so far, kept in a file so that nothing is lost when the section is stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Record:
    """Facts, failures and a headline of one section; every change is written at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said: dict[str, Any] = {"failures": [], "facts": {}, "headline": "", "skipped": ""}
        self._write()

    @property
    def failures(self) -> list[str]:
        """What was found wrong."""
        return list(self._said["failures"])

    def note(self, **facts: Any) -> None:
        """Keep JSON values under their names."""
        self._said["facts"] |= facts
        self._write()

    def fail(self, what: str) -> None:
        """Something is wrong."""
        self._said["failures"].append(what)
        self._write()

    def check(self, passed: bool, what: str) -> bool:
        """Something is wrong unless `passed`."""
        if not passed:
            self.fail(what)
        return bool(passed)

    @contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """An exception in this block is a failure, and does not end the section."""
        try:
            yield
        except Exception as error:
            self.fail(f"{what}: {type(error).__name__}: {str(error)[:600]}")

    def headline(self, text: str) -> None:
        """What the table says of this section; more lines are shown below it."""
        self._said["headline"] = text
        self._write()

    def skip(self, reason: str) -> None:
        """Nothing could be checked here."""
        self._said["skipped"] = f"skipped: {reason}"
        self._write()

    def _write(self) -> None:
        write_json(self._path, self._said)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
