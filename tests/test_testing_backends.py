"""check_backend: right libraries pass, and a library with a defect is told which need it does not meet."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mlpx import registry
from mlpx.errors import ConfigError
from mlpx.testing import check_backend
from mlpx.testing.probes import NEEDS


@pytest.mark.parametrize("name", ["numpy", "strict", "torch", "jax", "cupy"])
def test_every_backend_that_works_can_run_mlpx(name):
    found = registry.availability(name)
    if not found.ok:
        pytest.skip(f"{name}: {found.reason} (cure: {found.cure})")
    report = check_backend(name)
    assert report.ok, str(report)
    assert report.unmet == ()
    assert len(report.findings) >= 100


def test_a_module_needs_no_plug_in():
    array_api_strict = pytest.importorskip("array_api_strict")
    assert check_backend(array_api_strict).ok
    assert check_backend(np).library == "numpy"


def defective(**changes):
    """NumPy with some functions replaced or, where None, missing."""
    names = {name: getattr(np, name) for name in dir(np) if not name.startswith("__")}
    return SimpleNamespace(
        __name__="defective", **{name: value for name, value in (names | changes).items() if value is not None}
    )


@pytest.mark.parametrize(
    ("changes", "need", "detail", "ok"),
    [
        ({"exp": None}, "functions", "AttributeError", False),
        ({"exp": lambda x: np.exp(x) * 1.001}, "functions", "wrong values", False),
        ({"sum": lambda x, axis=None, keepdims=False, dtype=None: np.sum(x, axis=axis)}, "reductions", "shape", False),
        ({"take": lambda x, indices, axis: x[sorted(indices)]}, "gather", "wrong values", True),
        ({"linalg": SimpleNamespace()}, "decompositions", "AttributeError", True),
        ({"exp": lambda x: np.exp(x.astype(np.float32)).astype(x.dtype)}, "float64", "wrong values", True),
    ],
    ids=["missing", "inaccurate", "ignores keepdims", "wrong gather", "no linalg", "float64 in name only"],
)
def test_a_defect_is_found_under_its_need(monkeypatch, changes, need, detail, ok):
    module = defective(**changes)
    monkeypatch.setattr("mlpx.testing.backend_probes.namespace_of", lambda array: module)
    report = check_backend(module)
    assert need in {one.name for one in report.unmet}
    assert report.ok is ok
    assert any(one.need == need and detail in one.detail for one in report.findings if one.verdict == "fails")
    assert ("cannot run mlpx" in str(report)) is not ok
    assert next(one.without for one in NEEDS if one.name == need) in str(report)


def test_another_dtype_is_a_deviation_and_no_failure(monkeypatch):
    module = defective(argmax=lambda x, axis: np.argmax(x, axis=axis).astype(np.uint32))
    monkeypatch.setattr("mlpx.testing.backend_probes.namespace_of", lambda array: module)
    report = check_backend(module)
    assert report.ok
    assert [one.probe for one in report.findings if one.verdict == "deviates"] == ["argmax"]
    assert "dtype uint32, expected int64" in str(report)


def test_something_that_is_no_array_library_is_reported_and_not_raised():
    import math

    report = check_backend(math)
    assert not report.ok
    assert report.count("fine") == 0


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="unknown backend 'tensorflow'"):
        check_backend("tensorflow")
