"""What mlpx's estimators have beyond scikit-learn's, and how they live in its ecosystem."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from tolerances import ONE_STEP, SAME_NUMBERS

from mlpx import layers, losses, optim
from mlpx.errors import ConfigError
from mlpx.sklearn import MLPClassifier, MLPRegressor
from mlpx.sklearn.compat import HAS_CALLBACKS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = datasets.load_iris(return_X_y=True)
WX, WY = datasets.load_wine(return_X_y=True)
XR, YR = datasets.make_friedman1(n_samples=200, noise=0.5, random_state=0)


def fourth_power(output, targets):
    error = output - targets
    return (error**4)[:, 0], 4 * error**3


EXTRAS = (
    {"dropout": 0.2},
    {"dropout": [0.1, 0.0], "hidden_layer_sizes": (12, 8)},
    {"batch_norm": True},
    {"layer_norm": True, "activation": "gelu"},
    {"activation": ["prelu", "swish"], "hidden_layer_sizes": (12, 8)},
    {"activation": layers.Activation("elu", alpha=0.5)},
    {"optimizer": "adamw"},
    {"optimizer": optim.RMSprop(optim.Cosine(0.01, steps=200))},
    {"optimizer": optim.Adam(optim.ReduceOnPlateau(0.01, monitor="loss", patience=2))},
    {"weight_decay": 0.5},
    {"ema": 0.95},
    {"clip_norm": 0.5},
    {"clip_value": 0.01},
    {"scale_inputs": True},
    {"n_ensembles": 3},
    {"random_stream": "mlpx"},
)


@pytest.mark.parametrize("extra", EXTRAS, ids=str)
def test_every_extra_changes_training_is_reproducible_and_survives_pickling(extra):
    plain = MLPClassifier(random_state=0, max_iter=25, hidden_layer_sizes=extra.get("hidden_layer_sizes", (12,)))
    made = clone(plain).set_params(**extra)
    first, again = made.fit(X, Y).predict_proba(X), clone(made).fit(X, Y).predict_proba(X)
    assert_array_equal(first, again)
    assert np.abs(first - plain.fit(X, Y).predict_proba(X)).max() > SAME_NUMBERS
    assert_array_equal(pickle.loads(pickle.dumps(made)).predict_proba(X), first)
    assert_allclose(first.sum(axis=1), 1, rtol=ONE_STEP)
    assert made.loss_curve_[-1] < made.loss_curve_[0]


@pytest.mark.parametrize(
    "loss", ["mse", "huber", "mae", losses.Quantile(0.9), fourth_power], ids=lambda loss: getattr(loss, "__name__", str(loss))
)
def test_any_loss(loss):
    model = MLPRegressor(loss, random_state=0, max_iter=60, scale_inputs=True, scale_target=True).fit(XR, YR)
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0]
    assert model.predict(XR).shape == YR.shape


def test_a_quantile_leaves_its_share_below():
    settings = {"random_state": 0, "solver": "lbfgs", "hidden_layer_sizes": (8,), "alpha": 1.0, "max_iter": 300}
    models = [MLPRegressor(losses.Quantile(q), scale_inputs=True, **settings).fit(XR, YR) for q in (0.1, 0.5, 0.9)]
    shares = [np.mean(model.predict(XR) > YR) for model in models]
    assert shares == sorted(shares)
    assert shares[0] < 0.3 < 0.7 < shares[2]


def test_class_weight_is_sample_weight_by_class():
    weight = {0: 0.5, 1: 4.0, 2: 1.5}
    settings = {"random_state": 0, "max_iter": 20}
    by_class = MLPClassifier(class_weight=weight, **settings).fit(X, Y)
    by_row = MLPClassifier(**settings).fit(X, Y, sample_weight=np.vectorize(weight.get)(Y))
    assert_allclose(by_class.coefs_[0], by_row.coefs_[0], rtol=SAME_NUMBERS)
    names = np.asarray(["a", "b", "c"])[Y]
    named = MLPClassifier(class_weight=dict(zip("abc", weight.values(), strict=True)), **settings).fit(X, names)
    assert_allclose(named.coefs_[0], by_row.coefs_[0], rtol=SAME_NUMBERS)


def test_balanced_classes_all_count_alike():
    rows = np.concatenate([np.flatnonzero(Y == 0), np.flatnonzero(Y == 1)[:5]])
    from sklearn.utils.class_weight import compute_sample_weight

    settings = {"random_state": 0, "max_iter": 20}
    balanced = MLPClassifier(class_weight="balanced", **settings).fit(X[rows], Y[rows])
    expected = MLPClassifier(**settings).fit(X[rows], Y[rows], compute_sample_weight("balanced", Y[rows]))
    assert_allclose(balanced.coefs_[0], expected.coefs_[0], rtol=SAME_NUMBERS)


@pytest.mark.parametrize(("given", "message"), [({7: 1.0}, "names 7"), ("even", "expected 'balanced'")])
def test_bad_class_weights(given, message):
    with pytest.raises(ConfigError, match=message):
        MLPClassifier(class_weight=given).fit(X, Y)


def test_validation_rows_of_ones_own():
    part = np.random.default_rng(0).permutation(len(X))
    train, held_out = part[:100], part[100:]
    settings = {"random_state": 0, "max_iter": 40}
    plain = MLPClassifier(**settings).fit(X[train], Y[train])
    watched = MLPClassifier(**settings).fit(X[train], Y[train], X_val=X[held_out], y_val=Y[held_out])
    assert_array_equal(watched.coefs_[0], plain.coefs_[0])
    assert len(watched.validation_curve_) == watched.n_iter_
    probabilities = watched.predict_proba(X[held_out])[np.arange(50), Y[held_out]]
    assert watched.validation_curve_[-1] == pytest.approx(-np.log(probabilities).mean(), rel=SAME_NUMBERS)
    stopped = MLPClassifier(early_stopping=True, **settings).fit(X[train], Y[train], X_val=X[held_out], y_val=Y[held_out])
    assert stopped.best_validation_score_ == stopped.score(X[held_out], Y[held_out])
    with pytest.raises(ConfigError, match="give both"):
        MLPClassifier().fit(X, Y, X_val=X)


def test_scaling_is_a_pipeline_inside():
    settings = {"random_state": 0, "max_iter": 30}
    inside = MLPClassifier(scale_inputs=True, **settings).fit(WX, WY)
    outside = make_pipeline(StandardScaler(), MLPClassifier(**settings)).fit(WX, WY)
    assert_allclose(inside.predict_proba(WX), outside.predict_proba(WX), rtol=SAME_NUMBERS)
    y = scale(YR)
    inside = MLPRegressor(scale_target=True, **settings).fit(XR, YR)
    outside = MLPRegressor(**settings).fit(XR, y)
    assert_allclose(inside.predict(XR), outside.predict(XR) * YR.std() + YR.mean(), rtol=SAME_NUMBERS)


def test_an_ensemble_is_the_mean_of_its_members():
    ensemble = MLPClassifier(n_ensembles=3, random_state=0, max_iter=20).fit(X, Y)
    members = [member.predict_proba(X) for member in ensemble.estimators_]
    assert_allclose(ensemble.predict_proba(X), np.mean(members, axis=0), rtol=ONE_STEP)
    alone = MLPClassifier(random_state=0, max_iter=20).fit(X, Y)
    assert_array_equal(members[0], alone.predict_proba(X))
    assert len({member.random_state for member in ensemble.estimators_}) == 3


def test_weight_decay_multiplies_the_weights():
    """One step of plain descent with no gradient worth speaking of: W (1 − η λ)."""
    settings = {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.5, "random_state": 0, "max_iter": 1, "alpha": 0.0}
    x, y = np.zeros((4, 2)), np.zeros(4)
    plain = MLPRegressor(**settings).fit(x, y)
    decayed = MLPRegressor(weight_decay=0.2, **settings).fit(x, y)
    start = MLPRegressor(**{**settings, "learning_rate_init": 1e-300}).fit(x, y)
    assert_allclose(decayed.coefs_[0] - plain.coefs_[0], -0.1 * start.coefs_[0], rtol=SAME_NUMBERS, atol=ONE_STEP)
    assert_array_equal(decayed.intercepts_[0], plain.intercepts_[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_norm": True, "layer_norm": True}, "choose one"),
        ({"dropout": [0.1, 0.2]}, "dropout has 2 values for 1 hidden layers"),
        ({"activation": ["relu", "tanh"]}, "activation has 2 values"),
        ({"optimizer": "lbfgs"}, "solver='lbfgs'"),
        ({"activation": "rleu"}, "'activation' parameter"),
        ({"random_stream": "dice"}, "'random_stream' parameter"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
    ],
)
def test_bad_settings_are_refused_in_fit(settings, message):
    estimator = MLPClassifier(**settings)
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, Y)


# ------------------------------------------------------------------ scikit-learn's ecosystem


def test_search_scores_calibration_and_pipelines():
    model = MLPClassifier(random_state=0, max_iter=40)
    search = GridSearchCV(make_pipeline(StandardScaler(), model), {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2).fit(X, Y)
    assert search.best_score_ > 0.8
    assert cross_val_score(clone(model).set_params(solver="lbfgs"), X, Y, cv=3).mean() > 0.9
    calibrated = CalibratedClassifierCV(clone(model).set_params(solver="lbfgs"), cv=2).fit(X, Y)
    assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1, rtol=ONE_STEP)


def test_threads_fit_the_same_settings_side_by_side():
    model = MLPClassifier(random_state=0, max_iter=15)
    alone = clone(model).fit(X, Y)
    fits = joblib.Parallel(n_jobs=4, backend="threading")(joblib.delayed(clone(model).fit)(X, Y) for _ in range(8))
    for fit in fits:
        assert_array_equal(fit.coefs_[0], alone.coefs_[0])


def test_joblib_keeps_training_going(tmp_path):
    model = MLPRegressor(random_state=0).partial_fit(XR, YR).partial_fit(XR, YR)
    joblib.dump(model, tmp_path / "model")
    loaded = joblib.load(tmp_path / "model")
    assert_array_equal(loaded.partial_fit(XR, YR).coefs_[0], model.partial_fit(XR, YR).coefs_[0])


def test_not_fitted_and_wrong_columns():
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(X)
    with pytest.raises(ValueError, match="X has 2 features, but MLPClassifier is expecting 4 features"):
        MLPClassifier(max_iter=2).fit(X, Y).predict(X[:, :2])
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        MLPClassifier().partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y + 1)


def test_data_frames_keep_their_names():
    pytest.importorskip("pandas", reason="pip install pandas")
    frame = datasets.load_iris(as_frame=True)
    model = MLPClassifier(max_iter=2, random_state=0).fit(frame.data, frame.target)
    assert model.feature_names_in_.tolist() == list(frame.data.columns)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.data.iloc[:, ::-1])


@pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn older than 1.9 has no callbacks")
def test_callbacks_see_every_epoch(capsys):
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(random_state=0, max_iter=6).set_callbacks(monitor).fit(X, Y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == model.n_iter_ == 6
    for epochs, row in enumerate(rows, start=1):
        expected = MLPClassifier(random_state=0, max_iter=epochs).fit(X, Y).score(X, Y)
        assert row["accuracy"] == pytest.approx(expected)


@pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn older than 1.9 has no callbacks")
def test_a_callback_can_stop_training():
    class Stop:
        def setup(self, estimator, context):
            """Nothing to prepare."""

        def teardown(self, estimator, context):
            """Nothing to clear."""

        def on_fit_task_begin(self, estimator, context):
            """Nothing to note."""

        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 2

    assert MLPRegressor(random_state=0, max_iter=9).set_callbacks(Stop()).fit(XR, YR).n_iter_ == 3
