"""Reading NumPy's own files: `.npy` pairs and `.npz`, never unpickling, never allocating what a header merely claims."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from mlpx.data.assembly import assembled
from mlpx.data.files import check_fits_memory, check_not_a_bomb, excerpt, file_size, reading
from mlpx.data.options import ReadOptions
from mlpx.data.table import MAX_COLUMNS, Table
from mlpx.errors import DataFileError

FEATURES, TARGET = "x", "y"
MAX_HEADER = 2**16
LAST_CHARACTER = 0x10FFFF
FIRST_SURROGATE = 0xD800
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OSError)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype


def read_npy(x_path: str | Path, y_path: str | Path | None, options: ReadOptions) -> Table:
    """The table of an array of features (n, d) in one .npy file and, if given, an array of targets (n,) in another.

    Its columns are named x0, x1, …, and y.

    Raises
    ------
    DataFileError
        If a file cannot be read, is not of that kind, or holds something else than numbers (labels may be text).
    """
    arrays = {FEATURES: _npy_file(x_path)}
    if y_path is not None:
        arrays[TARGET] = _npy_file(y_path)
    return _table(arrays, str(x_path) if y_path is None else f"{x_path},{y_path}", options)


def read_npz(path: str | Path, options: ReadOptions) -> Table:
    """The table of the arrays `x` (n, d) and, if there, `y` (n,) in an .npz file; other arrays are not looked at.

    Raises
    ------
    DataFileError
        As `read_npy`; and if a member has a name or size that no honest file has.
    """
    with reading(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _table(_npz_arrays(archive, str(path), file_size(file)), str(path), options)
        except DataFileError:
            raise
        except _DAMAGE as error:
            raise DataFileError(f"{path}: is damaged or no .npz file: {error}; write it with numpy.savez") from error


def _npz_arrays(archive: zipfile.ZipFile, source: str, stored: int) -> dict[str, np.ndarray]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if name in members:
            raise DataFileError(f"{source}: holds two members named {excerpt(name)}; write it with numpy.savez")
        if ".." in name or "/" in name or "\\" in name or ":" in name:
            raise DataFileError(f"{source}: member {excerpt(name)} is refused: a name must not be a path")
        if member.flag_bits & 1:
            raise DataFileError(f"{source}: member {excerpt(name)} is encrypted; store it without a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataFileError(f"{source}: member {excerpt(name)} is packed in an unusual way; write it with numpy.savez")
        members[name] = member
    wanted = {array: members[f"{array}.npy"] for array in (FEATURES, TARGET) if f"{array}.npy" in members}
    if FEATURES not in wanted:
        held = ", ".join(sorted(name.removesuffix(".npy") for name in members)[:20]) or "none"
        raise DataFileError(f"{source}: has no array 'x' (arrays: {held}); save it as numpy.savez(path, x=…, y=…)")
    check_not_a_bomb(source, sum(member.file_size for member in wanted.values()), stored)
    arrays = {}
    for array, member in wanted.items():
        with archive.open(member) as stream:
            name = f"{source}, member {member.filename!r}"
            arrays[array] = _array(_Reader(stream, name, member.file_size), name)  # type: ignore[arg-type]
            stream.read(1)  # the end of the member, where its checksum is compared
    return arrays


def _npy_file(path: str | Path) -> np.ndarray:
    with reading(path) as file:
        return _array(_Reader(file, str(path), file_size(file)), str(path))


class _Reader:
    """A stream of known length that answers a short read with an error and counts what is left."""

    def __init__(self, stream: BinaryIO, source: str, size: int):
        self._stream, self._source = stream, source
        self.left = size

    def read(self, count: int = -1) -> bytes:
        """Exactly `count` bytes of a header."""
        if count > MAX_HEADER:
            raise DataFileError(f"{self._source}: claims a header of {count} bytes, at most {MAX_HEADER} are read")
        if count > self.left:
            raise DataFileError(f"{self._source}: ends too early: {count} bytes needed, {self.left} left")
        part = self._stream.read(count)
        self.left -= len(part)
        return part

    def fill(self, array: np.ndarray) -> None:
        """Read the bytes of a C-contiguous array."""
        view = array.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(view):
            part = self._stream.read(min(2**22, len(view) - done))
            if not part:
                raise DataFileError(f"{self._source}: ends too early: {done} of {len(view)} bytes are there; write it again")
            view[done : done + len(part)] = part
            done += len(part)
        self.left -= done


def _array(reader: _Reader, source: str) -> np.ndarray:
    """The array of one .npy stream: its header is checked against the stream's length before anything is allocated."""
    total = reader.left
    header, fortran = _header(reader, source)
    needed = math.prod(header.shape) * header.dtype.itemsize
    if needed != reader.left:
        raise DataFileError(
            f"{source}: its header claims {needed} bytes (shape {header.shape}, {header.dtype}), the file holds {reader.left} "
            f"after the header ({total} in all); it is truncated or damaged"
        )
    check_fits_memory(source, needed)
    order = header.shape[::-1] if fortran else header.shape
    array = np.empty(order, dtype=header.dtype)
    if needed:
        reader.fill(array)
    return array.T if fortran else array


