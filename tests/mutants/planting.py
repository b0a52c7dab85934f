"""Defects as data: what is replaced, where, and which tests are to notice."""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST, RESULT = Path(__file__).with_name("mutants.toml"), Path(__file__).with_name("result.json")
PARTS = ("mlpx", "backends", "tests", "pyproject.toml")


class NotApplicable(Exception):
    """The text that a mutant replaces does not stand exactly once in its file."""


@dataclass(frozen=True)
class Mutant:
    """One defect.

    Attributes
    ----------
    name, kind : str
        What is wrong, in words; and of which sort it is.
    file : str
        Path from the root.
    old, new : str
        Text that stands exactly once in the file, and what it becomes.
    check : tuple of str
        Arguments of pytest: the tests that are to notice.
    survives : str
        Why no test can notice, or "".
    """

    name: str
    kind: str
    file: str
    old: str
    new: str
    check: tuple[str, ...]
    survives: str = ""

    @property
    def digest(self) -> str:
        """Of all that makes the defect: a result belongs to just this one."""
        return hashlib.sha256("\0".join((self.file, self.old, self.new, *self.check)).encode()).hexdigest()[:16]

    def applied(self, text: str) -> str:
        """The text of the file with the defect in it."""
        found = text.count(self.old)
        if found != 1:
            raise NotApplicable(f"{self.name!r}: its text stands {found} times in {self.file}, once is needed: {self.old!r}")
        return text.replace(self.old, self.new)

    def plant(self, tree: Path) -> None:
        """Put the defect into a copy of the project."""
        path = tree / self.file
        path.write_text(self.applied(path.read_text(encoding="utf-8")), encoding="utf-8")


def listed(path: Path = LIST) -> list[Mutant]:
    """All mutants."""
    records = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**record, "check": tuple(record["check"])}) for record in records]


def copy_of_project(target: Path) -> Path:
    """What the tests need, copied."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / part)
    return target
