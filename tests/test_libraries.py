"""The example plug-ins: right where their library is installed, an answer with a cure where not; and the page of the survey."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import mlpx
from mlpx import layers, optim, registry
from mlpx.registry import Backend
from mlpx.testing import check_backend, check_loss, check_op, check_optimizer

ROOT = Path(__file__).parents[1]
PLUG_INS = {path.stem.removesuffix("_backend"): path for path in sorted((ROOT / "examples" / "backends").glob("*_backend.py"))}
LINES = 45


def loaded(path: Path):
    if path.stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[path.stem])
    return sys.modules[path.stem]


@pytest.fixture(params=PLUG_INS)
def plugged_in(request):
    """A library's backend, known for one test; a skip with reason and cure where the library is not installed."""
    registry.register(loaded(PLUG_INS[request.param]).backend)
    try:
        found = registry.availability(request.param)
        if not found.ok:
            pytest.skip(f"{request.param}: {found.reason} (cure: {found.cure})")
        yield request.param
    finally:
        registry.unregister(request.param)


@pytest.mark.parametrize("name", PLUG_INS)
def test_a_plug_in_is_short_imports_no_library_and_says_what_is_missing(name):
    tree = ast.parse(PLUG_INS[name].read_text(encoding="utf-8"))
    imported = {one.module or "" for one in tree.body if isinstance(one, ast.ImportFrom)}
    imported |= {alias.name for one in tree.body if isinstance(one, ast.Import) for alias in one.names}
    assert name not in {one.partition(".")[0] for one in imported}
    code = [line for line in ast.unparse(tree).splitlines() if line.strip() and '"""' not in line]
    assert len(code) <= LINES
    backend = loaded(PLUG_INS[name]).backend
    assert isinstance(backend, Backend)
    assert backend.name == name
    found = backend.probe()
    assert found.ok or (found.reason and "pip install" in found.cure)


def test_the_library_can_run_mlpx(plugged_in):
    report = check_backend(plugged_in)
    assert report.ok, str(report)


@pytest.mark.parametrize("op", ["affine", "gelu", "softmax_cross_entropy", "layer_norm", "embedding", "dropout"])
def test_ops_keep_their_contract(plugged_in, op):
    check_op(op, plugged_in)


def test_a_loss_and_an_update_rule_keep_theirs(plugged_in):
    check_loss("huber", variants=plugged_in)
    check_optimizer(optim.Adam(), plugged_in)


def test_a_trainer_learns_there_and_gives_back_what_it_was_given(plugged_in):
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(12, 2)
    y = (x[:, 0] > 0).astype(np.int32)
    trainer = mlpx.Trainer(mlpx.Sequential(layers.Dense(2, 4, activation="tanh"), layers.Dense(4, 2)), device=plugged_in)
    history = trainer.fit(x, y, epochs=8, batch_size=5, progress=False)
    assert history["loss"][-1] < history["loss"][0]
    assert isinstance(trainer.predict(x), np.ndarray)


def test_the_page_is_that_of_the_records():
    survey = loaded(ROOT / "benchmarks" / "library_survey.py")
    assert survey.page(survey.records()) == survey.PAGE.read_text(encoding="utf-8")
    assert {record["library"] for record in survey.records()} == set(PLUG_INS)


@pytest.mark.parametrize(
    ("failed", "ok", "said"),
    [({}, True, "works"), ({"layers": {"a": "b"}}, True, "works except"), ({"training": {"a": "b"}}, True, "does not"),
     ({}, False, "does not")],
)  # fmt: skip
def test_what_a_record_means(failed, ok, said):
    survey = loaded(ROOT / "benchmarks" / "library_survey.py")
    record = json.loads(next(survey.RECORDS.glob("*.json")).read_text(encoding="utf-8"))
    for part in ("ops", "layers", "losses", "optimizers", "training"):
        record[part]["failed"] = failed.get(part, {})
    record["with_plug_in"] |= {"ok": ok, "unmet": []}
    assert survey.verdict(record) == said
