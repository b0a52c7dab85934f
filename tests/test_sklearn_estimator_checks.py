"""scikit-learn's estimator checks: ours pass whatever theirs pass, and the Array API checks that theirs are not asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CHECKS = """
import collections, json, sys, warnings
warnings.simplefilter("ignore")
from sklearn.utils.estimator_checks import check_estimator
import sklearn.neural_network as theirs
import mlpx.sklearn as ours
found = {}
for whose, library in (("theirs", theirs), ("ours", ours)):
    results = check_estimator(getattr(library, sys.argv[1])(max_iter=20), on_fail=None, on_skip=None)
    for result in results:
        counts = found.setdefault(whose, {}).setdefault(result["check_name"], collections.Counter())
        counts[result["status"]] += 1
        if result["status"] == "failed":
            counts[repr(result["exception"])] += 1
print(json.dumps(found))
"""


@pytest.fixture(scope="module", params=["MLPClassifier", "MLPRegressor"])
def found(request):
    # in a process of its own: SciPy reads this variable when it is imported
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    run = subprocess.run(
        [sys.executable, "-c", CHECKS, request.param], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.timeout(300)
def test_ours_pass_what_theirs_pass(found):
    for name, theirs in found["theirs"].items():
        assert "failed" not in found["ours"][name], found["ours"][name]
        assert found["ours"][name].get("passed", 0) >= theirs.get("passed", 0), name


@pytest.mark.timeout(300)
def test_the_array_api_checks_run_and_pass(found):
    ours = found["ours"]
    assert ours["check_array_api_input"]["passed"] >= 2
    assert ours["check_array_api_mixed_inputs"]["passed"] >= 1
    assert ours["check_array_api_same_namespace"]["passed"] == 1
    assert not any("failed" in counts for counts in ours.values())
