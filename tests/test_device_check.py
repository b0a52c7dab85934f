"""The device check: it passes where all is well, finds each planted fault, and outlives sections that crash or hang."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import mlpx
import mlpx_numpy
from mlpx.backend import Device
from mlpx.machine import Memory
from mlpx.testing import strict_backend

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
SLOW = pytest.mark.timeout(300)  # several processes, each of which loads every array library that is here
SECTIONS = {"environment", "random_bits", "transfers", "training", "memory", "timing", "matrix"}


def check(folder: Path, *arguments: str, script: Path = BENCHMARKS / "device_check.py") -> tuple[int, dict, str]:
    """Exit status, result file and output of the script."""
    paths = os.pathsep.join(part for part in (str(ROOT), str(ROOT / "backends"), os.environ.get("PYTHONPATH", "")) if part)
    done = subprocess.run(
        [sys.executable, str(script), "--tiny", "--threads", "1", "--out", str(folder), *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    (written,) = folder.glob("*.json")
    return done.returncode, json.loads(written.read_text(encoding="utf-8")), done.stdout + done.stderr


# ---- as a whole


@SLOW
def test_it_passes_on_numpy_and_says_so_in_a_file_and_a_table(tmp_path):
    quick = [f"--section={name}" for name in sorted(SECTIONS - {"timing"})]
    status, result, output = check(tmp_path, "--device", "numpy", "--patience", "4", *quick)
    assert status == 0, output
    assert {name: said["status"] for name, said in result["sections"].items()} == dict.fromkeys(SECTIONS - {"timing"}, "passed")
    assert result["device"] == "numpy"
    assert result["tiny"]
    assert result["machine"]["processor"]
    assert result["versions"]["numpy"] == np.__version__
    matrix = result["sections"]["matrix"]["facts"]
    assert matrix["checked"] == matrix["of"] > 80
    assert matrix["variants"] == ["numpy", "numpy:readonly"]
    runs = result["sections"]["training"]["facts"]["runs"]
    assert len(runs) == 5
    assert min(run["steps"] for name, run in runs.items() if "L-BFGS" not in name) >= 50
    table = output[output.index("mlpx on numpy") :]
    assert all(f"\n{name}" in table for name in SECTIONS - {"timing"})
    text = json.dumps(result)
    assert str(ROOT) not in text
    assert str(Path.home()) + os.sep not in text


@SLOW
def test_a_device_that_is_not_there_fails_once_with_its_cure_and_skips_the_rest(tmp_path):
    status, result, output = check(tmp_path, "--device", "torch:cuda:99", "--patience", "4")
    assert status == 1
    assert result["sections"].pop("environment")["status"] == "failed"
    assert {said["status"] for said in result["sections"].values()} == {"skipped"}
    assert "torch" in output
    assert "doctor" in json.loads(next(tmp_path.glob("*.json")).read_text())["sections"]["environment"]["facts"]


@pytest.fixture
def broken_copy(tmp_path) -> Path:
    """The script with a section that hangs, one that dies, one that raises, and one that finds a fault; the others are real."""
    copy = tmp_path / "benchmarks"
    shutil.copytree(BENCHMARKS, copy, ignore=shutil.ignore_patterns("results", "__pycache__"))
    bodies = {
        "transfers": "import time\n    record.note(reached=1)\n    record.fail('seen before it hung')\n    time.sleep(600)",
        "training": "import os\n    record.note(reached=2)\n    os._exit(7)",
        "memory": "raise ZeroDivisionError('planted')",
        "timing": "record.skip('nothing to compare with')",
        "matrix": "record.check(False, 'a planted fault')\n    record.headline('last')",
    }
    for name, body in bodies.items():
        (copy / "sections" / f"{name}.py").write_text(f"def run(device, tiny, record):\n    {body}\n")
    return copy / "device_check.py"


@SLOW
def test_sections_that_hang_die_raise_or_find_something_do_not_stop_the_others(broken_copy, tmp_path):
    status, result, output = check(tmp_path / "out", "--device", "numpy", "--patience", "0.3", script=broken_copy)
    assert status == 1
    said = result["sections"]
    assert {name: one["status"] for name, one in said.items()} == {
        "environment": said["environment"]["status"],  # the doctor may need longer than the little patience given here
        "random_bits": "passed",
        "transfers": "timed out",
        "training": "failed",
        "memory": "failed",
        "timing": "skipped",
        "matrix": "failed",
    }
    assert said["transfers"]["failures"] == ["seen before it hung", "ran out of time"]
    assert said["transfers"]["facts"] == {"reached": 1}
    assert said["training"]["facts"] == {"reached": 2}
    assert "ended with status 7" in said["training"]["failures"][0]
    assert "ZeroDivisionError: planted" in said["memory"]["failures"][0]
    assert said["matrix"]["failures"] == ["a planted fault"]
    assert "skipped: nothing to compare with" in output
    assert "FAILED in matrix: a planted fault" in output


def test_when_the_time_is_spent_what_is_left_is_named(broken_copy, tmp_path):
    status, result, _ = check(tmp_path / "out", "--device", "numpy", "--total", "0.5", script=broken_copy)
    assert status == 1
    assert result["sections"]["matrix"]["failures"] == ["no time was left"]
    assert set(result["sections"]) == SECTIONS


# ---- each section, with a fault planted


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Where a section run in this process keeps what it finds."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from sections.record import Record

    yield Record(tmp_path / "record.json")
    for name in [name for name in sys.modules if name.partition(".")[0] == "sections"]:
        del sys.modules[name]


def test_random_bits_that_differ_in_one_place_are_found(record, monkeypatch):
    from sections import random_bits

    def off_by_one_bit(*arguments):
        first, second = mlpx_numpy.threefry.threefry2x32(*arguments)
        first = first.copy()
        first.flat[-1] ^= 1
        return first, second

    random_bits.run("strict:device1", True, record)
    assert record.failures == []
    monkeypatch.setattr(mlpx_numpy.NumPyBackend, "kernels", {**mlpx_numpy.NumPyBackend.kernels, "threefry2x32": off_by_one_bit})
    random_bits.run("strict:device1", True, record)
    assert any("bits, seed 0: 1 of 10007 numbers are not NumPy's" in one for one in record.failures)


def test_a_move_that_shares_memory_or_loses_bits_is_found(record, monkeypatch):
    from sections import transfers

    monkeypatch.setattr(transfers, "LIBRARIES", ("numpy",))
    transfers.run("numpy", True, record)
    assert record.failures == []
    monkeypatch.setattr(mlpx_numpy.NumPyBackend, "from_numpy", lambda self, array, device: array)
    transfers.run("numpy", True, record)
    assert any("changed the other" in one for one in record.failures)
    before = len(record.failures)

    def narrowed(self, array, device):
        return array.astype(np.int32 if array.dtype == np.int64 else array.dtype)

    monkeypatch.setattr(mlpx_numpy.NumPyBackend, "from_numpy", narrowed)
    transfers.run("numpy", True, record)
    assert any("int64 of shape (5,) came back as int32" in one for one in record.failures[before:])


def test_training_that_is_off_in_the_eleventh_digit_is_found(record, monkeypatch):
    from sections import training, workloads

    monkeypatch.setattr(training, "WORKLOADS", [one for one in workloads.WORKLOADS if one.name.startswith("xor")])
    monkeypatch.setattr(training, "learned", lambda *arguments: {})
    training.run("strict:device1", True, record)
    assert record.failures == []
    original = strict_backend.StrictBackend.from_numpy

    def rounded(self, array, device):
        return original(self, array * (1 + 1e-11) if array.dtype == np.float64 else array, device)

    monkeypatch.setattr(strict_backend.StrictBackend, "from_numpy", rounded)
    training.run("strict:device1", True, record)
    assert any("losses are off by" in one for one in record.failures)


def test_a_classifier_that_does_not_learn_is_found(record, monkeypatch):
    from sections import training

    monkeypatch.setattr(training, "digits", lambda: (np.random.default_rng(0).normal(size=(400, 64)), np.arange(400) % 10))
    training.learned(mlpx.device("numpy"), 1, record)
    assert any("accuracy is 0." in one for one in record.failures)


def test_a_wrong_kernel_is_found_by_the_matrix(record, monkeypatch):
    from mlpx.ops import OPS
    from sections import matrix

    def leaky(x):
        y, residuals = OPS["relu"].definition(x)
        return y + np.minimum(x, np.zeros((), x.dtype)) * x.dtype.type(0.01), residuals

    monkeypatch.setattr(mlpx_numpy.NumPyBackend, "kernels", {"relu": leaky})
    matrix.run("numpy", True, record)
    assert any(one.startswith("op relu, seed 0: AssertionError") for one in record.failures)
    assert not any(one.startswith("op tanh") for one in record.failures)


def test_memory_that_is_kept_is_found(record, monkeypatch):
    from sections import memory

    monkeypatch.setattr(memory, "LONG", 3)
    monkeypatch.setattr(memory, "WARM", 1)
    grown = iter([10**9, 10**9 + memory.ALLOWED + 1])
    monkeypatch.setattr(memory, "used", lambda where: next(grown))
    memory.run("numpy", True, record)
    assert len(record.failures) == 1
    assert "8.0 MiB more after 3 steps, allowed are 8" in record.failures[0]


def test_a_network_too_large_must_be_refused(record, monkeypatch):
    from sections import memory

    memory.refused(mlpx.device("numpy"), record)
    assert record.failures == []
    monkeypatch.setattr(mlpx_numpy.NumPyBackend, "memory", lambda self, device: Memory(free=2**62, total=2**22))
    memory.refused(mlpx.device("numpy"), record)
    assert record.failures == ["a network larger than the device's memory was not refused"]


def test_a_gradient_that_is_not_torchs_is_found_and_not_timed(record, monkeypatch):
    pytest.importorskip("torch", reason='torch is not installed (cure: pip install "mlpx[torch]")')
    from sections import timing

    monkeypatch.setattr(timing, "ROUND", 0.001)
    where, size = mlpx.device("numpy"), timing.SIZES[0]
    said = timing.compared(size, where, "cpu", 3, record)
    assert record.failures == []
    assert set(said["contenders"]) == {"mlpx", "torch", "torch fused"}
    assert set(said["ratio"]) == {"torch", "torch fused"}
    original = timing.placed
    monkeypatch.setattr(timing, "placed", lambda x, y, *rest: original(x * 1.000001, y, *rest))
    said = timing.compared(size, where, "cpu", 3, record)
    assert len(record.failures) == 1
    assert said["contenders"] == {}


def test_without_torch_plain_times_are_given_and_the_reason(record, monkeypatch):
    from sections import timing

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(timing, "ROUND", 0.001)
    monkeypatch.setattr(timing, "SIZES", timing.SIZES[:1])
    timing.run("numpy", True, record)
    said = json.loads(record._path.read_text())
    assert said["failures"] == []
    assert "torch skipped: torch cannot be imported" in said["headline"]
    assert said["facts"]["peer"].startswith("skipped: ")


# ---- what is asked of CuPy, on a stand-in


def test_a_gpu_is_known_through_every_library_and_compared_with_torch_on_it(monkeypatch, record):
    from sections import timing
    from sections.places import is_gpu, memory_of

    def place(library: str, name: str) -> Device:
        return Device(types.SimpleNamespace(name=library), name)

    gpus = [place("cupy", "0"), place("torch", "cuda:0"), place("jax", "cuda:0")]
    assert all(map(is_gpu, gpus))
    assert len({memory_of(one) for one in gpus}) == 1
    assert memory_of(place("cupy", "1")) != memory_of(gpus[0])
    assert not any(map(is_gpu, (place("numpy", "cpu"), place("torch", "cpu"), place("jax", "cpu"))))
    cuda = types.SimpleNamespace(is_available=lambda: True)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    assert [timing.torch_device(one) for one in gpus] == [("cuda:0", "")] * 3
    cuda.is_available = lambda: False
    assert timing.torch_device(gpus[0]) == ("", "this torch has no CUDA")


def test_cupys_facts_are_read_by_the_names_that_cupy_has(monkeypatch, record):
    from sections import environment

    runtime = types.SimpleNamespace(
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13020,
        getDeviceProperties=lambda ordinal: {"multiProcessorCount": 132, "l2CacheSize": 52428800},
    )
    nvrtc = types.SimpleNamespace(getVersion=lambda: (13, 0))
    cuda = types.SimpleNamespace(runtime=runtime, nvrtc=nvrtc)
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=cuda))
    assert environment.cuda_versions()["multiprocessors"] == 132
    assert environment.cuda_versions()["nvrtc"] == [13, 0]


def test_a_gpu_that_gives_twice_its_memory_is_found(record):
    from sections import memory

    asked = []

    def zeros(shape, **keywords):
        asked.append(shape)
        if len(asked) == 1:
            raise MemoryError("out of memory")
        return np.zeros(3)

    backend = types.SimpleNamespace(name="cupy", memory=lambda name: Memory(10, 20))
    where = types.SimpleNamespace(
        backend=backend, name="0", native=None, namespace=types.SimpleNamespace(zeros=zeros, uint8="u1")
    )
    memory.exhausted(where, record)
    assert record.failures == []
    memory.exhausted(where, record)
    assert asked == [(40,), (40,)]
    assert "were allocated on a device of 20" in record.failures[0]
