"""The tests on the page about mlpx.testing are tests: they pass, and every name and option the page speaks of is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import mlpx.testing
from mlpx.testing.pytest_plugin import SKIP, XFAIL

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "testing.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_tests_on_the_page_run_on_every_way_of_running(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    blocks = [block for block in BLOCK.findall(text) if "def test_" in block]
    assert len(blocks) == 1
    (tmp_path / "test_page.py").write_text(blocks[0], encoding="utf-8")
    plug_in = () if entry_points(group="pytest11", name="mlpx") else ("-p", "mlpx.testing.pytest_plugin")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *plug_in, "--backends", "numpy,strict"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "test_traced_too[strict:static] PASSED" in ran.stdout
    assert "test_that_looks_at_a_value[strict:static] SKIPPED" in ran.stdout
    assert "test_where_it_lives[float32-strict:device1] PASSED" in ran.stdout
    assert "mlpx backends: ran numpy, strict" in ran.stdout


def test_every_check_and_mark_of_the_plug_in_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    for name in mlpx.testing.__all__:
        assert f"`{name}" in text or name in ("BackendReport", "assert_matches_reference", "assert_same_kind", "budgets",
                                              "missing_backends", "variant"), name  # fmt: skip
    for name in (SKIP, XFAIL, "--backends", "--require-backends", "backend_variant", "`xp`", "`device`", "`dtype`"):
        assert name in text


def test_every_name_the_page_speaks_of_is_there():
    for name in re.findall(r"`(check_\w+|assert_\w+|available_\w+)\(", PAGE.read_text(encoding="utf-8")):
        assert hasattr(mlpx.testing, name), name
