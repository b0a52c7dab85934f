"""One file of named arrays and metadata: safetensors, with what it leaves out — a digest, exact layouts, durable writes.

The header's `__metadata__` has one key, `mlpx`: JSON text of the format's name and version, the caller's metadata, and the
SHA-256 of everything. Reading checks the claimed sizes against the file before anything is allocated, never maps the file,
and never looks at a format that can carry code.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeAlias

import numpy as np
import safetensors
import safetensors.numpy

from mlpx.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    CheckpointVersionError,
    ConfigError,
    InvalidTypeError,
    ResourceLimitError,
)
from mlpx.machine import host_memory
from mlpx.store import strict_json
from mlpx.store.durable import open_regular, replace_file

FORMAT, FORMAT_VERSION = "mlpx", 1
MAX_HEADER = 2 << 20  # bytes: names of 20 thousand arrays, while a JSON bomb of this size is refused in a second
MAX_NAME = 256

Metadata: TypeAlias = Mapping[str, Any]

_KEY = "mlpx"
_FIELDS = {"format", "format_version", "sha256", "metadata"}
_DTYPES = {
    code: np.dtype(name)
    for code, name in {
        "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
        "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64",
    }.items()
}  # fmt: skip
_FOREIGN_NAMES = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".bin"), "PyTorch"),
    **dict.fromkeys((".pkl", ".pickle", ".p"), "pickle"),
    **dict.fromkeys((".joblib", ".jbl"), "joblib"),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), "Keras or HDF5"),
    **dict.fromkeys((".npy", ".npz"), "NumPy"),
    **dict.fromkeys((".zip", ".tar", ".gz"), "archive"),
}
_FOREIGN_STARTS = {b"\x80": "a pickle", b"PK": "a zip archive (PyTorch, Keras, npz)", b"\x89HDF": "HDF5", b"\x93NUMPY": "npy"}


def write_arrays(
    path: os.PathLike[str] | str, arrays: Mapping[str, np.ndarray], metadata: Metadata, *, overwrite: bool = False
) -> None:
    """Write named arrays and metadata to one file, which then is on the disk whole, or not there at all.

    Parameters
    ----------
    path : path
        Usually `*.safetensors`. Its folder must exist. A symbolic link is followed.
    arrays : mapping of str to numpy.ndarray
        Any memory layout and byte order; bool, integers, float16, float32, float64. Names: 1 to 256 printable characters,
        no `/` or backslash.
    metadata : mapping of str to JSON
        Finite numbers, strings, booleans, None, and lists and str-keyed dicts of them.
    overwrite : bool
        Whether a file of this name may be replaced.

    Raises
    ------
    CheckpointWriteError
        The system refused (full disk, no permission, …: `errno` and `filename` say what), or the file exists.
    ConfigError
        A name cannot be used (for an array; or for the file, such as `.pt`), or names and metadata exceed 2 MiB.
    InvalidTypeError, InvalidInputError
        An array's dtype or a metadata value cannot be stored.
    """
    kind = _FOREIGN_NAMES.get(Path(path).suffix.lower())
    if kind is not None:
        raise ConfigError(f"{os.fspath(path)}: this is how {kind} files are named, and reading refuses them; use .safetensors")
    replace_file(path, encode_arrays(arrays, metadata), overwrite=overwrite)


def read_arrays(path: os.PathLike[str] | str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays, sorted by name, and metadata of a file that `write_arrays` wrote.

    The arrays are C-ordered, of native byte order, writable, and own their memory.

    Raises
    ------
    CheckpointNotFoundError
        No file there.
    CheckpointCorruptError
        Damaged, not ours, or of a format that is refused by name (pickle, .pt, .h5, npz, …) and never opened.
    CheckpointVersionError
        Written by a newer mlpx.
    CheckpointMismatchError
        An array is of a dtype that NumPy lacks (BF16, FP8).
    CheckpointReadError
        The system refused to read.
    ResourceLimitError
        More memory is needed than is free.
    """
    kind = _FOREIGN_NAMES.get(Path(path).suffix.lower())
    if kind is not None:
        if not os.path.lexists(path):
            raise CheckpointNotFoundError(errno.ENOENT, "no model file or checkpoint here", os.fspath(path))
        raise CheckpointCorruptError(
            f"{os.fspath(path)}: {kind} files may carry code and are not opened; expected .safetensors"
        )
    with open_regular(path) as (file, size):
        data = read_content(file, size, os.fspath(path))
    return decode_arrays(data, os.fspath(path))


