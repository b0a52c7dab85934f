"""Array files: exact round trips of every layout, the bytes on the disk, and what damage and hostility are answered with."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlpx import errors
from mlpx.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    CheckpointReadError,
    CheckpointVersionError,
    CheckpointWriteError,
    ConfigError,
    InvalidInputError,
    InvalidTypeError,
    ResourceLimitError,
)
from mlpx.machine import Memory
from mlpx.store import array_file, durable, strict_json
from mlpx.store.array_file import read_arrays, write_arrays

DTYPES = ("float32", "float64", "int32", "int64", "bool", "uint8")
CODES = {"float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64", "bool": "BOOL", "uint8": "U8"}


def values(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 250, shape).astype(dtype)


def unaligned(array, _folder):
    buffer = np.zeros(array.nbytes + 1, np.uint8)
    moved = buffer[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    assert array.itemsize == 1 or not moved.flags.aligned
    return moved


def mapped(array, folder):
    array.tofile(folder / "map.bin")
    return np.memmap(folder / "map.bin", array.dtype, "r", shape=array.shape)


def read_only(array, _folder):
    array.flags.writeable = False
    return array


LAYOUTS = {
    "C": lambda a, _: a,
    "Fortran": lambda a, _: np.asfortranarray(a),
    "transposed": lambda a, _: a.T,
    "strided": lambda a, _: a[:, ::2],
    "negative stride": lambda a, _: a[::-1, ::-1],
    "column": lambda a, _: a[:, 1],
    "broadcast": lambda a, _: np.broadcast_to(a[:1], (5, a.shape[1])),
    "0-d": lambda a, _: a[1, 2, ...].reshape(()),
    "empty": lambda a, _: a[:0],
    "empty inside": lambda a, _: a[:, :0],
    "read-only": read_only,
    "big-endian": lambda a, _: a.astype(a.dtype.newbyteorder(">")),
    "big-endian transposed": lambda a, _: a.astype(a.dtype.newbyteorder(">")).T,
    "unaligned": unaligned,
    "memory-mapped": mapped,
    "subclass": lambda a, _: a.view(np.matrix) if a.dtype != bool else a,
    "4 axes": lambda a, _: np.moveaxis(np.stack([np.stack([a, a[::-1]])] * 3), 0, 2),
}


def file_of(header, body=b"", pad=True):
    """A file as the safetensors format describes it: length, JSON header, bytes. `header` may be ready-made bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8) if pad else b""
    return len(text).to_bytes(8, "little") + text + body


def mlpx_file(arrays, metadata, *, version=1, format_name="mlpx", extra=None, sha=None):
    """A version 1 file put together by hand, from the description of the format."""
    listing, entries, body = [], {}, b""
    for name in sorted(arrays):
        array, start = arrays[name], len(body)
        listing.append([name, array.dtype.name, list(array.shape)])
        body += array.tobytes()
        entries[name] = {"dtype": CODES[array.dtype.name], "shape": list(array.shape), "data_offsets": [start, len(body)]}
    content = json.dumps(["mlpx", 1, metadata, listing], separators=(",", ":")).encode() + body
    record = {"format": format_name, "format_version": version}
    record |= {"sha256": sha or hashlib.sha256(content).hexdigest(), "metadata": metadata, **(extra or {})}
    return file_of({"__metadata__": {"mlpx": json.dumps(record, separators=(",", ":"))}, **entries}, body)


