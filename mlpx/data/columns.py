"""What the cells of a text file's column mean: numbers, or texts.

The first 1000 cells that hold something decide (fewer where a table has more than 10,000 columns). If more than half of
them are words, the column holds texts. Otherwise it holds numbers, and one cell that is no number is an error, not a
reason to change one's mind. `read` can be told the kind of a column instead.

A number is a plain decimal number in ASCII digits: `12`, `-0.5`, `.5`, `6.02e23`. What Python's `float` would take
beyond that (`inf`, `1_000`, other scripts' digits) and what looks like a decimal or thousands comma (`1,5`) counts as a
number when the kind is decided and is then refused. Empty cells, `?`, `NA` and their like hold no value. In a target
column of texts `NA` and its like are classes; only an empty cell or `?` is missing there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mlpx.data.files import excerpt
from mlpx.data.options import Kind
from mlpx.errors import DataFileError

MISSING = frozenset({"", "?", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null"})
MISSING_LABEL = frozenset({"", "?"})
BLANK = " \t"

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)+(?:[eE][+-]?[0-9]+)?")


class ColumnReader:
    """One column of a text file, built from chunks of cells.

    Parameters
    ----------
    source, name : str
        File and column, for messages.
    kind : {"numeric", "text"} or None
        None lets the cells decide.
    is_target : bool
        Whether texts are class labels, among which "NA" may be one.
    voters : int
        How many cells decide.
    """

    def __init__(self, source: str, name: str, kind: Kind | None, *, is_target: bool, voters: int):
        self._source, self._name, self._kind = source, name, kind
        self._no_text = MISSING_LABEL if is_target else MISSING
        self._voters = voters
        self._seen = 0
        self._waiting: list[str] = []
        self._waiting_lines: list[int] = []
        self._known: dict[str, str] = {}
        self._parts: list[np.ndarray] = []

    def add(self, cells: Sequence[str], lines: Sequence[int]) -> None:
        """Take the cells of some more rows, which start at the given lines."""
        if self._kind is not None:
            self._convert(cells, lines)
            return
        self._waiting += cells
        self._waiting_lines += lines
        self._seen += sum(cell not in MISSING for cell in cells)
        if self._seen >= self._voters:
            self._decide()

    def finish(self) -> np.ndarray:
        """All values: float64 with NaN, or object with None, where one is missing."""
        if self._kind is None:
            self._decide()
        kind = np.float64 if self._kind == "numeric" else object
        return np.concatenate(self._parts) if self._parts else np.empty(0, dtype=kind)

    def _decide(self) -> None:
        cells = [text for cell in self._waiting if (text := cell.strip(BLANK)) not in MISSING][: self._voters]
        words = sum(_is_word(cell) for cell in cells)
        self._kind = "text" if 2 * words > len(cells) else "numeric"
        self._convert(self._waiting, self._waiting_lines)
        self._waiting, self._waiting_lines = [], []

    def _convert(self, cells: Sequence[str], lines: Sequence[int]) -> None:
        self._parts.append(self._texts(cells) if self._kind == "text" else self._numbers(cells, lines))

    def _texts(self, cells: Sequence[str]) -> np.ndarray:
        texts = np.empty(len(cells), dtype=object)
        known, no_text = self._known, self._no_text
        stripped = (cell.strip(BLANK) for cell in cells)
        texts[:] = [None if cell in no_text else known.setdefault(cell, cell) for cell in stripped]
        return texts

    def _numbers(self, cells: Sequence[str], lines: Sequence[int]) -> np.ndarray:
        values = _all_plain(cells)
        if values is None:
            values = np.array([self._number(cell, line) for cell, line in zip(cells, lines, strict=True)], dtype=np.float64)
        infinite = np.isinf(values)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise self._refused(cells[row], lines[row], "is beyond the range of float64")
        return values

    def _number(self, cell: str, line: int) -> float:
        text = cell.strip(BLANK)
        if _NUMBER.fullmatch(text):
            return float(text)
        if text in MISSING:
            return np.nan
        raise self._refused(text, line, _objection(text))

    def _refused(self, text: str, line: int, objection: str) -> DataFileError:
        return DataFileError(f"{self._source}, line {line}, column {self._name!r}: {excerpt(text)} {objection}")


def is_number(text: str) -> bool:
    """Whether a cell is a plain decimal number."""
    return _NUMBER.fullmatch(text) is not None


def _all_plain(cells: Sequence[str]) -> np.ndarray | None:
    """The values, fast, if every cell is a plain number, but for white space around it.

    What `float` takes beyond plain numbers has an underscore, an n (nan, inf, infinity), or a digit that is not ASCII.
    """
    joined = "".join(cells)
    if not joined.isascii() or any(character in joined for character in "_nN"):
        return None
    try:
        return np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
    except ValueError:
        return None


def _is_word(text: str) -> bool:
    return not (is_number(text) or _has_comma(text) or _python_takes(text))


def _has_comma(text: str) -> bool:
    return "," in text and _COMMA_NUMBER.fullmatch(text) is not None


def _python_takes(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _objection(text: str) -> str:
    if _has_comma(text):
        return "has a comma where a decimal point is expected, or separated thousands; write 1234.5"
    if _python_takes(text):
        return "is not a plain decimal number in ASCII digits and finite; write it like 1000 or 1e3"
    return (
        "is text in a column of numbers; correct it, leave the cell empty if the value is missing, "
        "or name the column as categorical"
    )
