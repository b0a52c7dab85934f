"""The package in examples/ tests its own layer with the plug-in, as a stranger's package would: in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mlpx import registry
from mlpx.testing import missing_backends

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parents[1] / "examples" / "own_package"
ALL = tuple(name for name in ("numpy", "strict", "torch", "jax") if name not in missing_backends())
FEW = tuple(name for name in ("numpy", "strict") if name in ALL)


def run_its_tests(folder: Path, backends: tuple[str, ...], *options: str) -> subprocess.CompletedProcess[str]:
    plug_in = () if entry_points(group="pytest11", name="mlpx") else ("-p", "mlpx.testing.pytest_plugin")
    given = ("--backends", ",".join(backends), "-p", "no:cacheprovider", *plug_in, *options)
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *given],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backends", [FEW, pytest.param(ALL, marks=pytest.mark.slow)], ids=["few", "all"])
def test_its_tests_pass_on_every_backend(copy, backends):
    ran = run_its_tests(copy, backends)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert f"mlpx backends: ran {', '.join(name for name in registry.names() if name in backends)}" in ran.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("pull = 2 * (", "pull = (", "relative error"),
        ("offset = x[:, None, :] - ", "offset = x[:, None, :] * 1 + ", "expected"),
        ("xp.exp(-params", "__import__('numpy').exp(-params", "strict:device1"),
    ],
    ids=["factor", "sign", "numpy"],
)
def test_its_tests_notice_what_is_wrong(copy, right, wrong, said):
    layer = copy / "radial_basis.py"
    text = layer.read_text(encoding="utf-8")
    assert text.count(right) == 1
    layer.write_text(text.replace(right, wrong), encoding="utf-8")
    ran = run_its_tests(copy, FEW)
    assert ran.returncode == 1
    assert said in ran.stdout


def test_a_required_backend_that_is_missing_fails_its_tests(copy):
    missing = missing_backends()
    if not missing:
        pytest.skip("every backend works here")
    name = next(iter(missing))
    ran = run_its_tests(copy, FEW, "--require-backends", name, "-k", "contract")
    assert ran.returncode == 1
    assert f"required backend {name}" in ran.stdout
