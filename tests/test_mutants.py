"""The list of planted defects cannot rot: every one still applies, is still valid Python, and has its result."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "mutants"


def module(name: str):
    """A file of the folder: tests/ is no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


planting = module("planting")
MUTANTS = planting.listed()
ROOMS = ("mlpx/ops", "mlpx/layers", "mlpx/losses", "mlpx/optim", "mlpx/random", "mlpx/step.py", "mlpx/transfer.py", "backends")
LEAST = 60


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_text_it_replaces_stands_once_and_what_comes_out_is_python(mutant):
    text = (planting.ROOT / mutant.file).read_text(encoding="utf-8")
    ast.parse(mutant.applied(text))
    assert mutant.new != mutant.old
    files = [part for part in mutant.check if part.endswith(".py")]
    assert files
    assert all((planting.ROOT / file).is_file() for file in files)


def test_the_list_is_long_enough_and_covers_the_rooms():
    assert len(MUTANTS) >= LEAST
    assert not [name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1]
    for room in ROOMS:
        assert any(mutant.file.startswith(room) for mutant in MUTANTS), room


def test_every_mutant_has_a_result_and_none_survives_unexplained():
    rows = {row["digest"]: row for row in json.loads(planting.RESULT.read_text(encoding="utf-8"))["mutants"]}
    without = [mutant.name for mutant in MUTANTS if mutant.digest not in rows]
    assert not without, "run `nox -s mutants -- --stale`"
    unexplained = [m.name for m in MUTANTS if rows[m.digest]["verdict"] != "caught" and not m.survives]
    assert not unexplained


def test_the_page_is_that_of_the_result(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    run = module("run")
    result = json.loads(planting.RESULT.read_text(encoding="utf-8"))
    written = (planting.ROOT / "docs" / "reference" / "mutants.md").read_text(encoding="utf-8")
    assert run.page(result) == written, "run `nox -s mutants -- --stale`"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("(1 + xp.cos(", "(1 - xp.cos(", "caught"),
        pytest.param('name = "cosine"\n', 'name = "cosine"  # harmless\n', "survived", marks=pytest.mark.slow),
        ("class Cosine(Schedule):", "raise ImportError\n\n\nclass Cosine(Schedule):", "broken"),
    ],
    ids=["defect", "harmless", "import error"],
)
def test_a_defect_is_caught_a_harmless_change_survives_and_a_broken_module_is_no_catch(monkeypatch, old, new, verdict):
    monkeypatch.syspath_prepend(str(FOLDER))
    check = ("tests/test_schedules.py", "-k", "cosine or Cosine", "--backends", "numpy")
    mutant = planting.Mutant("trial", "trial", "mlpx/optim/schedules.py", old, new, check)
    row = module("run").outcome(mutant)
    assert row["verdict"] == verdict, row["said"]
    assert bool(row["by"]) is (verdict == "caught")
