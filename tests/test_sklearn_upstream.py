"""scikit-learn's own tests of its MLP, run with ours in place of theirs."""

from __future__ import annotations

import importlib.util
from importlib.util import find_spec

import pytest

from mlpx import sklearn as ours

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]


def upstream():
    """A fresh copy of scikit-learn's test module, imported while the takeover holds."""
    spec = find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    ours.install()
    try:
        spec.loader.exec_module(module)
    finally:
        ours.uninstall()
    return module


THEIRS = upstream()
globals().update({name: value for name, value in vars(THEIRS).items() if name.startswith("test_")})


@pytest.fixture
def global_random_seed():
    return 42


def test_it_is_ours_that_is_tested():
    assert THEIRS.MLPClassifier is ours.MLPClassifier
    assert THEIRS.MLPRegressor is ours.MLPRegressor


def test_all_of_them_are_here():
    assert sum(name.startswith("test_") for name in vars(THEIRS)) >= 43
