"""The same numbers as scikit-learn's MLP: losses, weights and predictions over a grid of settings and data sets."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.preprocessing import scale
from tolerances import SKLEARN_AMPLIFIED, SKLEARN_TRAINING

from mlpx import sklearn as ours

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Got `batch_size`"),
]


def data(name):
    if name in ("iris", "wine", "breast_cancer", "digits"):
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        x, y = x[::3], y[::3]
        return ("MLPClassifier", scale(x) if name in ("wine", "breast_cancer") else x, y)
    if name == "raw wine":  # probabilities saturate: the limits of the loss are in play
        return ("MLPClassifier", *datasets.load_wine(return_X_y=True))
    if name == "multilabel":
        return ("MLPClassifier", *datasets.make_multilabel_classification(n_samples=90, random_state=0))
    if name == "diabetes":
        x, y = datasets.load_diabetes(return_X_y=True)
        return ("MLPRegressor", x, scale(y))
    x, y = datasets.load_linnerud(return_X_y=True)
    return ("MLPRegressor", scale(x), scale(y))


SOLVERS = {
    "adam": {"solver": "adam"},
    "adam fast": {"solver": "adam", "learning_rate_init": 0.02, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6, "alpha": 0.1},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "sgd plain": {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0, "batch_size": 16},
    "sgd heavy ball": {"solver": "sgd", "learning_rate_init": 0.01, "nesterovs_momentum": False, "learning_rate": "invscaling"},
    "sgd adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 0.01,
        "n_iter_no_change": 2,
        "learning_rate_init": 0.02,
    },
    "lbfgs": {"solver": "lbfgs", "alpha": 0.01, "max_iter": 30},
}
SETS = ("iris", "wine", "breast_cancer", "digits", "diabetes", "linnerud")
GRID = [(name, label, {}) for name, label in itertools.product(SETS, SOLVERS)]
GRID += [
    (name, label, {"activation": activation, "hidden_layer_sizes": (12, 7)})
    for name, label, activation in itertools.product(SETS, ("adam", "lbfgs"), ("logistic", "tanh", "identity"))
]
GRID += [
    ("multilabel", "adam", {}),
    ("multilabel", "lbfgs", {"alpha": 1.0}),
    ("raw wine", "adam", {}),
    ("iris", "adam", {"early_stopping": True, "validation_fraction": 0.3}),
    ("breast_cancer", "sgd", {"early_stopping": True, "n_iter_no_change": 3}),
    ("diabetes", "adam", {"early_stopping": True}),
    ("multilabel", "adam", {"early_stopping": True}),
    ("digits", "adam", {"shuffle": False, "batch_size": 77}),
    ("iris", "adam", {"batch_size": 1000}),
    ("iris", "sgd", {"batch_size": 1, "max_iter": 5}),
]


def both(name, label, more):
    kind, x, y = data(name)
    settings = {"random_state": 3, "max_iter": 50, "hidden_layer_sizes": (20,), **SOLVERS[label], **more}
    return tuple(getattr(library, kind)(**settings) for library in (neural_network, ours)), x, y


def inherent(theirs, x, y, *weights):
    """How far scikit-learn's own L-BFGS is carried by inputs that differ in their last bit: line searches amplify rounding."""
    if theirs.solver != "lbfgs" or theirs.warm_start:
        return 0.0
    farthest = 0.0
    for seed in range(4):
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], x.shape)
        other = clone(theirs).fit(x * (1 + np.finfo(x.dtype).eps * signs), y, *weights)
        pairs = zip((*other.coefs_, *other.intercepts_), (*theirs.coefs_, *theirs.intercepts_), strict=True)
        farthest = max(farthest, *(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs))
    return farthest


