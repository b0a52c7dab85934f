"""The folder of checkpoints: what stays, what is loaded, what damage, locks and readers do."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import warnings

import numpy as np
import pytest

from mlpx.errors import (
    CheckpointBusyError,
    CheckpointCorruptError,
    CheckpointError,
    CheckpointNotFoundError,
    CheckpointReadError,
    CheckpointVersionError,
    CheckpointWriteError,
    ConfigError,
    InvalidTypeError,
)
from mlpx.store import checkpoint_folder, durable, folder_lock
from mlpx.store.checkpoints import Checkpoints


def arrays_of(step):
    return {"parameters": np.arange(20.0) + step, "moments": np.full((3, 4), step, "float32").T}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def store(folder):
    with Checkpoints(folder) as checkpoints:
        yield checkpoints


def save(store, *steps):
    return [store.save(step, arrays_of(step), {"epoch": step}) for step in steps]


def assert_is(checkpoint, step):
    assert (checkpoint.step, checkpoint.metadata) == (step, {"epoch": step})
    assert sorted(checkpoint.arrays) == ["moments", "parameters"]
    for name, array in arrays_of(step).items():
        np.testing.assert_array_equal(checkpoint.arrays[name], array, strict=True)


def names(folder):
    return sorted(name for name in os.listdir(folder) if name != ".lock")


def test_save_and_load(store, folder):
    (path,) = save(store, 100)
    assert path == folder / "step-00000100"
    assert sorted(os.listdir(path)) == ["arrays.safetensors", "manifest.json"]
    assert_is(store.latest(), 100)
    assert_is(Checkpoints(folder).load(100), 100)
    assert names(folder) == ["step-00000100"]


def test_the_newest_stay_in_order_of_number(store, folder):
    save(store, 5, 999_999_999, 0, 10**9, 12)
    assert store.steps() == [12, 999_999_999, 10**9]
    assert_is(store.latest(), 10**9)
    assert names(folder) == ["step-00000012", "step-1000000000", "step-999999999"]
    for path in folder.glob("step-*"):  # clocks have no say
        os.utime(path, (1, 1 if path.name.endswith("12") else 0))
    assert_is(store.latest(), 10**9)


def test_the_one_just_saved_always_stays(folder):
    with Checkpoints(folder, keep=1) as store:
        save(store, 50, 20)
        assert store.steps() == [20, 50]
        save(store, 30)
        assert store.steps() == [30, 50]


def test_keep_none_keeps_all(folder):
    with Checkpoints(folder, keep=None) as store:
        save(store, *range(6))
        assert store.steps() == list(range(6))


@pytest.mark.parametrize("keep", [0, -1, 2.5, True, "3"])
def test_keep_is_a_whole_number(keep, folder):
    with pytest.raises(ConfigError, match="keep"):
        Checkpoints(folder, keep=keep)


@pytest.mark.parametrize("step", [-1, 1.5, True, "3", None, 10**18])
def test_step_is_a_whole_number(step, store, folder):
    with pytest.raises(ConfigError, match="step"):
        store.save(step, {}, {})
    assert not folder.exists()


def test_what_cannot_be_stored_changes_nothing(store, folder):
    save(store, 1)
    with pytest.raises(InvalidTypeError):
        store.save(2, {"a": [1]}, {})
    assert store.steps() == [1]
    save(store, 3)
    assert names(folder) == ["step-00000001", "step-00000003"]


def test_the_same_step_again_supersedes_and_never_overwrites(store, folder):
    first, again = store.save(7, arrays_of(1), {"epoch": 1}), store.save(7, arrays_of(7), {"epoch": 7})
    assert (first.name, again.name) == ("step-00000007", "step-00000007.1")
    assert first.exists()
    assert store.steps() == [7]
    assert_is(store.latest(), 7)
    assert_is(store.load(7), 7)
    (again / "manifest.json").unlink()
    with pytest.warns(UserWarning, match=r"fell back to .*step-00000007,"):
        assert store.latest().metadata == {"epoch": 1}


def test_nothing_there(store, folder, tmp_path):
    assert store.steps() == []
    with pytest.raises(CheckpointNotFoundError, match="no folder") as caught:
        store.latest()
    assert caught.value.filename == str(folder)
    folder.mkdir()
    assert store.steps() == []
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint in this folder"):
        store.latest()
    (tmp_path / "file").write_text("")
    for call in (Checkpoints(tmp_path / "file").latest, Checkpoints(tmp_path / "file").steps):
        with pytest.raises(CheckpointNotFoundError, match="no folder"):
            call()
    with pytest.raises(CheckpointWriteError) as caught:
        Checkpoints(tmp_path / "file").save(1, {}, {})
    assert caught.value.errno == errno.ENOTDIR


def test_a_step_that_is_not_there(store):
    save(store, 1, 2)
    with pytest.raises(CheckpointNotFoundError, match=r"of step 3 \(there are: 1, 2\)"):
        store.load(3)


def test_only_unfinished_ones(folder, store):
    folder.mkdir()
    for digit in "ab":
        (folder / f".partial-step-00000003-{digit * 16}").mkdir()
    (folder / f".removed-step-00000001.2-{'c' * 16}").mkdir()
    with pytest.raises(CheckpointNotFoundError, match="2 incomplete ignored"):
        store.latest()
    assert store.steps() == []


def test_leftovers_go_with_the_next_save_and_nothing_else(folder, store, tmp_path):
    folder.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("")
    partial = folder / f".partial-step-00000003-{'a' * 16}"
    partial.mkdir()
    (partial / "arrays.safetensors").write_text("half")
    (folder / f".partial-step-00000004-{'b' * 16}").symlink_to(outside)
    (folder / f".removed-step-00000001-{'c' * 16}").write_text("")
    strangers = [".partial-notes", "step-5", "step-000000005", "step-00000005.01", "notes.txt", ".removed-step-1-x"]
    for name in strangers:
        (folder / name).mkdir()
    save(store, 9)
    assert names(folder) == sorted([*strangers, "step-00000009"])
    assert store.steps() == [9]
    assert (outside / "precious").exists()


def test_a_leftover_that_cannot_be_removed_is_a_warning(folder, store, monkeypatch):
    (folder / f".partial-step-00000003-{'a' * 16}").mkdir(parents=True)
    monkeypatch.setattr(shutil, "rmtree", raiser(OSError(errno.EACCES, "not yours")))
    with pytest.warns(UserWarning, match=r"leftover.*not yours"):
        save(store, 1)
    assert_is(store.latest(), 1)


def raiser(error):
    def call(*_args, **_kwargs):
        raise error

    return call


def damage(path, how):
    """Damage a checkpoint in one of the ways below."""
    arrays, manifest = path / "arrays.safetensors", path / "manifest.json"
    record = json.loads(manifest.read_text())
    entry = record["files"]["arrays.safetensors"]
    data = bytearray(arrays.read_bytes())
    texts = {
        "empty manifest": "",
        "not JSON": "manifest",
        "NaN": '{"step":NaN}',
        "duplicate key": manifest.read_text()[:-1] + ',"step":2}',
        "5,000 digits": json.dumps(record).replace('"step": 2', '"step": ' + "2" * 5000),
        "depth": "[" * 60000,
        "endless": " " * (1 << 20),
        "a list": "[]",
        "no format": json.dumps({**record, "format": "mlpx"}),
        "no files": json.dumps({key: record[key] for key in ("format", "format_version", "step")}),
        "other step": json.dumps({**record, "step": 3}),
        "step a float": json.dumps({**record, "step": 2.0}),
        "outside": json.dumps({**record, "files": {"../step-00000001/arrays.safetensors": entry}}),
        "absolute": json.dumps({**record, "files": {"/etc/passwd": entry}}),
        "one more": json.dumps({**record, "files": {**record["files"], "code.py": entry}}),
        "files a list": json.dumps({**record, "files": ["arrays.safetensors"]}),
        "entry a text": json.dumps({**record, "files": {"arrays.safetensors": "x"}}),
        "size a text": json.dumps({**record, "files": {"arrays.safetensors": {**entry, "size": "1"}}}),
        "digest short": json.dumps({**record, "files": {"arrays.safetensors": {**entry, "sha256": "ab"}}}),
        "digest other": json.dumps({**record, "files": {"arrays.safetensors": {**entry, "sha256": "a" * 64}}}),
        "field more": json.dumps({**record, "files": {"arrays.safetensors": {**entry, "url": "x"}}}),
    }
    if how in texts:
        manifest.write_text(texts[how])
        return
    if how in ("bit flip", "longer", "shorter"):
        data[-3] ^= 4
        arrays.write_bytes({"bit flip": data, "longer": data + b"\0", "shorter": data[:-1]}[how])
        return
    target = {"arrays": arrays, "manifest": manifest}[how.split()[0]]
    aside = path.parent.parent / "aside"
    os.rename(target, aside)
    {
        "missing": lambda: None,
        "symlink": lambda: target.symlink_to(aside),
        "hardlink": lambda: os.link(aside, target),
        "fifo": lambda: os.mkfifo(target),
        "folder": lambda: target.mkdir(),
        "device": lambda: target.symlink_to("/dev/zero"),
    }[how.split()[1]]()


WAYS = [
    *(
        "empty manifest",
        "not JSON",
        "NaN",
        "duplicate key",
        "5,000 digits",
        "depth",
        "endless",
        "a list",
        "no format",
        "no files",
    ),
    *("other step", "step a float", "outside", "absolute", "one more", "files a list", "entry a text", "size a text"),
    *("digest short", "digest other", "field more", "bit flip", "longer", "shorter"),
    *(
        f"{file} {kind}"
        for file in ("arrays", "manifest")
        for kind in ("missing", "symlink", "hardlink", "fifo", "folder", "device")
    ),
]


@pytest.mark.parametrize("how", WAYS)
def test_damage_is_named_and_an_older_one_taken_with_a_warning(how, store, folder):
    older, newer = save(store, 1, 2)
    damage(newer, how)
    with pytest.raises(CheckpointCorruptError, match=r"step-00000002"):
        store.load(2)
    with pytest.warns(UserWarning, match=rf"fell back to {older}, since newer checkpoints are damaged: .*{newer}"):
        assert_is(store.latest(), 1)
    shutil.rmtree(older)
    with pytest.raises(CheckpointCorruptError, match=r"step-00000002"):
        store.latest()
    save(store, 3)
    assert_is(store.latest(), 3)


def test_a_linked_folder_is_refused(store, folder):
    (older,) = save(store, 1)
    (folder / "step-00000002").symlink_to(older)
    (folder / "step-00000003").write_text("")
    with pytest.warns(UserWarning, match=r"step-00000003: not a folder.*step-00000002: not a folder"):
        assert_is(store.latest(), 1)


def test_a_renamed_checkpoint_is_refused(store, folder):
    (path,) = save(store, 1)
    path.rename(folder / "step-00000008")
    with pytest.raises(CheckpointCorruptError, match="of step 1, expected 8"):
        store.latest()


def test_all_damaged_names_all(store):
    for path in save(store, 1, 2):
        (path / "manifest.json").unlink()
    with pytest.raises(CheckpointCorruptError, match="step-00000002") as caught:
        store.latest()
    assert "step-00000001" in caught.value.__notes__[0]


def test_a_newer_version_is_no_damage(store):
    save(store, 1)
    (path,) = save(store, 2)
    record = json.loads((path / "manifest.json").read_text())
    for change in ({"format_version": 2}, {"shards": 4}):
        (path / "manifest.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(CheckpointVersionError, match="upgrade"):
            store.latest()


def test_a_failing_disk(store, folder, monkeypatch):
    save(store, 1, 2)
    real = os.open

    def failing(path, *args, **kwargs):
        if "step-00000002" in str(path):
            raise OSError(errno.EIO, "no")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(CheckpointReadError) as caught:
        store.load(2)
    assert caught.value.errno == errno.EIO
    with pytest.warns(UserWarning, match="fell back"):
        assert_is(store.latest(), 1)
    monkeypatch.setattr(os, "listdir", raiser(OSError(errno.EACCES, "no")))
    with pytest.raises(CheckpointReadError, match="listing") as caught:
        store.steps()
    assert (caught.value.errno, caught.value.filename) == (errno.EACCES, str(folder))


def test_fuzzed_checkpoints_give_a_named_error_or_the_same_content(store, folder):
    (path,) = save(store, 1)
    rng, originals = random.Random(7), {file: file.read_bytes() for file in sorted(path.iterdir())}
    for round_ in range(400):
        file = sorted(originals)[round_ % 2]
        data = bytearray(originals[file])
        if rng.random() < 0.5:
            data[rng.randrange(len(data))] = rng.choice([rng.randrange(256), rng.choice(b'0123456789"{}[],:')])
        else:
            start = rng.randrange(len(data))
            data[start : start + rng.randrange(1, 20)] = rng.randbytes(rng.randrange(3))
        file.write_bytes(data)
        try:
            found = store.latest()
        except CheckpointError:
            assert data != originals[file]
        else:
            assert_is(found, 1)
        file.write_bytes(originals[file])


def test_a_reader_whose_checkpoint_is_pruned_looks_again(store, folder, monkeypatch):
    save(store, 1)
    read, pruned = checkpoint_folder._read_manifest, []

    def prune_then_read(entry):
        manifest = read(entry)
        if not pruned:
            pruned.append(entry.step)
            save(store, 2, 3, 4)
        return manifest

    monkeypatch.setattr(checkpoint_folder, "_read_manifest", prune_then_read)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_is(store.latest(), 4)
    assert pruned == [1]
    pruned.clear()
    monkeypatch.setattr(checkpoint_folder, "_read_manifest", lambda entry: shutil.rmtree(entry.path))
    with pytest.raises(CheckpointNotFoundError, match=r"of step 3 \(there are: 2, 4\)"):
        store.load(3)


def test_pruning_that_fails_is_a_warning(store, monkeypatch):
    save(store, 1, 2, 3)
    monkeypatch.setattr("mlpx.store.checkpoints.remove_tree", raiser(OSError(errno.EACCES, "not yours")))
    with pytest.warns(UserWarning, match=r"step-00000004 is saved, but.*not yours"):
        save(store, 4)
    assert store.steps() == [2, 3, 4]
    monkeypatch.undo()
    save(store, 5)
    assert names(store.folder) == [f"step-0000000{step}" for step in (3, 4, 5)]


def test_what_was_written_is_read_back(store, folder, monkeypatch):
    save(store, 1)
    write = durable._fill

    def rot(fd, data):
        write(fd, data[:-1] + bytes([data[-1] ^ 1]))

    monkeypatch.setattr(durable, "_fill", rot)
    with pytest.raises(CheckpointWriteError, match="read back") as caught:
        save(store, 2)
    assert caught.value.errno == errno.EIO
    assert names(folder) == ["step-00000001"]


def test_the_manifest_is_written_last(store, folder, monkeypatch):
    """A copy of a folder that is under way shows by its missing manifest that it is."""
    made, real = [], os.open

    def note(path, flags, *args, **kwargs):
        made.extend([os.path.basename(path)] if flags & os.O_CREAT else [])
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", note)
    save(store, 1)
    assert made == [".lock", "arrays.safetensors", "manifest.json"]


def test_a_folder_removed_meanwhile_is_not_made_again(store, folder):
    save(store, 1)
    shutil.rmtree(folder)
    for _ in range(2):
        with pytest.raises(CheckpointWriteError, match="removed or replaced") as caught:
            save(store, 2)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(folder))
        assert not folder.exists()
    folder.mkdir()
    (folder / ".lock").write_text("")
    with pytest.raises(CheckpointWriteError, match="removed or replaced"):
        save(store, 2)
    store.close()
    save(store, 3)
    assert store.steps() == [3]


def test_folders_above_are_made(tmp_path):
    with Checkpoints(tmp_path / "a" / "b" / "c") as store:
        save(store, 1)
    assert_is(store.latest(), 1)


def test_two_in_one_process(store, folder):
    save(store, 1)
    with pytest.raises(CheckpointBusyError, match=rf"process {os.getpid()} on .*this process") as caught:
        save(Checkpoints(folder), 2)
    assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, str(folder))
    assert_is(Checkpoints(folder).latest(), 1)
    store.close()
    store.close()
    other = Checkpoints(folder)
    save(other, 2)
    del other  # collected: lets go
    save(store, 3)


def test_two_threads_of_one_store(store, folder, monkeypatch):
    inside, go = threading.Event(), threading.Event()
    publish = checkpoint_folder.publish

    def slow(*args):
        inside.set()
        assert go.wait(10)
        return publish(*args)

    monkeypatch.setattr("mlpx.store.checkpoints.publish", slow)
    thread = threading.Thread(target=save, args=(store, 1))
    thread.start()
    assert inside.wait(10)
    with pytest.raises(CheckpointBusyError, match="another thread"):
        save(store, 2)
    go.set()
    thread.join()
    save(store, 3)
    assert store.steps() == [1, 3]


PRELUDE = """
import os, sys
import numpy as np
from mlpx.errors import CheckpointBusyError
from mlpx.store.checkpoints import Checkpoints
store = Checkpoints(sys.argv[1], keep=2)
def save(step):
    arrays = {"parameters": np.arange(20.0) + step, "moments": np.full((3, 4), step, "float32").T}
    store.save(step, arrays, {"epoch": step})
