"""Files that cannot be tables: each of the table's cases is refused with its class and phrase, soon and in little memory.

Array files and Parquet that are tables: read with the values that NumPy and pyarrow wrote.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import threading
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import mlpx.errors
from mlpx.data import read, read_arrays
from mlpx.data.files import check_fits_memory, reading
from mlpx.errors import ConfigError, DataFileError, MlpxError, ResourceLimitError

CASES = json.loads((Path(__file__).parent / "cases" / "bad_data.json").read_text(encoding="utf-8"))
SECONDS = 2.0
PEAK_BYTES = 200 * 2**20
MUTATIONS = 1500


def npy_bytes(header: str, body: str = "", version=(1, 0), claimed_header: int | None = None, zeros: int = 0) -> bytes:
    """A .npy file as its specification (NEP 1) says, of any header text."""
    text = header.encode("latin-1") + b"\n"
    width = 2 if tuple(version) == (1, 0) else 4
    length = len(text) if claimed_header is None else claimed_header
    return b"\x93NUMPY" + bytes(version) + length.to_bytes(width, "little") + text + bytes.fromhex(body) + bytes(zeros)


def write_npz(path: Path, members: list[dict]) -> None:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name are what a case is about
        for member in members:
            content = (
                member["raw"].encode()
                if "raw" in member
                else npy_bytes(member["header"], member.get("body", ""), zeros=member.get("zeros", 0))
            )
            packing = member.get("compression", zipfile.ZIP_DEFLATED if "zeros" in member else zipfile.ZIP_STORED)
            archive.writestr(zipfile.ZipInfo(member["name"]), content, packing)
    data = bytearray(path.read_bytes())
    if any("encrypted" in member for member in members):
        central = data.rindex(b"PK\x01\x02")
        data[central + 8] |= 1
    if any("damaged" in member for member in members):
        local_end = data.index(b"PK\x01\x02")
        data[local_end - 1] ^= 0x40
    path.write_bytes(data)


def write_gzip(path: Path, spec: dict) -> None:
    repeat = spec.get("repeat", {"text": "", "times": 0})
    with gzip.open(path, "wb", compresslevel=6) as file:
        file.write(spec["text"].encode())
        for _ in range(repeat["times"] // 10_000):
            file.write(repeat["text"].encode() * 10_000)
    data = bytearray(path.read_bytes())
    if "cut" in spec:
        del data[-spec["cut"] :]
    if "flip" in spec:
        data[spec["flip"]] ^= 1
    path.write_bytes(bytes(data) + spec.get("trailing", "").encode())


def write_text(path: Path, case: dict) -> None:
    repeat = case.get("repeat", {"text": "", "times": 0})
    with path.open("wb") as file:
        file.write(case["text"].encode())
        block, rest = divmod(repeat["times"], 100_000)
        for _ in range(block):
            file.write(repeat["text"].encode() * 100_000)
        file.write(repeat["text"].encode() * rest + case.get("after", "").encode())


def prepare(folder: Path, case: dict) -> str:
    """Write the case's file; returns the source to read."""
    path = folder / case["file"]
    if "npy" in case:
        path.write_bytes(npy_bytes(**case["npy"]))
    elif "npz" in case:
        write_npz(path, case["npz"])
    elif "gzip" in case:
        write_gzip(path, case["gzip"])
    elif "hex" in case:
        path.write_bytes(bytes.fromhex(case["hex"]))
    elif "text" in case:
        write_text(path, case)
    match case.get("setup"):
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "unreadable":
            path.chmod(0)
            if os.access(path, os.R_OK):
                pytest.skip("this user may read every file (root); run as another user")
    if "source" not in case:
        return str(path)
    return case["source"] if case.get("relative") else ",".join(str(folder / part) for part in case["source"].split(","))