ARRAYS = {"0.weight": np.arange(12, dtype="float32").reshape(4, 3), "step": np.asarray(7, dtype="int64")}
METADATA = {
    "network": [{"kind": "dense", "units": 4}],
    "learning rate": 1e-3,
    "note": 'Ünïcode "quoted" ',
    "none": None,
    "ok": True,
}


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert type(found[name]) is np.ndarray
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].tobytes() == np.array(array, array.dtype.newbyteorder("="), order="C").tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_every_layout_comes_back_exactly(layout, dtype, tmp_path):
    array = LAYOUTS[layout](values((4, 6), dtype), tmp_path)
    plain = np.empty(array.shape, dtype)  # filled one by one: independent of how NumPy and safetensors walk memory
    for index in np.ndindex(array.shape):
        plain[index] = array[index]
    before = hashlib.sha256(array.tobytes()).digest(), array.flags.writeable, array.dtype
    write_arrays(tmp_path / "a.safetensors", {"first": array, "second": values((3,), dtype, 1)}, {})
    found, _ = read_arrays(tmp_path / "a.safetensors")
    assert_same(found, {"first": plain, "second": values((3,), dtype, 1)})
    assert (hashlib.sha256(array.tobytes()).digest(), array.flags.writeable, array.dtype) == before


@pytest.mark.parametrize("dtype", ["float16", "int8", "int16", "uint16", "uint32", "uint64"])
def test_the_other_dtypes(dtype, tmp_path):
    array = np.array([0, 1, np.iinfo(dtype).max if dtype != "float16" else 65504], dtype)
    write_arrays(tmp_path / "a.safetensors", {"a": array}, {})
    assert_same(read_arrays(tmp_path / "a.safetensors")[0], {"a": array})


def test_special_floats_keep_their_bits(tmp_path):
    bits = np.array([0x7FF8000000000001, 0xFFF0000000000000, 0x8000000000000000, 1, 0x7FF0000000000000], "uint64")
    write_arrays(tmp_path / "a.safetensors", {"a": bits.view("float64")}, {})
    assert read_arrays(tmp_path / "a.safetensors")[0]["a"].view("uint64").tolist() == bits.tolist()


def test_arrays_read_own_their_memory(tmp_path):
    write_arrays(tmp_path / "a.safetensors", ARRAYS, {})
    found, _ = read_arrays(tmp_path / "a.safetensors")
    for array in found.values():
        assert array.flags.owndata
        assert array.flags.writeable
        assert array.flags.c_contiguous
        array[...] = 1
    assert list(found) == sorted(ARRAYS)


def test_format_version_1_is_what_it_was(tmp_path):
    """Golden file: built here by hand; reading and writing must agree with it for ever."""
    golden = mlpx_file(ARRAYS, METADATA)
    (tmp_path / "golden.safetensors").write_bytes(golden)
    arrays, metadata = read_arrays(tmp_path / "golden.safetensors")
    assert_same(arrays, ARRAYS)
    assert metadata == METADATA
    header = json.loads(golden[8 : 8 + int.from_bytes(golden[:8], "little")])
    written = array_file.encode_arrays(ARRAYS, METADATA)
    length = int.from_bytes(written[:8], "little")
    assert json.loads(written[8 : 8 + length])["__metadata__"] == header["__metadata__"]


def test_same_content_same_bytes():
    again = {name: np.array(ARRAYS[name], order="F") for name in reversed(ARRAYS)}
    assert array_file.encode_arrays(ARRAYS, METADATA) == array_file.encode_arrays(again, METADATA)


def test_metadata_and_its_order_come_back(tmp_path):
    given = {"z": [1, -0.0, 1e-300, 2**100, "\ud800\n"], "a": {"b": {"c": []}}, "t": (1, 2), "n": np.float64(0.1)}
    write_arrays(tmp_path / "a.safetensors", {}, given)
    arrays, metadata = read_arrays(tmp_path / "a.safetensors")
    assert arrays == {}
    assert list(metadata) == list(given)
    assert json.dumps(metadata) == json.dumps(given)


def test_mode_honours_umask(tmp_path):
    for mask in (0o022, 0o077):
        old = os.umask(mask)
        try:
            write_arrays(tmp_path / f"{mask}.safetensors", ARRAYS, {})
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / f"{mask}.safetensors").stat().st_mode) == 0o666 & ~mask


