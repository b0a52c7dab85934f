"""From SOURCE, as a user names it, to a table."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mlpx.data.array_files import read_npy, read_npz
from mlpx.data.builtin_sets import BUILTIN, built
from mlpx.data.csv_file import read_csv
from mlpx.data.options import ReadOptions
from mlpx.data.parquet_file import read_parquet
from mlpx.data.table import Missing, Table
from mlpx.errors import ConfigError, DataFileError, unknown_name

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
ENDINGS = (*TEXT_ENDINGS, ".npz", ".npy", ".parquet")


def read(
    source: str | Path,
    *,
    target: str | None = None,
    missing: Missing = "error",
    delimiter: str | None = None,
    categorical: Collection[str] = (),
    numeric: Collection[str] = (),
    ignore: Collection[str] = (),
) -> Table:
    """Read a source of data as a table.

    Parameters
    ----------
    source : str or Path
        A built-in set (`mlpx.data.BUILTIN`), or a file: `.csv`, `.tsv` or `.txt` (also with `.gz`), whose first line names
        the columns; `.npz` with arrays `x` (n, d) and `y` (n,); two `.npy` files as "x.npy,y.npy", or one without targets;
        `.parquet`. The name of a built-in set wins; write "./digits" for a file of that name.
    target : str, optional
        The column to predict. Built-in sets and array files know theirs.
    missing : {"error", "drop", "fill"}
        What to do about cells without a value: refuse them, leave their rows out, or leave the gap for the Encoder to fill.
        Text files write them as an empty cell, `?`, `NA`, `N/A`, `#N/A`, `NaN`, `nan`, `NULL` or `null`.
    delimiter : str, optional
        Of a text file; a tab for `.tsv`, else a comma.
    categorical, numeric : collections of str
        Columns that hold categories or numbers whatever their cells look like. The other columns of a text file decide by
        their first 1000 cells: more than half words make it categorical, else one word in it is an error.
    ignore : collection of str
        Columns to leave out.

    Returns
    -------
    table : Table

    Raises
    ------
    DataFileError
        If the source cannot be read as a table: names file, line and column, what was found, and what to do.
    ConfigError
        If an option or the kind of file is unknown, or a package is needed and missing.
    ResourceLimitError
        If a file holds more than this machine's free memory.
    """
    options = ReadOptions(target, missing, delimiter, _names(categorical), _names(numeric), _names(ignore))
    return read_as(source, options)


def read_arrays(x: str | Path, y: str | Path | None = None, *, missing: Missing = "error") -> Table:
    """The table of a .npy file of features (n, d) and one of targets (n,), as `read` of "x.npy,y.npy"."""
    return read_npy(x, y, ReadOptions(missing=missing))


def read_as(source: str | Path, options: ReadOptions) -> Table:
    """The table of a source, read as the options say."""
    name = str(source)
    if not name:
        raise ConfigError(f"source is empty: give a file or a built-in set ({', '.join(BUILTIN)})")
    if name in BUILTIN:
        return built(name, 0, None, options)
    low = name.lower()
    if low.endswith(TEXT_ENDINGS):
        return read_csv(source, options)
    if low.endswith(".npz"):
        return read_npz(source, options)
    if low.endswith(".npy"):
        x_path, y_path = _pair(name)
        return read_npy(x_path, y_path, options)
    if low.endswith(".parquet"):
        return read_parquet(source, options)
    path = Path(name)
    if not path.suffix and not path.exists() and path.name == name:
        raise unknown_name("built-in data set", name, BUILTIN)
    if path.is_dir():
        raise DataFileError(f"{name}: is a folder, not a file; give the path of a file")
    raise DataFileError(f"{name}: files ending in {path.suffix!r} are not read (taken: {', '.join(ENDINGS)})")


def _pair(name: str) -> tuple[str, str | None]:
    """The two paths of "x.npy,y.npy"; a single path, which may contain commas, stays whole."""
    at = name.lower().find(".npy,")
    if at < 0:
        return name, None
    return name[: at + 4], name[at + 5 :]


def _names(given: Collection[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
