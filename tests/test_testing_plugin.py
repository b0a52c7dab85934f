"""The pytest plug-in, as a user's project would see it: run in a session of its own."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from mlpx import registry

pytest_plugins = ["pytester"]

A_TEST = """
import pytest

def test_sum(xp, device, dtype):
    assert float(xp.sum(xp.ones(3, dtype=dtype, device=device))) == 3

def test_doubled(backend_variant):
    import numpy as np
    result = backend_variant.wrap(lambda x: x + x)(backend_variant.put(np.ones(3, dtype=np.float32)))
    assert tuple(result.shape) == (3,)
"""

pytestmark = pytest.mark.slow

ABSENT = """
import pytest
from mlpx import registry
from mlpx.registry import Availability, Backend

class Absent(Backend):
    name = "absent"
    libraries = ("absent",)
    def probe(self):
        return Availability(False, "its driver is not there", "install a driver")

registry.register(Absent())
"""


@pytest.fixture
def run(pytester):
    """Run pytest on these files, with the plug-in; by default on NumPy and strict."""
    plugin = () if entry_points(group="pytest11", name="mlpx") else ("-p", "mlpx.testing.pytest_plugin")

    def runs(test: str, *options: str, conftest: str = "", how=pytester.runpytest_inprocess):
        pytester.makepyfile(test_it=test)
        pytester.makeconftest(conftest)
        given = options if "--backends" in options else ("--backends", "numpy,strict", *options)
        return how("-rs", "-p", "no:cacheprovider", "-W", "error", *plugin, *given)

    yield runs
    registry.unregister("absent")


def test_one_test_a_variant_and_a_last_line_that_names_the_backends(run):
    result = run(A_TEST, "--backends", "numpy,strict", "-v")
    result.stdout.fnmatch_lines(
        [
            "*::test_sum*float32-numpy* PASSED*",
            "*::test_sum*float64-strict:device1* PASSED*",
            "*::test_doubled*numpy:readonly* PASSED*",
            "*::test_doubled*strict:static* PASSED*",
            "mlpx backends: ran numpy, strict",
        ]
    )
    result.stdout.no_fnmatch_line("*test_sum*static*")
    assert result.ret == 0


def test_a_missing_backend_is_a_skip_with_reason_and_cure(run):
    result = run(A_TEST, "--backends", "numpy,absent", conftest=ABSENT)
    result.stdout.fnmatch_lines(
        [
            "*SKIPPED*absent: its driver is not there (cure: install a driver)*",
            "mlpx backends: ran numpy; did not run absent: its driver is not there (cure: install a driver)",
        ]
    )
    assert result.ret == 0


def test_a_required_backend_that_is_missing_fails(run):
    result = run(A_TEST, "--backends", "numpy", "--require-backends", "numpy,absent", conftest=ABSENT)
    result.stdout.fnmatch_lines(["*required backend absent: its driver is not there (cure: install a driver)*"])
    assert result.ret == 1
    assert result.parseoutcomes()["errors"] >= 1


def test_a_single_variant_may_be_chosen(run):
    result = run(A_TEST, "--backends", "strict:device2")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["mlpx backends: ran strict"])


def test_an_unknown_backend_is_a_usage_error(run):
    result = run(A_TEST, "--backends", "nunpy")
    result.stdout.fnmatch_lines(["*unknown backend 'nunpy'; did you mean 'numpy'*"])
    assert result.ret != 0


def test_skip_and_strict_xfail_by_backend_or_variant(run):
    result = run(
        """
import pytest

@pytest.mark.mlpx_skip_backend("strict:static", reason="looks at a value")
@pytest.mark.mlpx_xfail_backend("numpy:readonly", reason="writes")
def test_writes(backend_variant):
    import numpy as np
    x = backend_variant.put(np.ones(3))
    x[0] = 2
    assert float(x[0]) == 2

@pytest.mark.mlpx_xfail_backend("numpy", reason="was repaired")
def test_passes(backend_variant):
    pass
""",
        "--backends",
        "numpy,strict",
        "--strict-markers",
    )
    result.assert_outcomes(skipped=1, xfailed=1, passed=3 + 3, failed=2)
    result.stdout.fnmatch_lines(["*strict:static: looks at a value*"])
    result.stdout.fnmatch_lines(["*XPASS(strict)*was repaired*"])


def test_a_mark_without_a_reason_is_refused(run):
    result = run(
        """
import pytest

@pytest.mark.mlpx_skip_backend("numpy")
def test_it(backend_variant):
    pass
"""
    )
    result.stdout.fnmatch_lines(["*mlpx_skip_backend takes a backend's name and reason=*"])
    assert result.ret != 0


def test_a_project_with_its_own_device_and_dtype_is_left_alone(run):
    result = run(
        """
import pytest

@pytest.fixture
def xp():
    return "mine"

@pytest.mark.parametrize("dtype", [1, 2])
@pytest.mark.parametrize("device", ["a"])
def test_own(xp, device, dtype):
    assert (xp, device) == ("mine", "a")
    assert dtype in (1, 2)
"""
    )
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("mlpx backends:*")


def test_the_plug_in_costs_a_session_that_does_not_use_it_no_array_library_and_no_check(run, pytester):
    result = run(
        """
import sys

def test_it():
    assert not {"mlpx.testing.variants", "mlpx.testing.op_checks", "array_api_strict", "torch", "jax"} & set(sys.modules)
""",
        how=pytester.runpytest_subprocess,
    )
    result.assert_outcomes(passed=1)