def test_an_existing_file_is_replaced_only_when_told(tmp_path):
    path = tmp_path / "a.safetensors"
    write_arrays(path, ARRAYS, {"n": 1})
    with pytest.raises(CheckpointWriteError, match="overwrite=True") as caught:
        write_arrays(path, {}, {"n": 2})
    assert (caught.value.errno, caught.value.filename) == (errno.EEXIST, str(path))
    assert read_arrays(path)[1] == {"n": 1}
    write_arrays(path, {}, {"n": 2}, overwrite=True)
    assert read_arrays(path)[1] == {"n": 2}
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    monkeypatch.setattr(durable, "_refuse_target", lambda *_: path.write_bytes(b"theirs"))
    with pytest.raises(CheckpointWriteError) as caught:
        write_arrays(path, ARRAYS, {})
    assert caught.value.errno == errno.EEXIST
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_without_hard_links_the_file_is_renamed(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    write_arrays(tmp_path / "a.safetensors", ARRAYS, {})
    assert_same(read_arrays(tmp_path / "a.safetensors")[0], ARRAYS)
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_where_open_files_cannot_be_renamed(tmp_path, monkeypatch, overwrite):
    monkeypatch.setattr(durable, "_RENAMES_OPEN_FILES", False)
    monkeypatch.setattr(durable, "_SYNCS_FOLDERS", False)
    write_arrays(tmp_path / "a.safetensors", ARRAYS, {}, overwrite=overwrite)
    assert_same(read_arrays(tmp_path / "a.safetensors")[0], ARRAYS)
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "there" / "real.safetensors")
    write_arrays(tmp_path / "link.safetensors", ARRAYS, {})
    write_arrays(tmp_path / "link.safetensors", ARRAYS, {"n": 2}, overwrite=True)
    assert (tmp_path / "link.safetensors").is_symlink()
    assert read_arrays(tmp_path / "there" / "real.safetensors")[1] == {"n": 2}


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_is_never_replaced(kind, tmp_path):
    path = tmp_path / "a.safetensors"
    os.mkdir(path) if kind == "folder" else os.mkfifo(path)
    with pytest.raises(CheckpointWriteError, match="not a regular file"):
        write_arrays(path, ARRAYS, {}, overwrite=True)
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_missing_folder_is_a_write_error(tmp_path):
    with pytest.raises(CheckpointWriteError, match=r"a\.safetensors") as caught:
        write_arrays(tmp_path / "no" / "a.safetensors", ARRAYS, {})
    assert caught.value.errno == errno.ENOENT
    assert isinstance(caught.value, OSError)
    assert os.listdir(tmp_path) == []


