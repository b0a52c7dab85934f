"""How a source is to be read: which column is what, and what to do about missing values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlpx.data.table import Missing, check_known
from mlpx.errors import ConfigError, unknown_name

Kind = Literal["numeric", "text"]


@dataclass(frozen=True)
class ReadOptions:
    """The options of `read`, checked. With `lenient`, columns named here need not exist: an Encoder compares them later."""

    target: str | None = None
    missing: Missing = "error"
    delimiter: str | None = None
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    lenient: bool = False

    def __post_init__(self) -> None:
        if self.missing not in ("error", "drop", "fill"):
            raise unknown_name("missing=", self.missing, ("error", "drop", "fill"))
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n\0'):
            raise ConfigError(f"delimiter={self.delimiter!r}: expected one character such as ',', ';' or a tab, and no quote")
        both = set(self.categorical) & set(self.numeric)
        if both:
            raise ConfigError(f"column {min(both)!r} is asked for as categorical and as numeric; choose one")
        if self.target is not None and self.target in self.ignore:
            raise ConfigError(f"target column {self.target!r} is to be ignored as well; choose one")

    def kind_of(self, name: str) -> Kind | None:
        """The kind a column was asked to have; None leaves it to its cells."""
        if name in self.categorical:
            return "text"
        return "numeric" if name in self.numeric else None

    def check_columns(self, source: str, names: Sequence[str]) -> None:
        """Raise DataFileError if a column named here is not among the source's."""
        if self.lenient:
            return
        check_known(source, "target", () if self.target is None else (self.target,), names)
        check_known(source, "categorical", self.categorical, names)
        check_known(source, "numeric", self.numeric, names)
        check_known(source, "ignored", self.ignore, names)

    def target_among(self, names: Sequence[str]) -> str | None:
        """The target, if it is one of these columns."""
        return self.target if self.target in names else None

    def ignored_among(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of these columns that are to be left out, in their order."""
        return tuple(name for name in names if name in self.ignore)
