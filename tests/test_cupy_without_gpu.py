"""CuPy's backend on a machine without a GPU: every diagnosis with its cure, and every move on a stand-in for CuPy.

The stand-in keeps what matters about CuPy's devices: a current one, arrays that remember theirs, and no way to touch an
array while another device is current.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import types
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import mlpx_cupy
from mlpx.errors import ConfigError
from mlpx.machine import Availability
from mlpx_cupy import CuPyBackend
from mlpx_cupy.diagnosis import Surroundings, cuda_major, diagnose, installed_packages, missing_libraries
from mlpx_cupy.driver import LIBRARY, Driver, ask_driver

WORKS = Availability(True)
WORKING = Driver(version=13000, capabilities=((9, 0),))
ONE = {"cupy-cuda13x": "14.2.0"}
BOTH_EXTRAS = 'pip install "mlpx[cuda13]" (or "mlpx[cuda12]" for drivers before 580)'


def surroundings(
    packages=ONE, module=True, driver=WORKING, imported=WORKS, missing=(), environment=None, imports=None
) -> Surroundings:
    def import_it(name: str, cure: str) -> Availability:
        assert name == "cupy"
        if imports is not None:
            imports.append(cure)
        return imported

    return Surroundings(
        packages=lambda: packages,
        module_installed=lambda name: module,
        driver=lambda: driver,
        imports_cleanly=import_it,
        missing_libraries=lambda names: missing,
        environment=environment or {},
    )


def test_where_everything_is_there_cupy_works():
    assert diagnose(surroundings()) == Availability(True)
    assert diagnose(surroundings(packages={"cupy": "14.0.1"})) == Availability(True)  # conda's name says no CUDA version
    assert diagnose(surroundings(packages={"cupy-cuda12x": "14.2.0"}, driver=Driver(version=12040, capabilities=((7, 0),)))).ok
    assert diagnose(surroundings(packages={})).ok  # built in place


ROWS = {
    "no CuPy": ({"packages": {}, "module": False}, "CuPy is not installed", BOTH_EXTRAS),
    "two CuPys": (
        {"packages": {"cupy-cuda13x": "14.2.0", "cupy-cuda12x": "14.2.0"}},
        "2 CuPy packages are installed (cupy-cuda12x, cupy-cuda13x); they overwrite each other's files",
        "pip uninstall cupy-cuda12x cupy-cuda13x, then " + BOTH_EXTRAS,
    ),
    "half removed": (
        {"module": False},
        "cupy-cuda13x is installed, but its module cupy is gone",
        "pip uninstall cupy-cuda13x, then " + BOTH_EXTRAS,
    ),
    "for AMD": ({"packages": {"cupy-rocm-7-0": "14.0.0"}}, "built for AMD GPUs", "pip uninstall cupy-rocm-7-0"),
    "too old a CuPy": ({"packages": {"cupy-cuda12x": "13.6.0"}}, "CuPy 13.6.0 is older than 14", "pip uninstall cupy-cuda12x"),
    "no driver": (
        {"driver": Driver(load_error="libcuda.so.1: cannot open shared object file")},
        "no NVIDIA driver here (libcuda.so.1: cannot open shared object file)",
        "NVIDIA container toolkit and --gpus all; under WSL the driver belongs in Windows",
    ),
    "driver older than the wheel": (
        {"driver": Driver(version=12040, capabilities=((9, 0),))},
        "it runs CUDA 12.4, the installed CuPy is built for CUDA 13",
        'update the driver, or install CuPy for CUDA 12: pip uninstall cupy-cuda13x, then pip install "mlpx[cuda12]"',
    ),
    "no device": ({"driver": Driver(version=13000)}, "the driver finds no GPU", "check nvidia-smi"),
    "hidden devices": (
        {"driver": Driver(version=13000), "environment": {"CUDA_VISIBLE_DEVICES": ""}},
        "finds no GPU (cuInit returned 100); CUDA_VISIBLE_DEVICES='' says which",
        "unset CUDA_VISIBLE_DEVICES, or set it to 0",
    ),
    "cuInit 100, hidden": (
        {"driver": Driver(status=100), "environment": {"CUDA_VISIBLE_DEVICES": "7"}},
        "CUDA_VISIBLE_DEVICES='7'",
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "cuInit 100": ({"driver": Driver(status=100)}, "finds no GPU (cuInit returned 100)", "a container needs --gpus all"),
    "cuInit 802": ({"driver": Driver(status=802)}, "not ready yet (cuInit returned 802)", "nvidia-fabricmanager"),
    "cuInit 803": ({"driver": Driver(status=803)}, "different versions (cuInit returned 803)", "reboot after a driver update"),
    "cuInit 804": (
        {"driver": Driver(status=804)},
        "forward-compatibility libraries",
        "cuda-compat folder out of LD_LIBRARY_PATH",
    ),
    "cuInit 304": ({"driver": Driver(status=304)}, "refused the driver (cuInit returned 304)", "numba.cuda"),
    "cuInit 999": ({"driver": Driver(status=999)}, "unknown error (cuInit returned 999)", "nvidia_uvm"),
    "cuInit 3": ({"driver": Driver(status=3)}, "before this process was forked", "get_context('spawn')"),
    "another status": ({"driver": Driver(status=46)}, "failed with status 46", "nvidia-smi"),
    "GPU older than CUDA 13": (
        {"driver": Driver(version=13000, capabilities=((7, 0), (6, 1)))},
        "compute capability 7.0, CUDA 13 starts at 7.5",
        'pip install "mlpx[cuda12]"',
    ),
    "broken import": (
        {"imported": Availability(False, "cupy is installed but does not import", "reinstall it")},
        "does not import",
        "reinstall it",
    ),
    "no CUDA libraries": (
        {"missing": ("nvrtc", "cublas")},
        "CuPy is installed, but not CUDA's nvrtc, cublas",
        'pip install "mlpx[cuda13]"',
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_finding_has_its_reason_and_its_cure(row):
    given, reason, cure = ROWS[row]
    found = diagnose(surroundings(**given))
    assert not found.ok
    assert reason in found.reason
    assert cure in found.cure
    assert "{" not in found.reason + found.cure


@pytest.mark.parametrize("row", [row for row in ROWS if row not in {"broken import", "no CUDA libraries"}])
def test_cupy_is_not_imported_where_it_cannot_work(row):
    imports = []
    diagnose(surroundings(**ROWS[row][0], imports=imports))
    assert imports == []
    diagnose(surroundings(imports=imports))
    assert len(imports) == 1


@pytest.mark.parametrize(
    ("name", "major"), [("cupy-cuda13x", 13), ("cupy-cuda12x", 12), ("cupy-cuda113", 11), ("cupy-cuda102", 10), ("cupy", None)]
)
def test_the_wheels_name_tells_its_cuda(name, major):
    assert cuda_major({name: "14.0.0"}) == major


def metadata(folder: Path, name: str, version: str) -> None:
    made = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_installed_packages_are_cupys_own_only(tmp_path):
    assert installed_packages([str(tmp_path), str(tmp_path / "missing")]) == {}
    for name in ("cupy-cuda13x", "cupy-xarray", "cupynumeric", "numpy"):
        metadata(tmp_path, name, "14.2.0")
    assert installed_packages([str(tmp_path)]) == {"cupy-cuda13x": "14.2.0"}
    metadata(tmp_path, "cupy-cuda12x", "13.6.0")
    assert installed_packages([str(tmp_path)]) == {"cupy-cuda13x": "14.2.0", "cupy-cuda12x": "13.6.0"}
    assert CuPyBackend(Surroundings(packages=lambda: {"cupy-cuda13x": "14.2.0"})).version() == "14.2.0"


# ---- the driver


class FakeDriver:
    """libcuda, as ctypes shows it."""

    def __init__(self, *, init=0, version=13000, count=2, version_status=0, count_status=0):
        self.init, self.version, self.count = init, version, count
        self.version_status, self.count_status = version_status, count_status

    def cuInit(self, flags):
        assert flags == 0
        return self.init

    def cuDriverGetVersion(self, out):
        out._obj.value = self.version
        return self.version_status

    def cuDeviceGetCount(self, out):
        out._obj.value = self.count
        return self.count_status

    def cuDeviceGet(self, out, ordinal):
        out._obj.value = 10 + ordinal
        return 0

    def cuDeviceGetAttribute(self, out, attribute, device):
        out._obj.value = {(75, 10): 9, (76, 10): 0, (75, 11): 8, (76, 11): 6}[attribute, device.value]
        return 0


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        (FakeDriver(), Driver(version=13000, capabilities=((9, 0), (8, 6)))),
        (FakeDriver(count=0), Driver(version=13000)),
        (FakeDriver(init=803), Driver(status=803)),
        (FakeDriver(version_status=999), Driver(status=999)),
        (FakeDriver(count_status=100), Driver(status=100, version=13000)),
    ],
)
def test_the_driver_is_asked_step_by_step(library, expected):
    def load(name):
        assert name == LIBRARY
        return library

    assert ask_driver(load) == expected


def test_a_driver_that_cannot_be_loaded_says_why():
    def load(name):
        raise OSError(f"{name}: cannot open shared object file")

    assert ask_driver(load) == Driver(load_error=f"{LIBRARY}: cannot open shared object file")


def test_the_real_driver_is_asked_without_harm():
    found = ask_driver()
    try:
        ctypes.CDLL(LIBRARY)
        error = ""
    except OSError as raised:
        error = str(raised)
    assert found.load_error == error
    assert not error or found == Driver(load_error=error)


def test_cudas_libraries_are_looked_for_as_cupy_does(monkeypatch):
    pathfinder = types.ModuleType("cuda.pathfinder")
    asked = []

    def load(name):
        asked.append(name)
        if name == "cublas":
            raise RuntimeError("Failure finding libcublas.so")

    pathfinder.load_nvidia_dynamic_lib = load
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", pathfinder)
    assert missing_libraries(("nvrtc", "cublas", "cudart")) == ("cublas",)
    assert asked == ["nvrtc", "cublas", "cudart"]
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", None)
    assert missing_libraries(("nvrtc",)) == ()


# ---- the backend, on a stand-in for CuPy


class FakeDevice:
    current: ClassVar[list[int]] = [0]

    def __init__(self, ordinal):
        self.id = ordinal

    def __enter__(self):
        FakeDevice.current.append(self.id)

    def __exit__(self, *caught):
        FakeDevice.current.pop()

    def __eq__(self, other):
        return self.id == other.id

    def __hash__(self):
        return self.id

    def synchronize(self):
        FAKE_CALLS.append(("synchronize", self.id))

    @property
    def mem_info(self):
        return 10 + self.id, 20


FAKE_CALLS: list = []


class FakeArray:
    """An array on one GPU: usable only while that GPU is the current one."""

    def __init__(self, values):
        self.values = np.array(values, order="C")
        self.device = FakeDevice(FakeDevice.current[-1])
        self.dtype, self.shape = self.values.dtype, self.values.shape

    def __add__(self, other):
        if FakeDevice.current[-1] != self.device.id:
            raise ValueError("Array device must be same as the current device")
        return FakeArray(self.values + getattr(other, "values", other))


def fake_cupy() -> types.ModuleType:
    cupy = types.ModuleType("cupy")

    def array(given, copy, order):
        assert copy
        assert order == "C"
        return FakeArray(given.values if isinstance(given, FakeArray) else given)

    def asnumpy(array, order):
        assert order == "C"
        assert FakeDevice.current[-1] == array.device.id
        return array.values.copy()

    cupy.array, cupy.asnumpy = array, asnumpy
    cupy.cuda = types.SimpleNamespace(Device=FakeDevice, runtime=types.SimpleNamespace(getDeviceCount=lambda: 2))
    chosen = {}
    cupy._core = types.SimpleNamespace(
        get_compute_type=lambda dtype: chosen.get(dtype, 1),
        set_compute_type=chosen.__setitem__,
        _routines_linalg=types.SimpleNamespace(COMPUTE_TYPE_FP32=4, COMPUTE_TYPE_TF32=7),
    )
    return cupy


@pytest.fixture
def backend(monkeypatch) -> CuPyBackend:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    monkeypatch.delenv("CUPY_TF32", raising=False)
    FAKE_CALLS.clear()
    return CuPyBackend(surroundings())


def test_arrays_are_made_on_the_device_asked_for_and_come_back(backend):
    assert backend.devices() == ("0", "1")
    given = np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1]
    there = backend.from_numpy(given, "1")
    assert backend.device_name(there) == "1"
    back = backend.to_numpy(there)
    assert back.tobytes() == np.ascontiguousarray(given).tobytes()
    moved = backend.move(there, "0")
    assert backend.device_name(moved) == "0"
    moved.values[:] = 0
    assert backend.to_numpy(there).tolist() == given.tolist()
    assert FakeDevice.current == [0]


def test_bfloat16_comes_back_as_float32(backend):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    back = backend.to_numpy(backend.from_numpy(np.array([1.5, -2.0], ml_dtypes.bfloat16), "0"))
    assert back.dtype == np.float32
    assert back.tolist() == [1.5, -2.0]


def test_a_step_runs_on_the_device_of_its_state(backend):
    def step(state, batch):
        return {"w": state["w"] + batch[0]}, {}

    state, batch = {"w": backend.from_numpy(np.ones(3), "1")}, (backend.from_numpy(np.ones(3), "1"), ())
    with pytest.raises(ValueError, match="must be same as the current device"):
        step(state, batch)
    state, _ = backend.compile(step, (state, batch))(state, batch)
    assert backend.device_name(state["w"]) == "1"
    assert backend.to_numpy(state["w"]).tolist() == [2.0, 2.0, 2.0]
    assert FakeDevice.current == [0]
    assert backend.compile(step, ()) is step


def test_waiting_and_memory_are_asked_of_the_device(backend):
    backend.synchronize("1")
    assert FAKE_CALLS == [("synchronize", 1)]
    assert backend.memory("1") == (11, 20)


@pytest.mark.parametrize(("asked", "inside"), [("ieee", 4), ("tf32", 7)])
def test_the_compute_type_is_set_for_a_while_and_put_back(backend, asked, inside):
    core = sys.modules["cupy"]._core
    for before in (1, 4, 7):
        core.set_compute_type(np.float32, before)
        seen = None
        with suppress(ZeroDivisionError), backend.precision(asked):
            seen = core.get_compute_type(np.float32)
            raise ZeroDivisionError
        assert seen == inside
        assert core.get_compute_type(np.float32) == before


def test_without_a_switch_a_promise_that_cannot_be_kept_is_refused(backend, monkeypatch):
    del sys.modules["cupy"]._core
    with backend.precision("ieee"):
        pass
    with pytest.raises(ConfigError, match="start Python with CUPY_TF32=1"):
        backend.precision("tf32")
    monkeypatch.setenv("CUPY_TF32", "1")
    with pytest.raises(ConfigError, match=r"precision='ieee' cannot be promised.*CUPY_TF32=0"):
        backend.precision("ieee")
    with backend.precision("tf32"):
        pass


def test_precisions_that_plain_cupy_does_not_have_are_refused(backend):
    with pytest.raises(ConfigError, match=r"precision='bf16' is not available on cupy \(available: ieee, tf32\)"):
        backend.precision("bf16")


# ---- the real CuPy, where it is installed


def test_with_cupy_installed_and_no_driver_everything_still_runs_on_numpy():
    """Needs CuPy and no GPU; skipped elsewhere."""
    if not installed_packages(sys.path):
        pytest.skip('CuPy is not installed. Cure: pip install "mlpx[cuda13]"')
    if not ask_driver().load_error:
        pytest.skip("this machine has an NVIDIA driver")
    code = """if True:
        import sys
        import numpy as np
        from mlpx import registry, transfer
        found = registry.availability("cupy")
        assert not found.ok and "no NVIDIA driver" in found.reason, found
        assert str(transfer.device("auto")) == "numpy"
        assert transfer.to_numpy(np.ones(2)).tolist() == [1, 1]
        assert "cupy" not in sys.modules
        backend = registry.find("cupy")
        import cupy
        assert backend.namespace().__name__ == "array_api_compat.cupy"
        assert backend.version() == cupy.__version__
        before = cupy._core.get_compute_type(np.float32)
        with backend.precision("ieee"):
            assert cupy._core.get_compute_type(np.float32) == cupy._core._routines_linalg.COMPUTE_TYPE_FP32
        assert cupy._core.get_compute_type(np.float32) == before
        assert backend.native_device("0") == cupy.cuda.Device(0)
        print("ok")
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ok\n"


def test_the_plugin_imports_no_cupy():
    assert "import cupy" not in "\n".join(
        line for line in Path(mlpx_cupy.__file__).read_text().splitlines() if not line.startswith(" ")
    )