NAMES = {
    "slash": "layer/weight",
    "backslash": "a\\b",
    "empty": "",
    "a million characters": "n" * 10**6,
    "reserved": "__metadata__",
    "line break": "a\nb",
    "NUL": "a\0b",
    "surrogate": "\ud800",
    "dots": "..",
    "blank": "  ",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_absurd_names_are_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="array name") as caught:
        write_arrays(tmp_path / "a.safetensors", {name: np.zeros(1)}, {})
    assert len(str(caught.value)) < 300
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": [1.0]},
        {"a": np.zeros(2, object)},
        {"a": np.zeros(2, complex)},
        {"a": np.array(["x"])},
        {"a": np.zeros(1, "datetime64[s]")},
        {"a": np.zeros(1, [("x", "f4")])},
        {"a": np.zeros(1, "longdouble")},
        {"a": np.ma.masked_array([1.0, 2.0], [True, False])},
        {3: np.zeros(1)},
    ],
)
def test_what_is_no_array_of_numbers_is_refused(arrays, tmp_path):
    with pytest.raises(InvalidTypeError, match="array"):
        write_arrays(tmp_path / "a.safetensors", arrays, {})
    assert os.listdir(tmp_path) == []


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("metadata", "error", "said"),
    [
        ({"lr": float("nan")}, InvalidInputError, r"metadata\['lr'\] is nan"),
        ({"a": [1, {"b": float("inf")}]}, InvalidInputError, r"metadata\['a'\]\[1\]\['b'\] is inf"),
        ({"a": {1: 2}}, InvalidTypeError, "key 1"),
        ({"a": np.zeros(2)}, InvalidTypeError, r"metadata\['a'\] is of type ndarray"),
        ({"a": np.float32(1)}, InvalidTypeError, "float32"),
        ({"a": b"x"}, InvalidTypeError, "bytes"),
        ({"a": {1, 2}}, InvalidTypeError, "set"),
        ({"a": 10**5000}, InvalidInputError, "digits"),
        ({"a": nested(100)}, InvalidInputError, "deeper than 64"),
        ({"a": "x" * (3 << 20)}, ConfigError, "at most 2097152"),
    ],
)
def test_metadata_that_would_not_come_back_is_refused(metadata, error, said, tmp_path):
    with pytest.raises(error, match=said):
        write_arrays(tmp_path / "a.safetensors", ARRAYS, metadata)
    assert os.listdir(tmp_path) == []


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "no.safetensors", tmp_path, tmp_path / "no.pt", tmp_path / "no" / "a.safetensors"):
        with pytest.raises(CheckpointNotFoundError) as caught:
            read_arrays(path)
        assert caught.value.filename == str(path)
        assert isinstance(caught.value, FileNotFoundError)


def test_a_fifo_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointCorruptError, match="not a regular file"):
        read_arrays(tmp_path / "a.safetensors")


