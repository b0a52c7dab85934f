"""Reading Parquet with pyarrow (extra `data`): flat columns of numbers and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlpx.data.assembly import assembled
from mlpx.data.files import check_fits_memory, check_not_a_bomb, file_size, reading
from mlpx.data.options import ReadOptions
from mlpx.data.table import Table, check_names
from mlpx.errors import ConfigError, DataFileError

BYTES_A_CELL = 8


def read_parquet(path: str | Path, options: ReadOptions) -> Table:
    """The table in a Parquet file. Nulls and NaN are missing values; a text "NA" is a text.

    Raises
    ------
    ConfigError
        If pyarrow is not installed: with the command that does.
    DataFileError
        If the file cannot be read, or a column holds something else than numbers, booleans or texts.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(f"{path}: reading Parquet needs pyarrow: pip install 'mlpx[data]'") from error
    source = str(path)
    with reading(path) as file:
        try:
            content = pq.ParquetFile(file)
            names = content.schema_arrow.names
            check_names(source, names)
            claimed = content.metadata.num_rows * len(names) * BYTES_A_CELL
            check_not_a_bomb(source, claimed, file_size(file))
            check_fits_memory(source, claimed)
            content = content.read()
        except DataFileError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataFileError(f"{source}: is damaged or no Parquet file: {error}") from error
    return assembled(source, names, lambda name: _values(pa, source, name, content.column(name)), options)


def _values(pa: Any, source: str, name: str, column: Any) -> np.ndarray:
    """The cells of one column: float64 with NaN, or object with None, where one is missing."""
    kinds = pa.types
    kind = column.type.value_type if kinds.is_dictionary(column.type) else column.type
    try:
        if kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind) or kinds.is_boolean(kind):
            plain = column.cast(kind).cast(pa.int8() if kinds.is_boolean(kind) else kind)
            return np.array(plain.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
        if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
            texts = np.empty(len(column), dtype=object)
            texts[:] = column.to_pylist()
            return texts
    except (pa.ArrowException, ValueError) as error:
        raise DataFileError(f"{source}: column {name!r} cannot be read as {kind}: {error}") from error
    raise DataFileError(
        f"{source}: column {name!r} is of type {column.type}; numbers, booleans and texts are taken, so convert or ignore it"
    )
