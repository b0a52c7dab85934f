"""Scripts that stay as they are, and estimators that move between the two libraries."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from tolerances import SAME_NUMBERS

from mlpx import sklearn as ours
from mlpx.errors import ConfigError, InvalidTypeError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

X, Y = datasets.load_iris(return_X_y=True)
SCRIPT = """
import sys
from sklearn.neural_network import MLPClassifier, MLPRegressor
print(MLPClassifier.__module__, MLPRegressor.__module__, *sys.argv[1:])
print(type(MLPClassifier(max_iter=400, tol=0.1).fit([[0.0], [1.0]], [0, 1]).coefs_[0]).__module__)
"""


def accel(*arguments):
    command = [sys.executable, "-m", "mlpx", "accel", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def test_a_script_gets_ours_and_its_arguments(script):
    run = accel("--verbose", script, "--depth", "3")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["mlpx.sklearn.classifier mlpx.sklearn.regressor --depth 3", "numpy"]
    assert "BernoulliRBM stays scikit-learn's: it is no multilayer perceptron" in run.stderr


def test_a_script_can_compute_elsewhere(script):
    pytest.importorskip("torch")
    run = accel("--device", "torch:cpu", script)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[1] == "torch"


def test_a_script_keeps_its_own_exit_status_and_traceback(tmp_path):
    path = tmp_path / "failing.py"
    path.write_text("raise ValueError('of the script')", encoding="utf-8")
    run = accel(path)
    assert run.returncode == 1
    assert "Traceback" in run.stderr
    assert "failing.py" in run.stderr
    path.write_text("raise SystemExit(7)", encoding="utf-8")
    assert accel(path).returncode == 7


def test_no_script(tmp_path):
    run = accel(tmp_path / "nothing.py")
    assert run.returncode == 3
    assert "no such script" in run.stderr


def test_install_and_uninstall():
    theirs = neural_network.MLPClassifier
    ours.install()
    try:
        assert neural_network.MLPClassifier is ours.MLPClassifier
        assert neural_network.MLPRegressor is ours.MLPRegressor
    finally:
        ours.uninstall()
    assert neural_network.MLPClassifier is theirs


def test_what_was_imported_before_is_named(caplog):
    from types import ModuleType

    early = ModuleType("an_early_importer")
    early.MLPClassifier = neural_network.MLPClassifier
    sys.modules[early.__name__] = early
    try:
        with caplog.at_level(logging.WARNING, "mlpx.accel"):
            ours.install()
    finally:
        ours.uninstall()
        del sys.modules[early.__name__]
    assert "MLPClassifier in module an_early_importer stays scikit-learn's: it was imported before" in caplog.text


TARGETS = {"three": Y, "two": Y > 0, "text": np.asarray(["a", "b", "c"])[Y], "bits": np.eye(3, dtype=int)[Y]}


@pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
def test_a_classifier_moves_both_ways(y):
    theirs = neural_network.MLPClassifier(max_iter=20, random_state=0).fit(X, y)
    mine = ours.MLPClassifier.from_sklearn(pickle.loads(pickle.dumps(theirs)))
    assert_array_equal(mine.predict(X), theirs.predict(X))
    assert_allclose(mine.predict_proba(X), theirs.predict_proba(X), rtol=SAME_NUMBERS)
    back = mine.to_sklearn()
    assert type(back) is neural_network.MLPClassifier
    assert_array_equal(back.predict(X), theirs.predict(X))
    assert_array_equal(back.predict_proba(X), theirs.predict_proba(X))
    assert back.get_params() == theirs.get_params()
    back.coefs_[0][:] = 0
    assert mine.coefs_[0].any()


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_a_regressor_moves_both_ways(loss):
    theirs = neural_network.MLPRegressor(loss, max_iter=20, random_state=0).fit(X, Y)
    mine = ours.MLPRegressor.from_sklearn(theirs)
    assert_allclose(mine.predict(X), theirs.predict(X), rtol=SAME_NUMBERS)
    assert_array_equal(mine.to_sklearn().predict(X), theirs.predict(X))
    assert mine.partial_fit(X, Y).n_iter_ == 1


def test_a_device_model_comes_home():
    torch = pytest.importorskip("torch")
    mine = ours.MLPClassifier(max_iter=5, random_state=0).fit(torch.asarray(X), torch.asarray(Y))
    home = mine.to_sklearn()
    assert isinstance(home.coefs_[0], np.ndarray)
    assert_array_equal(home.predict(X), mine.predict(torch.asarray(X)).numpy())


def test_settings_alone_move_too():
    theirs = neural_network.MLPRegressor(alpha=3.0)
    assert ours.MLPRegressor.from_sklearn(theirs).to_sklearn().alpha == 3.0


@pytest.mark.parametrize(
    "settings",
    [{"activation": "gelu"}, {"batch_norm": True}, {"scale_inputs": True}, {"n_ensembles": 2}, {"loss": "mse"}],
    ids=str,
)
def test_what_sklearn_cannot_have_is_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ours.MLPClassifier(**settings).to_sklearn()


def test_only_the_class_of_the_same_name_is_taken():
    with pytest.raises(InvalidTypeError, match="takes a scikit-learn MLPClassifier, got MLPRegressor"):
        ours.MLPClassifier.from_sklearn(neural_network.MLPRegressor())


def test_warnings_are_of_sklearns_class():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        ours.MLPClassifier(max_iter=2, random_state=0).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match=r"lbfgs failed to converge after 2 iteration\(s\) \(status=1\)"):
        ours.MLPClassifier(solver="lbfgs", max_iter=2, random_state=0).fit(X, Y)