def assert_same(theirs, mine, x, amplified=0.0):
    tolerance = max(SKLEARN_TRAINING, SKLEARN_AMPLIFIED * amplified)
    assert mine.n_iter_ == theirs.n_iter_
    assert mine.t_ == theirs.t_
    assert (mine.n_layers_, mine.n_outputs_, mine.out_activation_) == (
        theirs.n_layers_,
        theirs.n_outputs_,
        theirs.out_activation_,
    )
    near = functools.partial(assert_allclose, rtol=tolerance)
    near(mine.loss_, theirs.loss_)
    for a, b in zip((*mine.coefs_, *mine.intercepts_), (*theirs.coefs_, *theirs.intercepts_), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()
    if hasattr(theirs, "loss_curve_"):
        near(mine.loss_curve_, theirs.loss_curve_)
        assert (mine.validation_scores_ is None) == (theirs.validation_scores_ is None)
        if theirs.validation_scores_ is not None:
            near(mine.validation_scores_, theirs.validation_scores_)
        assert (mine.best_loss_ is None) == (theirs.best_loss_ is None)
        if theirs.best_loss_ is not None:
            near(mine.best_loss_, theirs.best_loss_)
        assert mine._no_improvement_count == theirs._no_improvement_count
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_array_equal(mine.predict(x), theirs.predict(x))
        scale_of = np.abs(theirs.predict_proba(x)).max()
        assert np.abs(mine.predict_proba(x) - theirs.predict_proba(x)).max() <= tolerance * scale_of
    else:
        prediction = theirs.predict(x)
        assert mine.predict(x).shape == prediction.shape
        assert np.abs(mine.predict(x) - prediction).max() <= tolerance * np.abs(prediction).max()


def test_the_grid_is_large_enough():
    assert len(GRID) >= 60


@pytest.mark.parametrize(("name", "label", "more"), GRID, ids=lambda value: str(value))
def test_fit_follows_sklearn(name, label, more):
    (theirs, mine), x, y = both(name, label, more)
    theirs.fit(x, y)
    assert_same(theirs, mine.fit(x, y), x, inherent(theirs, x, y))


@pytest.mark.parametrize("label", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("name", ["iris", "breast_cancer", "diabetes", "linnerud"])
def test_sample_weight_follows_sklearn(name, label):
    (theirs, mine), x, y = both(name, label, {"alpha": 0.5})
    weights = np.random.default_rng(0).uniform(0.1, 3.0, len(x))
    theirs.fit(x, y, weights)
    assert_same(theirs, mine.fit(x, y, weights), x, inherent(theirs, x, y, weights))


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("label", ["adam", "sgd", "lbfgs"])
def test_sparse_input_follows_sklearn(label, container):
    (theirs, mine), x, y = both("digits", label, {"max_iter": 15})
    x = container(x)
    assert_same(theirs.fit(x, y), mine.fit(x, y), x)


@pytest.mark.parametrize("label", ["adam", "lbfgs"])
def test_poisson_follows_sklearn(label):
    generator = np.random.default_rng(0)
    x = generator.uniform(-1, 1, (120, 3))
    y = generator.poisson(np.exp(x[:, 0] + 0.5))
    settings = {"loss": "poisson", "random_state": 0, "hidden_layer_sizes": (8,), "max_iter": 30, **SOLVERS[label]}
    assert_same(neural_network.MLPRegressor(**settings).fit(x, y), ours.MLPRegressor(**settings).fit(x, y), x)


@pytest.mark.parametrize("name", ["iris", "multilabel", "diabetes"])
@pytest.mark.parametrize("label", ["adam", "sgd adaptive"])
def test_partial_fit_follows_sklearn(name, label):
    (theirs, mine), x, y = both(name, label, {})
    classes = {} if name == "diabetes" else {"classes": np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)}
    for start in (0, 10, 20, 0, 10):
        part = slice(start, start + 30)
        theirs.partial_fit(x[part], y[part], **classes)
        mine.partial_fit(x[part], y[part], **classes)
    assert_same(theirs, mine, x)


@pytest.mark.parametrize("label", ["adam", "sgd heavy ball", "lbfgs"])
def test_warm_start_follows_sklearn(label):
    (theirs, mine), x, y = both("iris", label, {"warm_start": True, "max_iter": 6})
    for _ in range(3):
        theirs.fit(x, y)
        mine.fit(x, y)
    assert_same(theirs, mine, x)


def test_a_random_state_is_used_up_as_sklearn_does():
    (theirs, mine), x, y = both("iris", "adam", {"early_stopping": True})
    states = [np.random.RandomState(5) for _ in range(2)]
    theirs.set_params(random_state=states[0]).fit(x, y)
    mine.set_params(random_state=states[1]).fit(x, y)
    assert states[0].randint(1 << 30) == states[1].randint(1 << 30)


def test_float32_stays_float32_and_follows_roughly():
    (theirs, mine), x, y = both("digits", "adam", {"max_iter": 3})
    theirs.fit(x.astype(np.float32), y)
    mine.fit(x.astype(np.float32), y)
    assert {array.dtype for array in (*mine.coefs_, *mine.intercepts_)} == {np.dtype(np.float32)}
    assert mine.predict_proba(x.astype(np.float32)).dtype == np.float32
    # 15 steps with eps 1.2e-7: the difference stays within a few thousand of it
    assert np.abs(mine.coefs_[0] - theirs.coefs_[0]).max() <= 4096 * np.finfo(np.float32).eps


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_constructors_agree(kind):
    import inspect

    theirs = inspect.signature(getattr(neural_network, kind)).parameters
    mine = inspect.signature(getattr(ours, kind)).parameters
    assert list(mine)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert (mine[name].default, mine[name].kind) == (parameter.default, parameter.kind)
    assert all(mine[name].kind is inspect.Parameter.KEYWORD_ONLY for name in list(mine)[len(theirs) :])
