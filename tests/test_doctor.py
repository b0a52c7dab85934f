"""`doctor` tells what works, what does not and the cure, and survives whatever a library does to its process."""

from __future__ import annotations

import io
import json
import sys
import time

import numpy as np
import pytest
from rich.console import Console

from mlpx import registry
from mlpx.cli import doctor
from mlpx.cli.doctor import BackendReport, DeviceReport, Report
from mlpx.registry import Availability, Memory
from mlpx_numpy import NumPyBackend

pytestmark = pytest.mark.slow

BUDGET_SECONDS = 60.0  # ten on a quiet machine


class Standin(NumPyBackend):
    """NumPy under another name, with its arrays left to NumPy."""

    libraries = ("standin",)

    def __init__(self, name: str = "standin") -> None:
        self.name = name


@pytest.fixture
def known(monkeypatch):
    """Make exactly these backends the known ones, by `register`."""
    numpy = registry.find("numpy")

    def only(*backends):
        monkeypatch.setattr(registry, "names", lambda: ("numpy", *(backend.name for backend in backends)))
        for backend in (numpy, *backends):
            registry.register(backend)
            made.append(backend.name)

    made: list[str] = []
    yield only
    for name in made:
        registry.unregister(name)


def rendered(report: Report) -> str:
    out = io.StringIO()
    doctor.render(report, Console(file=out, width=200))
    return out.getvalue()


@pytest.fixture(scope="module")
def full() -> tuple[Report, float]:
    start = time.perf_counter()
    return doctor.report(), time.perf_counter() - start


def test_the_report_tells_what_every_backend_says_of_itself(full):
    report, seconds = full
    assert seconds < BUDGET_SECONDS
    assert [backend.name for backend in report.backends] == list(registry.names())
    for backend in report.backends:
        ok, reason, cure = registry.availability(backend.name)
        assert (backend.ok, backend.reason, backend.cure) == (ok, reason, cure)
        assert bool(backend.devices) == ok
        assert backend.ok or (backend.reason and backend.cure)
    assert report.healthy
    assert report.versions["numpy"] == np.__version__
    assert report.versions["python"] == sys.version.split()[0]
    assert report.auto == ("cupy:0" if registry.availability("cupy").ok else "numpy")
    assert any("blas" in pool["name"] or "mkl" in pool["name"] or "accelerate" in pool["name"].lower() for pool in report.blas)


def test_every_device_multiplied_to_float32_accuracy(full):
    for backend in full[0].backends:
        for device in backend.devices:
            assert device.problem == ""
            assert 0 < device.error < doctor.LARGEST_ERROR
            assert device.free is None or 0 < device.free <= device.total


def test_the_report_is_json_and_is_readable(full):
    report, _ = full
    assert json.loads(json.dumps(report.to_dict()))["backends"][0]["name"] == "numpy"
    text = rendered(report)
    for backend in report.backends:
        assert f"{'✓' if backend.ok else '✗'} {backend.name}" in text
        assert backend.reason[:80] in text
        assert backend.cure[:80] in text
    assert f'device="auto" picks {report.auto}' in text


def test_quick_touches_no_device(full):
    report = doctor.report(quick=True)
    assert [backend.name for backend in report.backends] == [backend.name for backend in full[0].backends]
    assert not any(backend.devices for backend in report.backends)


def test_a_product_in_less_than_ieee_float32_is_a_problem(known):
    class HalfWidth(np.ndarray):
        """Multiplies in float16, as a GPU with TF32 switched on would in ten bits."""

        def __matmul__(self, other):
            return (np.asarray(self, np.float16) @ np.asarray(other, np.float16)).astype(np.float32)

    class Inexact(Standin):
        libraries = (__name__.partition(".")[0],)

        def from_numpy(self, array, device):
            return np.array(array).view(HalfWidth)

    known(Inexact("inexact"))
    report = doctor.report()
    device = report.backends[1].devices[0]
    assert device.error > doctor.LARGEST_ERROR
    assert "off by" in device.problem
    assert "64 expected" in device.problem
    assert not report.healthy
    assert "off by" in rendered(report)


def test_whatever_a_backend_raises_is_its_own_line_only(known):
    class NoDevices(Standin):
        def devices(self):
            raise RuntimeError("driver lost")

    class NoProduct(Standin):
        def from_numpy(self, array, device):
            raise ValueError("no kernel image\nis available")

    class NoProbe(Standin):
        def probe(self):
            raise OSError("half a file")

    known(NoDevices("nodevices"), NoProduct("noproduct"), NoProbe("noprobe"))
    numpy, nodevices, noproduct, noprobe = doctor.report().backends
    assert numpy.ok
    assert numpy.devices[0].problem == ""
    assert not nodevices.ok
    assert "RuntimeError: driver lost" in nodevices.reason
    assert noproduct.devices[0].problem == "ValueError: no kernel image is available"
    assert not noprobe.ok
    assert "half a file" in noprobe.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.abort()", "ended with status -6" if sys.platform != "win32" else "ended with status"),
        ("import sys; sys.exit('libcuda: version mismatch')", "ended with status 1: libcuda: version mismatch"),
        ("pass", "ended with status 0: no message"),
        ("import time; time.sleep(60)", "given up: "),
    ],
)
def test_a_library_that_takes_its_process_down_is_an_answer(code, reason):
    found = doctor._ask("backend", command=(sys.executable, "-c", code), seconds=2.0)
    assert found["ok"] is False
    assert reason in found["reason"]
    assert found["cure"]


def test_noise_before_the_answer_does_not_matter():
    code = "print('WARNING: no GPU'); print('{\"ok\": true}')"
    assert doctor._ask("backend", command=(sys.executable, "-c", code)) == {"ok": True}


def test_only_variables_that_a_backend_names_and_that_are_set_are_shown(known, monkeypatch):
    class Sensitive(Standin):
        environment = ("MLPX_TEST_SET", "MLPX_TEST_UNSET")

    known(Sensitive("sensitive"))
    monkeypatch.setenv("MLPX_TEST_SET", "1")
    monkeypatch.setenv("MLPX_TEST_OTHER", "1")
    report = doctor.report(quick=True)
    assert report.environment["MLPX_TEST_SET"] == "1"
    assert not {"MLPX_TEST_UNSET", "MLPX_TEST_OTHER"} & set(report.environment)
    assert "MLPX_TEST_SET=1" in rendered(report)


def test_a_remark_of_a_working_backend_is_shown(known):
    class Remarking(Standin):
        def probe(self):
            return Availability(True, "its fast path is missing", "pip install it")

        def memory(self, device):
            return Memory(3 * 2**30, 4 * 2**30)

    known(Remarking("remarking"))
    text = rendered(doctor.report())
    assert "✓ remarking" in text
    assert "remarking: its fast path is missing\n    → pip install it" in text
    assert "3.0 of 4.0 GiB" in text


def test_what_a_library_says_is_never_taken_for_markup():
    broken = BackendReport("b", True, devices=(DeviceReport("b:0", problem="IndexError: [/red] x[0]"),))
    report = Report({}, "[bold]system", [], (broken, BackendReport("c", False, "[red]no", 'pip install "mlpx[cuda13]"')))
    text = rendered(report)
    for words in ("IndexError: [/red] x[0]", "[bold]system", "[red]no", 'pip install "mlpx[cuda13]"'):
        assert words in text
