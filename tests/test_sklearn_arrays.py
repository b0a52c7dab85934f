"""Estimators on arrays of other libraries: the same library out, nothing read by the host but what is said to be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import datasets
from tolerances import SAME_NUMBERS

from mlpx import transfer
from mlpx.errors import InvalidInputError
from mlpx.namespace import namespace_of
from mlpx.sklearn import MLPClassifier, MLPRegressor
from mlpx.testing.strict_backend import register_strict

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

register_strict()
DEVICES = ("torch:cpu", "jax:cpu", "strict:device1")
X, Y = datasets.load_iris(return_X_y=True)
NAMES = np.asarray(["setosa", "versicolor", "virginica"])[Y]


@pytest.fixture(params=DEVICES)
def device(request):
    name = request.param.partition(":")[0]
    if not transfer.backends()[name].ok:
        pytest.skip(f"{name}: {transfer.backends()[name].reason}")
    return request.param


def on(device, array):
    return transfer.to_device(array, device)


SETTINGS = (
    {},
    {"solver": "sgd", "learning_rate": "invscaling", "batch_size": 40},
    {"early_stopping": True, "validation_fraction": 0.3},
    {"shuffle": False, "activation": "tanh", "hidden_layer_sizes": (8, 5)},
    {"random_stream": "mlpx", "early_stopping": True},
    {"random_stream": "mlpx", "dropout": 0.2, "batch_norm": True},
)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_classifier_has_the_same_numbers_everywhere(device, settings):
    settings = {"random_state": 0, "max_iter": 6, **settings}
    host = MLPClassifier(**settings).fit(X, Y)
    there = MLPClassifier(**settings).fit(on(device, X), on(device, Y))
    given = on(device, X)
    assert_allclose(there.loss_curve_, host.loss_curve_, rtol=SAME_NUMBERS)
    for array in (*there.coefs_, *there.intercepts_, there.predict_proba(given), there.predict(given), there.classes_):
        assert namespace_of(array) is namespace_of(given)
        assert str(transfer.device(array)) == device
    assert_allclose(transfer.to_numpy(there.predict_proba(given)), host.predict_proba(X), rtol=SAME_NUMBERS)
    assert_array_equal(transfer.to_numpy(there.predict(given)), host.predict(X))
    assert there.score(given, on(device, Y)) == pytest.approx(host.score(X, Y))


def test_a_regressor_has_the_same_numbers_everywhere(device):
    x, y = datasets.load_linnerud(return_X_y=True)
    settings = {"random_state": 0, "max_iter": 6, "scale_inputs": True, "scale_target": True}
    weights = np.linspace(0.5, 2.0, len(x))
    host = MLPRegressor(**settings).fit(x, y, weights)
    there = MLPRegressor(**settings).fit(on(device, x), on(device, y), on(device, weights))
    prediction = there.predict(on(device, x))
    assert str(transfer.device(prediction)) == device
    assert_allclose(transfer.to_numpy(prediction), host.predict(x), rtol=SAME_NUMBERS)
    assert there.score(on(device, x), on(device, y)) == pytest.approx(host.score(x, y))


def test_lbfgs_learns_on_the_device(device):
    there = MLPClassifier(solver="lbfgs", random_state=0, max_iter=40, alpha=0.1).fit(on(device, X), on(device, Y))
    host = MLPClassifier(solver="lbfgs", random_state=0, max_iter=200, alpha=0.1).fit(X, Y)
    assert there.score(on(device, X), on(device, Y)) >= 0.97
    assert there.loss_ <= 1.5 * host.loss_
    assert str(transfer.device(there.coefs_[0])) == device


def test_partial_fit_and_float32(device):
    host, there = (MLPClassifier(random_state=0, hidden_layer_sizes=(5,)) for _ in range(2))
    x = X.astype(np.float32)
    for _ in range(3):
        host.partial_fit(x, Y, classes=[0, 1, 2])
        there.partial_fit(on(device, x), on(device, Y), classes=[0, 1, 2])
    assert str(there.coefs_[0].dtype).endswith("float32")
    # 3 steps; products of 4 and 5 numbers
    assert np.abs(transfer.to_numpy(there.coefs_[0]) - host.coefs_[0]).max() <= 64 * np.finfo(np.float32).eps


def test_text_labels_stay_on_the_host(device):
    there = MLPClassifier(random_state=0, solver="lbfgs", max_iter=40).fit(on(device, X), NAMES)
    assert_array_equal(there.classes_, np.unique(NAMES))
    assert there.predict(on(device, X[:60:25])).tolist() == NAMES[:60:25].tolist()
    assert there.score(on(device, X), NAMES) >= 0.9


def test_several_labels_a_row(device):
    x, y = datasets.make_multilabel_classification(n_samples=60, random_state=0)
    settings = {"random_state": 0, "max_iter": 30}
    host = MLPClassifier(**settings).fit(x, y)
    there = MLPClassifier(**settings).fit(on(device, x), on(device, y))
    assert_array_equal(transfer.to_numpy(there.predict(on(device, x))), host.predict(x))


def test_no_row_of_x_passes_through_the_host(monkeypatch):
    """Only 0-d results are read from a device, and y's two classes where a split is stratified."""
    read = []
    backend = type(transfer.device("strict:device1").backend)
    original = backend.to_numpy

    def noted(self, array):
        read.append(tuple(array.shape))
        return original(self, array)

    monkeypatch.setattr(backend, "to_numpy", noted)
    x, y = on("strict:device1", X), on("strict:device1", Y)
    MLPClassifier(max_iter=2, random_state=0, early_stopping=True).fit(x, y).predict(x)
    assert read
    assert set(read) == {()}


def test_an_estimator_stays_where_it_was_fitted(device):
    there = MLPClassifier(max_iter=2, random_state=0).fit(on(device, X), on(device, Y))
    with pytest.raises(InvalidInputError, match=r"MLPClassifier\.predict\(\) must use the same namespace"):
        there.predict(X)


@pytest.mark.parametrize("spec", ["torch:cpu", "jax:cpu"])
def test_device_names_where_host_data_is_computed(spec):
    host = MLPClassifier(max_iter=3, random_state=0).fit(X, Y)
    there = MLPClassifier(max_iter=3, random_state=0, device=spec).fit(X, Y)
    assert str(transfer.device(there.coefs_[0])) == spec
    assert isinstance(there.predict(X), np.ndarray)
    assert_allclose(there.predict_proba(X), host.predict_proba(X), rtol=SAME_NUMBERS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, 0], "Expected 2D array"),
        (lambda x: x[:0, :], "0 sample"),
        (lambda x: x[:, :0], "0 feature"),
        (lambda x: x * float("nan"), "contains NaN or infinity"),
    ],
)
def test_bad_device_arrays_are_refused(device, change, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier().fit(change(on(device, X)), on(device, Y))


def test_device_arrays_meet_sklearns_checks(device):
    fitted = MLPRegressor(max_iter=2, random_state=0).fit(on(device, X), on(device, Y))
    with pytest.raises(ValueError, match="X has 2 features, but MLPRegressor is expecting 4"):
        fitted.predict(on(device, X[:, :2]))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MLPRegressor().fit(on(device, X), on(device, Y[:9]))
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier().fit(on(device, X), on(device, X[:, 0]))
    with pytest.raises(ValueError, match="requires y"):
        MLPClassifier().fit(on(device, X), None)