"""


def start(folder, script):
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(script), folder]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_another_process_is_named_and_a_dead_one_is_no_obstacle(store, folder):
    with start(folder, "save(1); print('saved', flush=True); input()") as other:
        assert other.stdout.readline() == "saved\n"
        with pytest.raises(CheckpointBusyError, match=rf"process {other.pid} on "):
            save(store, 2)
        assert store.steps() == [1]
        other.send_signal(signal.SIGKILL)
    save(store, 2)
    assert store.steps() == [1, 2]


def test_a_forked_child_neither_saves_nor_holds(store, folder):
    """A data worker that outlives a killed parent must not keep the folder locked."""
    script = """
        save(1)
        if os.fork() == 0:
            try:
                save(2)
            except CheckpointBusyError as error:
                print(f"process {os.getppid()} on" in str(error), flush=True)
            input()  # lives on
            os._exit(0)
        os.wait()
    """
    with start(folder, script) as parent:
        assert parent.stdout.readline() == "True\n"
        with pytest.raises(CheckpointBusyError):
            save(store, 3)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        save(store, 3)  # while the child still lives
        parent.stdin.close()
    assert store.steps() == [1, 3]


@pytest.mark.slow
def test_a_reader_beside_a_writer(folder):
    """200 saves: every load succeeds, without warnings, and steps never go back."""
    last, loads = -1, 0
    script = """
        os.fsync = lambda fd: None  # as fast as can be
        save(0)
        print("go", flush=True)
        for step in range(1, 200):
            save(step)
    """
    with start(folder, script) as writer, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert writer.stdout.readline() == "go\n"
        while last < 199:
            running = writer.poll() is None
            found = Checkpoints(folder).latest()
            assert_is(found, found.step)
            assert found.step >= last
            last, loads = found.step, loads + 1
            assert running or last == 199
    assert writer.returncode == 0
    assert loads > 5


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(number, store, folder, monkeypatch):
    monkeypatch.setattr(folder_lock.fcntl, "flock", raiser(OSError(number, "no locks")))
    with pytest.warns(UserWarning, match="has no locks"):
        save(store, 1)
    assert_is(store.latest(), 1)


def test_a_lock_that_fails_otherwise(store, folder, monkeypatch):
    monkeypatch.setattr(folder_lock.fcntl, "flock", raiser(OSError(errno.EIO, "no")))
    with pytest.raises(CheckpointWriteError) as caught:
        save(store, 1)
    assert caught.value.errno == errno.EIO


def test_windows_locks_a_byte_behind_the_text(store, folder, monkeypatch):
    calls = []

    class Msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(fd, mode, count):
            calls.append((os.lseek(fd, 0, os.SEEK_CUR), mode, count))
            if len(calls) > 1:
                raise OSError(errno.EACCES, "taken")

    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt)
    monkeypatch.setattr(folder_lock, "fcntl", None)
    save(store, 1)
    with pytest.raises(CheckpointBusyError, match=f"process {os.getpid()}"):
        save(Checkpoints(folder), 2)
    assert calls == [(1 << 30, 2, 1)] * 2
    folder_lock.wait_for_lock(0)
    assert len(calls) == 2


@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_folders_that_cannot_be_synced(number, passes, store, folder, monkeypatch):
    real = os.fsync

    def fsync(fd):
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(number, "no")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    if passes:
        save(store, 1)
        assert_is(store.latest(), 1)
    else:
        with pytest.raises(CheckpointWriteError):
            save(store, 1)