@pytest.mark.parametrize("case", CASES, ids=[f"{case['case']}-{case['name']}" for case in CASES])
def test_bad_file_is_refused_with_its_phrase_soon_and_in_little_memory(case, tmp_path):
    if case["file"].endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="pip install 'mlpx[data]'")
    source = prepare(tmp_path, case)
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(MlpxError) as caught:
            read(source, **case.get("options", {}))
    finally:
        seconds = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert type(caught.value) is getattr(mlpx.errors, case["error"])
    message = str(caught.value)
    lacking = [phrase for phrase in case["says"] if phrase not in message]
    assert not lacking, f"{lacking} not in {message!r}"
    assert "config" in case["error"].lower() or case["file"] in message or "y.npy" in message
    assert len(message) < 1000
    assert seconds < SECONDS
    assert peak < PEAK_BYTES


def test_every_numbered_case_of_data_files_is_in_the_table():
    assert {case["case"] for case in CASES} >= {94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 109, 110, 111, 112, 113, 117}


def test_a_fifo_with_a_waiting_writer_is_refused_too(tmp_path):
    path = tmp_path / "t.csv"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = threading.Thread(target=lambda: os.close(os.open(path, os.O_WRONLY)))
    writer.start()
    try:
        with pytest.raises(DataFileError, match="FIFO"):
            read(path)
    finally:
        writer.join()
        os.close(reader)


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("3,4\n")


def test_a_fifo_that_takes_the_name_of_a_file_does_not_block(tmp_path, monkeypatch):
    (tmp_path / "regular").touch()
    regular = (tmp_path / "regular").stat()
    os.mkfifo(tmp_path / "t.csv")
    monkeypatch.setattr(os, "stat", lambda path: regular)
    refused: list[str] = []

    def attempt() -> None:
        try:
            read(f"{tmp_path}/t.csv")
        except DataFileError as error:
            refused.append(str(error))

    reader = threading.Thread(target=attempt, daemon=True)
    reader.start()
    reader.join(SECONDS)
    assert len(refused) == 1
    assert "FIFO" in refused[0]


@pytest.mark.parametrize(
    "change",
    [lambda path: os.truncate(path, 3), append, lambda path: path.write_text("b,y\n3,4\n")],
    ids=["truncate", "append", "rewrite"],
)
def test_file_changed_while_it_is_read_is_refused(tmp_path, change):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,2\n")
    os.utime(path, (1, 1))
    with pytest.raises(DataFileError, match="changed while it was read: 8 bytes at the start"), reading(path):
        change(path)


def test_file_that_may_not_be_read_is_named_for_every_user(tmp_path, monkeypatch):
    def refuse(path, flags):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataFileError, match=r"t\.csv: cannot be read: Permission denied"):
        read(tmp_path / "t.csv")


def test_failing_disk_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    with pytest.raises(DataFileError, match=r"t\.csv: cannot be read: Input/output error"), reading(tmp_path / "t.csv"):
        raise OSError(5, "Input/output error")


def test_change_is_named_rather_than_the_damage_it_caused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,2\n")

    def shorten_and_fail() -> None:
        os.truncate(path, 3)
        raise DataFileError("a row is short")

    with pytest.raises(DataFileError, match=r"8 bytes at the start, 3 now") as caught, reading(path):
        shorten_and_fail()
    assert str(caught.value.__cause__) == "a row is short"


def test_sparse_array_beyond_memory_is_refused_before_allocating(tmp_path):
    path = tmp_path / "x.npy"
    rows = 10**11
    path.write_bytes(npy_bytes(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, 4), }}"))
    try:
        os.truncate(path, path.stat().st_size + rows * 4 * 8)
    except OSError as error:
        pytest.skip(f"this file system holds no sparse file of 3 TB: {error}")
    with pytest.raises(ResourceLimitError, match=r"x\.npy: holds 2980\.2 GiB"):
        read(path)