@pytest.mark.parametrize("suffix", ["pt", "pth", "pkl", "pickle", "joblib", "h5", "keras", "npz", "npy", "zip", "PT", "ckpt"])
def test_formats_that_carry_code_are_refused_by_name(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(mlpx_file(ARRAYS, {}))

    def opened(*_args, **_kwargs):
        raise AssertionError("opened")

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(CheckpointCorruptError, match="not opened"):
        read_arrays(path)
    with pytest.raises(ConfigError, match="safetensors"):
        write_arrays(path, ARRAYS, {}, overwrite=True)


@pytest.mark.parametrize(
    ("start", "said"), [(b"\x80\x04\x95", "pickle"), (b"PK\x03\x04", "zip"), (b"\x89HDF\r\n", "HDF5"), (b"\x93NUMPY", "npy")]
)
def test_other_formats_under_our_name_are_recognised(start, said, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(start + b"\xff" * 100)
    with pytest.raises(CheckpointCorruptError, match=said):
        read_arrays(tmp_path / "a.safetensors")


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


OURS = {"mlpx": json.dumps({"format": "mlpx", "format_version": 1, "sha256": "0" * 64, "metadata": {}})}
DAMAGED = {
    "nothing": b"",
    "seven bytes": b"1234567",
    "header of 2^64 - 1": b"\xff" * 8 + b"{}",
    "header longer than file": (100).to_bytes(8, "little") + b"{}",
    "header over the limit": (3 << 20).to_bytes(8, "little") + b" " * (3 << 20),
    "header no JSON": file_of(b"hello, world"),
    "header not UTF-8": file_of(b'{"\xff":1}'),
    "header a list": file_of(b"[1,2]"),
    "header NaN": file_of(b'{"a":NaN}'),
    "header 1e999": file_of(b'{"a":1e999}'),
    "header duplicate key": file_of(b'{"a":1,"a":2}'),
    "header of 5,000 digits": file_of(b'{"a":' + b"9" * 5000 + b"}"),
    "header of depth 10^5": file_of(b"[" * 10**5),
    "entry a number": file_of({"a": 5}),
    "entry without offsets": file_of({"a": {"dtype": "F32", "shape": [2]}}),
    "offsets a text": file_of({"a": entry(offsets="ab")}, b"\0" * 8),
    "offsets floats": file_of({"a": entry(offsets=(0.0, 8.0))}, b"\0" * 8),
    "4 TB claimed": file_of({"__metadata__": OURS, "a": entry(shape=[10**12], offsets=(0, 4 * 10**12))}, b"\0" * 8),
    "trailing bytes": file_of({"__metadata__": OURS, "a": entry()}, b"\0" * 9),
    "cut short": file_of({"__metadata__": OURS, "a": entry()}, b"\0" * 7),
    "overlap": file_of({"__metadata__": OURS, "a": entry(), "b": entry(offsets=(4, 12))}, b"\0" * 12),
    "hole": file_of({"__metadata__": OURS, "a": entry(), "b": entry(offsets=(12, 20))}, b"\0" * 20),
    "reversed": file_of({"__metadata__": OURS, "a": entry(offsets=(8, 0)), "b": entry()}, b"\0" * 8),
    "shape against bytes": file_of({"__metadata__": OURS, "a": entry(shape=[3])}, b"\0" * 8),
    "shape negative": file_of({"__metadata__": OURS, "a": entry(shape=[-2])}, b"\0" * 8),
    "shape that overflows": file_of({"__metadata__": OURS, "a": entry(shape=[2**62, 2**62], offsets=(0, 0))}),
    "empty shape too large for NumPy": file_of({"__metadata__": OURS, "a": entry(shape=[0, 2**63], offsets=(0, 0))}),
    "70 axes": file_of({"__metadata__": OURS, "a": entry(shape=[1] * 69 + [2])}, b"\0" * 8),
    "wrong digest": file_of({"__metadata__": OURS, "a": entry()}, b"\0" * 8),
    "somebody else's file": file_of({"a": entry()}, b"\0" * 8),
    "somebody else's metadata": file_of({"__metadata__": {"format": "pt"}, "a": entry()}, b"\0" * 8),
    "metadata a list": file_of({"__metadata__": ["mlpx"], "a": entry()}, b"\0" * 8),
    "metadata no text": file_of({"__metadata__": {"mlpx": 5}, "a": entry()}, b"\0" * 8),
    "metadata no JSON": file_of({"__metadata__": {"mlpx": "{"}, "a": entry()}, b"\0" * 8),
    "metadata NaN": file_of({"__metadata__": {"mlpx": '{"format":NaN}'}, "a": entry()}, b"\0" * 8),
    "metadata number": file_of({"__metadata__": {"mlpx": "1"}, "a": entry()}, b"\0" * 8),
    "other format": mlpx_file(ARRAYS, {}, format_name="mlp"),
    "version 0": mlpx_file(ARRAYS, {}, version=0),
    "version true": mlpx_file(ARRAYS, {}, version=True),
    "version text": mlpx_file(ARRAYS, {}, version="1"),
    "user metadata a list": mlpx_file(ARRAYS, []),
    "digest null": mlpx_file(ARRAYS, {}, sha="null"),
    "field missing": file_of({"__metadata__": {"mlpx": '{"format":"mlpx","format_version":1}'}}),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_named(data, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointCorruptError, match=r"a\.safetensors: ") as caught:
        read_arrays(path)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 1000


def test_newer_versions_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(mlpx_file(ARRAYS, {}, version=2, extra={"compression": "zstd"}))
    with pytest.raises(CheckpointVersionError, match="format version 2, this mlpx reads up to 1: upgrade"):
        read_arrays(path)
    path.write_bytes(mlpx_file(ARRAYS, {}, extra={"compression": "zstd"}))
    with pytest.raises(CheckpointVersionError, match="compression"):
        read_arrays(path)


@pytest.mark.parametrize("code", ["BF16", "F8_E4M3", "C64", 5])
def test_dtypes_that_numpy_lacks_are_named(code, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(file_of({"__metadata__": OURS, "0.weight": entry(code)}, b"\0" * 8))
    with pytest.raises(CheckpointMismatchError, match=f"'0.weight' is of dtype {code!r}"):
        read_arrays(tmp_path / "a.safetensors")


def test_a_sparse_file_of_4_terabytes_is_refused_before_the_library(tmp_path, monkeypatch):
    path, size = tmp_path / "a.safetensors", 4 * 10**12
    head = file_of({"__metadata__": OURS, "a": entry(shape=[10**12], offsets=(0, size))})
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + size)

    def called(*_args):
        raise AssertionError("library called")

    monkeypatch.setattr(array_file.safetensors, "deserialize", called)
    start = time.perf_counter()
    with pytest.raises(ResourceLimitError, match="GiB"):
        read_arrays(path)
    head = file_of({"__metadata__": OURS, "a": entry()})
    path.write_bytes(head)
    os.truncate(path, size)
    with pytest.raises(CheckpointCorruptError, match=f"{size} bytes long, but its header claims"):
        read_arrays(path)
    assert time.perf_counter() - start < 2


def test_memory_is_checked_against_what_is_free(tmp_path, monkeypatch):
    write_arrays(tmp_path / "a.safetensors", ARRAYS, {})
    size = os.path.getsize(tmp_path / "a.safetensors")
    monkeypatch.setattr(array_file, "host_memory", lambda: Memory(3 * size - 1, 1 << 40))
    with pytest.raises(ResourceLimitError, match="free"):
        read_arrays(tmp_path / "a.safetensors")
    for enough in (Memory(3 * size, 1 << 40), None):
        monkeypatch.setattr(array_file, "host_memory", lambda enough=enough: enough)
        read_arrays(tmp_path / "a.safetensors")


class Panic(BaseException):
    """What a Rust panic looks like from Python."""


def raiser(error):
    def call(*_args, **_kwargs):
        raise error

    return call


@pytest.mark.parametrize(
    ("raised", "reading", "writing"),
    [
        (Panic("boom"), CheckpointCorruptError, CheckpointError),
        (MemoryError(), ResourceLimitError, ResourceLimitError),
        (KeyError("BF16"), CheckpointCorruptError, KeyError),
        (KeyboardInterrupt(), KeyboardInterrupt, KeyboardInterrupt),
    ],
)
def test_what_the_library_throws_is_converted(raised, reading, writing, tmp_path, monkeypatch):
    write_arrays(tmp_path / "a.safetensors", ARRAYS, {})
    monkeypatch.setattr(array_file.safetensors, "deserialize", raiser(raised))
    with pytest.raises(reading):
        read_arrays(tmp_path / "a.safetensors")
    monkeypatch.setattr(array_file.safetensors.numpy, "save", raiser(raised))
    with pytest.raises(writing):
        write_arrays(tmp_path / "b.safetensors", ARRAYS, {})
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_no_memory_for_a_copy_is_a_resource_limit(tmp_path):
    vast = np.broadcast_to(np.float32(0), (2**40, 2**10))
    with pytest.raises(ResourceLimitError, match="'vast'"):
        write_arrays(tmp_path / "a.safetensors", {"vast": vast}, {})


def test_a_file_that_changes_while_read(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"a": np.zeros(3 << 20)}, {})
    check = array_file.host_memory

    def shrink():
        os.truncate(path, 1000)
        return check()

    monkeypatch.setattr(array_file, "host_memory", shrink)
    with pytest.raises(CheckpointCorruptError, match="changed meanwhile"):
        read_arrays(path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_the_system_refuses_to_read(number, tmp_path, monkeypatch):
    write_arrays(tmp_path / "a.safetensors", ARRAYS, {})
    monkeypatch.setattr(os, "open", raiser(OSError(number, "no")))
    with pytest.raises(CheckpointReadError, match="reading failed") as caught:
        read_arrays(tmp_path / "a.safetensors")
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "a.safetensors"))


def mutations(original, count, seed):
    """Damaged variants of a file, in every manner that disks, transfers and attackers are known for."""
    rng = random.Random(seed)
    header = 8 + int.from_bytes(original[:8], "little")
    extremes = [0, 1, 2**31, 2**63 - 1, 2**64 - 1, header, header - 9, len(original) - 8]
    while count:
        data = bytearray(original)
        kind = rng.randrange(10)
        if kind == 0:
            del data[rng.randrange(len(data)) :]
        elif kind == 1:
            data += rng.randbytes(rng.randrange(1, 40))
        elif kind == 2:
            data[:8] = rng.choice(extremes).to_bytes(8, "little")
        elif kind == 3:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 4:
            data[rng.randrange(8, header)] = rng.randrange(32, 127)
        elif kind == 5:
            start, there = rng.randrange(len(data)), rng.randrange(len(data))
            data[there : there + 16] = data[start : start + 16]
        elif kind == 6:
            digits = [i for i in range(8, header) if chr(data[i]).isdigit()]
            data[rng.choice(digits)] = rng.choice(b"0123456789")
        elif kind == 7:
            cut = rng.randrange(8, header)
            data[cut:cut] = rng.choice([b"[" * 5000, b"9" * 50, b'"', b"NaN", b"1e999", b"\\ud800", b"\0", b" "])
            data[:8] = (int.from_bytes(original[:8], "little") + len(data) - len(original)).to_bytes(8, "little")
        elif kind == 8:
            start = rng.randrange(len(data))
            data[start : start + rng.randrange(1, 64)] = b""
        else:
            start = rng.randrange(header, len(data))
            data[start : start + 32] = bytes(len(data[start : start + 32]))
        if data != original:
            count -= 1
            yield bytes(data)


@pytest.mark.slow
def test_fuzzed_files_give_a_named_error_or_the_same_content(tmp_path):
    path = tmp_path / "a.safetensors"
    write_arrays(path, ARRAYS | {"mask": values((50,), "bool"), "moments": values((4, 3), "float64")}, METADATA)
    original, intact = path.read_bytes(), 0
    expected, expected_metadata = read_arrays(path)
    for data in mutations(original, 2000, seed=20240229):
        path.write_bytes(data)
        try:
            arrays, metadata = read_arrays(path)
        except CheckpointError:
            continue
        assert_same(arrays, expected)
        assert metadata == expected_metadata
        intact += 1
    assert intact < 200  # the fuzzer damages


HOSTILE = """
import json, resource, sys, time
from pathlib import Path
from mlpx.errors import MlpxError
from mlpx.store.array_file import read_arrays

folder = Path(sys.argv[1])
read_arrays(folder / "good.safetensors")
seen, armed = [], False
def hook(event, args):
    if armed and event.split(".")[0] in {"open", "exec", "compile", "import", "subprocess", "os", "socket", "pickle", "ctypes"}:
        seen.append([event, str(args[0]) if args else ""])
sys.addaudithook(hook)
held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (held + (256 << 20), -1))
for path in sorted(folder.iterdir()):
    seen.clear()
    start, armed = time.perf_counter(), True
    try:
        read_arrays(path)
        outcome = "read"
    except MlpxError as error:
        outcome = type(error).__name__
    except BaseException as error:
        outcome = "NOT NAMED: " + repr(error)[:300]
    armed = False
    stray = [event for event in seen if event[0] != "open" or event[1] not in (str(path), "/proc/meminfo")
             and not event[1].startswith("/sys/fs/cgroup") and not event[1].isdigit()]
    print(json.dumps([path.name, outcome, time.perf_counter() - start, stray]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux /proc to bound the memory of one process")
def test_bombs_and_hostile_files_run_nothing_and_stay_small(tmp_path):
    """Each refused by name within 2 s and 256 MiB; nothing imported, run or opened but the file itself."""
    import pickle

    room = array_file.MAX_HEADER - 16
    hostile = {
        "depth": file_of(b"[" * room),
        "objects": file_of(b"[" + b"{}," * (room // 3) + b"{}]"),
        "lists": file_of(b"[" + b"[]," * (room // 3) + b"[]]"),
        "numbers": file_of(b"[" + b"0.1," * (room // 4 - 1) + b"0]"),
        "digits": file_of(b'{"a":' + b"7" * (room - 8) + b"}"),
        "escapes": file_of(b'{"' + b"\\u0041" * (room // 6 - 2) + b'":1}'),
        "open string": file_of(b'{"' + b"\\" * (room - 8)),
        "quotes": file_of(b'"' * room),
        "escaped quotes": file_of(b'"' + b'\\"' * (room // 2 - 1)),
        "late duplicate": file_of(b"{" + b"".join(b'"%06d":0,' % i for i in range(room // 11 - 2)) + b'"000001":0}'),
        "metadata": file_of({"__metadata__": {"mlpx": "[" * 10**6}}),
        "pickle": pickle.dumps(print),
        "claim": DAMAGED["4 TB claimed"],
        "zeros": file_of({"__metadata__": OURS, "a": entry(shape=[0, 2**63 - 1], offsets=(0, 0))}),
        "config": mlpx_file(ARRAYS, {"__reduce__": "os.system", "_target_": "subprocess.call"}),
    }
    (tmp_path / "good.safetensors").write_bytes(mlpx_file(ARRAYS, METADATA))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(print))
    for name, data in hostile.items():
        (tmp_path / f"{name}.safetensors").write_bytes(data)
    with open(tmp_path / "sparse.safetensors", "wb") as file:
        file.truncate(4 * 10**12)
    ran = subprocess.run([sys.executable, "-c", HOSTILE, tmp_path], capture_output=True, text=True, timeout=60, check=True)
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(results) == len(hostile) + 3
    print(*results, sep="\n")
    for name, outcome, seconds, stray in results:
        assert (name, stray) == (name, [])
        assert seconds < 2, name
        if name in ("good.safetensors", "config.safetensors"):
            assert outcome == "read"
        else:
            assert (name, outcome) in [(name, "CheckpointCorruptError"), (name, "ResourceLimitError")]


def test_a_new_file_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    wait, taken = durable.wait_for_lock, []

    def late(fd):
        if not taken:
            taken.extend(os.listdir(tmp_path))
            os.unlink(tmp_path / taken[0])
        wait(fd)

    monkeypatch.setattr(durable, "wait_for_lock", late)
    write_arrays(tmp_path / "a.safetensors", ARRAYS, {})
    assert len(taken) == 1
    assert_same(read_arrays(tmp_path / "a.safetensors")[0], ARRAYS)
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_not(tmp_path):
    import fcntl

    living, dead = (tmp_path / f".a.safetensors.{digit * 16}.partial" for digit in "0f")
    others = [tmp_path / ".b.safetensors.0000000000000000.partial", tmp_path / ".a.safetensors.partial"]
    for path in (living, dead, *others):
        path.write_bytes(b"part")
    with open(living, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_arrays(tmp_path / "a.safetensors", ARRAYS, {})
    assert sorted(os.listdir(tmp_path)) == sorted([living.name, *(path.name for path in others), "a.safetensors"])


def test_errors_are_public():
    for name in ("CheckpointBusyError", "CheckpointReadError"):
        assert issubclass(getattr(errors, name), OSError)
        assert issubclass(getattr(errors, name), CheckpointError)


@pytest.mark.parametrize("text", [b"{", b"", b'{"a":1}x', "[-Infinity]", b"\xff\xfe{\0}\0", '["' + "\\"])
def test_strict_json_refuses(text):
    with pytest.raises(ValueError):  # json and codecs have their own words for it
        strict_json.decode(text)


def test_strict_json_counts_no_brackets_in_strings():
    assert strict_json.decode('["' + "[" * 100 + '\\"[["]') == ["[" * 100 + '"[[']