def _header(reader: _Reader, source: str) -> tuple[_Header, bool]:
    magic = reader.read(min(npy.MAGIC_LEN, reader.left))
    if len(magic) < npy.MAGIC_LEN or not magic.startswith(npy.MAGIC_PREFIX):
        raise DataFileError(f"{source}: is not a .npy file, {_what_it_may_be(magic)}; write it with numpy.save")
    version = (magic[-2], magic[-1])
    if version not in _HEADERS:
        raise DataFileError(f"{source}: .npy format {version[0]}.{version[1]} is not read here; plain numbers are saved as 1.0")
    try:
        shape, fortran, dtype = _HEADERS[version](reader)  # type: ignore[arg-type]
    except DataFileError:
        raise
    except Exception as error:  # a hostile header reaches NumPy's parser, which promises no error type
        raise DataFileError(f"{source}: its .npy header cannot be understood: {error}") from error
    if dtype.kind not in "biufU" or dtype.itemsize == 0:
        raise DataFileError(
            f"{source}: dtype {dtype} is refused: arrays of numbers, and labels as text, are taken; "
            "objects are never unpickled. Save it as numpy.save(path, array.astype(float))"
        )
    if len(shape) not in (1, 2) or min(shape) < 0:
        raise DataFileError(f"{source}: shape {shape} is no table: features are (n, d), targets (n,); reshape the array first")
    return _Header(shape, dtype), fortran


def _what_it_may_be(start: bytes) -> str:
    if start.startswith(b"PK"):
        return "it may be an .npz file"
    if start.startswith(b"\x80"):
        return "it may be a pickle, which is never opened"
    if not start:
        return "it is empty"
    return f"it starts with {excerpt(start.decode('latin-1'))}" + (", like text" if start.isascii() else "")


def _table(arrays: dict[str, np.ndarray], source: str, options: ReadOptions) -> Table:
    x, y = arrays[FEATURES], arrays.get(TARGET)
    if x.ndim != 2:
        raise DataFileError(f"{source}: x has shape {x.shape}; features are (n, d): save x.reshape(-1, 1) if it is one feature")
    if x.dtype.kind == "U":
        raise DataFileError(f"{source}: x holds text ({x.dtype}); features in an array file are numbers")
    if x.shape[1] == 0:
        raise DataFileError(f"{source}: x has shape {x.shape}: 0 columns")
    if len(x) == 0:
        raise DataFileError(f"{source}: x has shape {x.shape}: no rows")
    if not 0 < x.shape[1] <= MAX_COLUMNS:
        raise DataFileError(f"{source}: x has shape {x.shape}: {x.shape[1]} columns; 1 to {MAX_COLUMNS} are taken")
    columns = {f"x{number}": column for number, column in enumerate(_numbers(x.T))}  # each one contiguous
    if y is not None:
        columns[TARGET] = _targets(y, len(x), source)
    return assembled(source, tuple(columns), columns.__getitem__, options, TARGET)


def _targets(y: np.ndarray, rows: int, source: str) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataFileError(f"{source}: y has shape {y.shape}; targets are (n,): one label or number a row")
    if len(y) != rows:
        raise DataFileError(f"{source}: x has {rows} rows, y has {len(y)}; they must be of the same rows")
    if y.dtype.kind != "U":
        return _numbers(y)
    characters = np.ascontiguousarray(y, dtype=y.dtype.newbyteorder("=")).view(np.uint32)
    if (characters > LAST_CHARACTER).any() or ((characters & ~np.uint32(0x7FF)) == FIRST_SURROGATE).any():
        raise DataFileError(f"{source}: y holds text that is not Unicode; the file is damaged")  # NumPy would fail on it
    return y.astype(object)


def _numbers(array: np.ndarray) -> np.ndarray:
    """A float64 copy; what overflows (of wider dtypes) becomes infinite and is refused with its row later."""
    with np.errstate(over="ignore"):
        return np.array(array, dtype=np.float64, order="C")