def test_memory_check_lets_small_files_pass():
    check_fits_memory("x.npy", 1000)


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<f2", "<i2", ">i8", "|u1", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_pair_of_any_number_dtype_and_order(tmp_path, dtype, order):
    values = (np.arange(12).reshape(4, 3) % 7).astype(dtype)
    np.save(tmp_path / "x.npy", np.asarray(values, order=order))
    np.save(tmp_path / "y.npy", np.array([3, 1, 4, 1], dtype=dtype if dtype != "|b1" else "<i4"))
    table = read(f"{tmp_path}/x.npy,{tmp_path}/y.npy")
    assert table.names == ("x0", "x1", "x2", "y")
    assert table.target == "y"
    assert table.unit == "row"
    assert table.places.tolist() == [1, 2, 3, 4]
    for number in range(3):
        assert table.columns[f"x{number}"].dtype == np.float64
        np.testing.assert_array_equal(table.columns[f"x{number}"], values[:, number].astype(np.float64))
    assert table.columns["y"].tolist() == [3.0, 1.0, 4.0, 1.0]
    assert read_arrays(tmp_path / "x.npy", tmp_path / "y.npy").fingerprint() == table.fingerprint()


def test_npy_alone_has_no_target(tmp_path):
    np.save(tmp_path / "x,1.npy", np.ones((2, 2)))
    assert read(tmp_path / "x,1.npy").target is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_text_labels_and_other_arrays(tmp_path, save):
    save(tmp_path / "t.npz", x=np.arange(6.0).reshape(3, 2), y=np.array(["b", "NA", "ä"]), notes=np.arange(2))
    table = read(tmp_path / "t.npz")
    assert table.names == ("x0", "x1", "y")
    assert table.columns["y"].dtype == object
    assert table.columns["y"].tolist() == ["b", "NA", "ä"]
    assert table.columns["x1"].tolist() == [1.0, 3.0, 5.0]


def test_npz_column_of_targets_and_without_targets(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.ones((2, 1)), y=np.array([[1], [2]]))
    assert read(tmp_path / "t.npz").columns["y"].tolist() == [1.0, 2.0]
    np.savez(tmp_path / "u.npz", x=np.ones((2, 1)))
    assert read(tmp_path / "u.npz").target is None