def encode_arrays(arrays: Mapping[str, np.ndarray], metadata: Metadata) -> bytes:
    """The bytes of the file that `write_arrays` writes: the same arrays and metadata always give the same bytes."""
    copies = {name: _plain_copy(name, arrays[name]) for name in sorted(arrays, key=_checked_name)}
    content = dict(metadata)
    strict_json.encode(content, "metadata")
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sha256": _digest(copies, content),
        "metadata": content,
    }
    data = _library(safetensors.numpy.save, copies, metadata={_KEY: strict_json.encode(record, "record")})
    header = int.from_bytes(data[:8], "little")
    if header > MAX_HEADER:
        raise ConfigError(f"names and metadata take {header} bytes, at most {MAX_HEADER} fit: store long tables as arrays")
    return data


def decode_arrays(data: bytes, source: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of a file's bytes; `source` is what errors call the file."""
    header = _checked_header(data, len(data), source)
    record = _checked_record(header, source)
    try:
        parts = _library(safetensors.deserialize, data)
        arrays = {}
        while parts:  # give each part's memory back once it is copied
            name, part = parts.pop()
            little = np.frombuffer(part["data"], _DTYPES[part["dtype"]].newbyteorder("<"))
            arrays[name] = little.reshape(part["shape"]).astype(_DTYPES[part["dtype"]], order="C", copy=True)
    except MemoryError as error:
        raise ResourceLimitError(f"{source}: {len(data) / 2**30:.3g} GiB of arrays do not fit into memory") from error
    except Exception as error:
        raise CheckpointCorruptError(f"{source}: not a valid safetensors file: {error}") from error
    arrays = dict(sorted(arrays.items()))
    found = _digest(arrays, record["metadata"])
    if found != record["sha256"]:
        raise CheckpointCorruptError(f"{source}: the content is damaged: SHA-256 {found}, expected {record['sha256']!r:.70}")
    return arrays, record["metadata"]


def read_content(file: BinaryIO, size: int, source: str) -> bytes:
    """All bytes of an open array file, once its first bytes have shown that it is one and that there is room for it."""
    _checked_header(file.read(min(size, 8 + MAX_HEADER)), size, source)
    memory, needed = host_memory(), 3 * size
    if memory is not None and needed > memory.free:
        asked, free = f"{size / 2**30:.3g} GiB needs {needed / 2**30:.3g} GiB of memory", f"{memory.free / 2**30:.3g} GiB"
        raise ResourceLimitError(f"{source}: reading {asked}, {free} are free")
    file.seek(0)
    data = file.read(size + 1)
    if len(data) != size:
        raise CheckpointCorruptError(f"{source}: {size} bytes long when opened, {len(data)} when read: changed meanwhile")
    return data


def _checked_name(name: Any) -> str:
    """`name`, unless it cannot be an array's name."""
    if not isinstance(name, str):
        raise InvalidTypeError(f"array name {name!r}: expected str, got {type(name).__name__}")
    sane = 1 <= len(name) <= MAX_NAME and name.isprintable() and not set(name) & {"/", "\\"} and name.strip(" .") != ""
    if not sane or name == "__metadata__":
        shown = f"{name[:40]!r}{f'… ({len(name)} characters)' if len(name) > 40 else ''}"
        raise ConfigError(
            f"array name {shown}: expected 1 to {MAX_NAME} printable characters, no '/', no backslash, not '__metadata__'"
        )
    return name


def _plain_copy(name: str, array: Any) -> np.ndarray:
    """A C-ordered little-endian copy: safetensors 0.8.0 writes other values for any other layout (its issue 825)."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise InvalidTypeError(f"array {name!r} is a {type(array).__name__}; expected numpy.ndarray (mlpx.to_numpy makes one)")
    if array.dtype.newbyteorder("=") not in _DTYPES.values():
        allowed = ", ".join(dtype.name for dtype in _DTYPES.values())
        raise InvalidTypeError(f"array {name!r} is of dtype {array.dtype}; stored are {allowed}")
    try:
        return np.array(array, dtype=array.dtype.newbyteorder("<"), order="C", copy=True, subok=False)
    except MemoryError as error:
        raise ResourceLimitError(f"array {name!r}: no memory for a copy of {array.nbytes / 2**30:.3g} GiB") from error


def _digest(arrays: Mapping[str, np.ndarray], metadata: Metadata) -> str:
    """SHA-256 over version, metadata, and each array's name, dtype, shape and little-endian bytes, in order of names."""
    listing = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    sha = hashlib.sha256(strict_json.encode([FORMAT, FORMAT_VERSION, metadata, listing], "content").encode("ascii"))
    for array in arrays.values():
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        sha.update(little.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def _checked_header(start: bytes, size: int, source: str) -> dict[str, Any]:
    """The safetensors header, if what it claims is what a file of `size` bytes can hold."""
    length = int.from_bytes(start[:8], "little")
    if size < 8 or length > min(size - 8, MAX_HEADER):
        looks = next((f" (it looks like {kind})" for magic, kind in _FOREIGN_STARTS.items() if start.startswith(magic)), "")
        _damaged(
            source, f"not a safetensors file{looks}: {size} bytes long, header claims {length}, at most {MAX_HEADER} accepted"
        )
    try:
        header = strict_json.decode(start[8 : 8 + length])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        codes = {name: entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
        claimed = max(ends, default=0)
        whole = isinstance(claimed, int)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointCorruptError(f"{source}: the header is damaged: {error}") from error
    if not whole or 8 + length + claimed != size:
        _damaged(source, f"{size} bytes long, but its header claims {length} + 8 bytes of header and {claimed} of arrays")
    for name, code in codes.items():
        if not isinstance(code, str) or code not in _DTYPES:
            raise CheckpointMismatchError(
                f"{source}: array {name!r:.80} is of dtype {code!r:.40}; known are {', '.join(_DTYPES)}"
            )
    return header


def _checked_record(header: dict[str, Any], source: str) -> dict[str, Any]:
    """Our part of the header: format, version, digest, metadata."""
    texts = header.get("__metadata__")
    text = texts.get(_KEY) if isinstance(texts, dict) else None
    if not isinstance(text, str):
        _damaged(source, "a safetensors file, but not one that mlpx wrote (no 'mlpx' in its metadata)")
    try:
        record = strict_json.decode(text)
    except ValueError as error:
        raise CheckpointCorruptError(f"{source}: the metadata is damaged: {error}") from error
    check_format(record, FORMAT, FORMAT_VERSION, _FIELDS, source)
    if not isinstance(record["metadata"], dict):
        _damaged(source, f"metadata is a {type(record['metadata']).__name__}, expected an object")
    return record


def check_format(record: Any, name: str, version: int, fields: set[str], source: str) -> None:
    """Raise unless a JSON record is of the named format, of a version we know, and has exactly its fields."""
    if not isinstance(record, dict) or record.get("format") != name:
        _damaged(source, f"not of format {name!r}")
    found = record.get("format_version")
    if type(found) is not int or found < 1:
        _damaged(source, f"format_version is {found!r:.40}, expected a whole number ≥ 1")
    if found > version:
        raise CheckpointVersionError(f"{source}: of format version {found}, this mlpx reads up to {version}: upgrade mlpx")
    missing, unknown = fields - set(record), set(record) - fields
    if missing:
        _damaged(source, f"{', '.join(sorted(missing))} missing")
    if unknown:
        keys = f"{sorted(unknown)!r:.120}"
        raise CheckpointVersionError(
            f"{source}: has keys {keys} that this mlpx does not know (format version {version}): upgrade mlpx"
        )


def _damaged(source: str, what: str) -> NoReturn:
    """Raise the error for a damaged file."""
    raise CheckpointCorruptError(f"{source}: {what}")


def _library(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call safetensors, whose panics are no Exception and would pass every handler of a training loop."""
    try:
        return call(*args, **kwargs)
    except MemoryError as error:
        raise ResourceLimitError(f"safetensors: no memory for another copy of the arrays: {error}") from error
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise CheckpointError(f"safetensors failed: {error}") from error