def test_object_array_of_a_pickle_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    np.save(tmp_path / "x.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "t.npz", x=np.array([[Trap()]], dtype=object))
    for name in ("x.npy", "t.npz"):
        with pytest.raises(DataFileError, match="never unpickled"):
            read(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_array_files_missing_values_kinds_and_ignored_columns(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.array([[1.0, 2.0, 7.5], [np.nan, 3.0, 8.0]]), y=np.array([0, 1]))
    assert read(tmp_path / "t.npz", missing="drop").places.tolist() == [1]
    filled = read(tmp_path / "t.npz", missing="fill", categorical=["x1", "x2"], ignore=["x0"])
    assert filled.names == ("x1", "x2", "y")
    assert filled.ignored == ("x0",)
    assert filled.columns["x1"].tolist() == ["2", "3"]
    assert filled.columns["x2"].tolist() == ["7.5", "8"]
    assert read(tmp_path / "t.npz", missing="fill", target="x1").target == "x1"


@pytest.mark.slow
def test_mutated_files_give_a_named_error_or_a_table(tmp_path):
    """No other exception, whatever happens to the bytes; every array that is read has the shape that was written."""
    draw = random.Random(20)
    np.save(tmp_path / "x.npy", np.arange(20.0).reshape(5, 4))
    np.savez_compressed(tmp_path / "t.npz", x=np.arange(20.0).reshape(5, 4), y=np.arange(5))
    (tmp_path / "t.csv").write_text('a,b,"y, or so"\n1,2.5,u\n3,-4e1,"v ""w"""\n' * 3)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,y\n1,2\n3,4\n"))
    refused = 0
    for name in ("x.npy", "t.npz", "t.csv", "t.csv.gz"):
        path = tmp_path / name
        whole = path.read_bytes()
        for _ in range(MUTATIONS // 4):
            path.write_bytes(mutated(whole, draw))
            try:
                table = read(path, missing="fill")
            except MlpxError:
                refused += 1
            else:
                assert len({len(column) for column in table.columns.values()} | {len(table)}) == 1
    assert refused > MUTATIONS // 3


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The bytes with one kind of damage: flips, a cut, an insertion, or a piece moved elsewhere."""
    data = bytearray(content)
    match draw.randrange(4):
        case 0:
            for _ in range(draw.randint(1, 6)):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        case 1:
            del data[draw.randrange(len(data)) :]
        case 2:
            at = draw.randrange(len(data))
            data[at:at] = draw.randbytes(draw.randint(1, 9))
        case 3:
            start, to = sorted(draw.randrange(len(data)) for _ in range(2))
            data[to:to] = data[start : start + 12]
    return bytes(data)


def test_parquet_round_trip(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pip install 'mlpx[data]'")
    import pyarrow.parquet as pq

    columns = {
        "i": pa.array([1, -2, 3], pa.int16()),
        "f": pa.array([0.5, 1e300, -0.0], pa.float64()),
        "h": pa.array([0.25, 2.0, 3.0], pa.float32()),
        "b": pa.array([True, False, True]),
        "d": pa.array([1, 2, 3], pa.int32()).cast(pa.decimal128(12, 2)),
        "c": pa.array(["u", "NA", "ä"]).dictionary_encode(),
        "s": pa.array(["x", "y", "x"], pa.large_string()),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read(tmp_path / "t.parquet", target="s")
    assert table.names == tuple(columns)
    assert table.target == "s"
    expected = {
        "i": [1.0, -2.0, 3.0],
        "f": [0.5, 1e300, 0.0],
        "h": [0.25, 2.0, 3.0],
        "b": [1.0, 0.0, 1.0],
        "d": [1.0, 2.0, 3.0],
    }
    for name, values in expected.items():
        assert table.columns[name].dtype == np.float64
        assert table.columns[name].tolist() == values
    assert table.columns["c"].tolist() == ["u", "NA", "ä"]
    assert table.columns["s"].tolist() == ["x", "y", "x"]
    assert table.is_text("c")


def test_parquet_nulls_unread_types_and_damage(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pip install 'mlpx[data]'")
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    when = pa.array([0, 1, 2], pa.timestamp("s"))
    pq.write_table(pa.table({"a": pa.array([1, None, 3]), "t": pa.array(["u", "v", None]), "when": when}), path)
    with pytest.raises(DataFileError, match=r"'when' is of type timestamp"):
        read(path)
    with pytest.raises(DataFileError, match=r"row 2, column 'a': missing value"):
        read(path, ignore=["when"])
    assert read(path, ignore=["when"], missing="drop").places.tolist() == [1]
    filled = read(path, ignore=["when"], missing="fill")
    assert np.isnan(filled.columns["a"][1])
    assert filled.columns["t"][2] is None
    with pytest.raises(DataFileError, match="'u' is text"):
        read(path, ignore=["when"], missing="fill", numeric=["t"])
    content = path.read_bytes()
    draw = random.Random(3)
    for _ in range(100):
        path.write_bytes(content[: draw.randrange(len(content))])
        with pytest.raises(DataFileError):
            read(path)


def test_parquet_that_holds_far_more_than_its_size_is_refused(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pip install 'mlpx[data]'")
    import pyarrow.parquet as pq

    with pq.ParquetWriter(tmp_path / "t.parquet", pa.schema([("a", pa.float64())]), compression="zstd") as writer:
        part = pa.table({"a": np.zeros(10**6)})
        for _ in range(20):
            writer.write_table(part)
    assert (tmp_path / "t.parquet").stat().st_size < 10**5
    with pytest.raises(DataFileError, match="200 times"):
        read(tmp_path / "t.parquet")


def test_missing_package_is_named_with_its_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'mlpx\[data\]'"):
        read(tmp_path / "t.parquet")
