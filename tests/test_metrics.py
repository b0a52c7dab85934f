"""Metrics: scikit-learn's numbers on every library, weighted or not; ties, NaN, and what a name means under a loss."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn import metrics as sk

from mlpx import losses
from mlpx.errors import ConfigError, DeviceMismatchError, InvalidInputError, InvalidTypeError
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values
from mlpx.testing.trials import Trial, run
from mlpx.testing.variants import available_variants
from mlpx.train import metrics
from mlpx.train.metrics import METRICS, Metric

N, K = 40, 7
BUDGET = budgets.of("normalising", N)
GENERATOR = np.random.default_rng(11)
LOGITS = 2 * GENERATOR.standard_normal((N, K))
LOGITS[:, K - 1] = -6.0  # never the largest
LABELS = GENERATOR.integers(0, K - 2, N).astype(np.int32)  # so class K − 2 is predicted but never a target, K − 1 neither
ROWS = GENERATOR.dirichlet(np.ones(K), N)
BITS = (GENERATOR.uniform(0, 1, (N, K)) < 0.4).astype(np.float64)
BITS[:, 3] = 0.0
VALUES = GENERATOR.standard_normal((N, K)) + 0.5 * LOGITS
WEIGHTS = GENERATOR.uniform(0, 3, N)

variants = pytest.mark.parametrize("place", available_variants(), ids=str)
weighted = pytest.mark.parametrize("w", [None, WEIGHTS], ids=["unweighted", "weighted"])


def top(k):
    return lambda o, t, w: sk.top_k_accuracy_score(t, o, k=k, labels=np.arange(K), sample_weight=w)


def over_outputs(score):
    """Mean over the outputs of a score of bits."""
    return lambda o, t, w: np.mean([score(t[:, j] > 0.5, o[:, j] > 0, sample_weight=w) for j in range(o.shape[1])])


def log_loss_of_bits(o, t, w):
    return np.mean([sk.log_loss(t[:, j], special.expit(o[:, j]), sample_weight=w, labels=[0, 1]) for j in range(o.shape[1])])


def macro_f1_of_bits(o, t, w):
    return sk.f1_score(t > 0.5, o > 0, average="macro", sample_weight=w, zero_division=0)


SIGMOID, POISSON = losses.get("sigmoid_cross_entropy"), losses.get("poisson")
CASES = {
    "accuracy": ("accuracy", None, LOGITS, LABELS, lambda o, t, w: sk.accuracy_score(t, o.argmax(1), sample_weight=w)),
    "accuracy-rows": (
        "accuracy",
        None,
        LOGITS,
        ROWS,
        lambda o, t, w: sk.accuracy_score(t.argmax(1), o.argmax(1), sample_weight=w),
    ),
    "accuracy-bit": ("accuracy", None, LOGITS[:, :1], BITS[:, :1], over_outputs(sk.accuracy_score)),
    "accuracy-bits": ("accuracy", SIGMOID, LOGITS, BITS, over_outputs(sk.accuracy_score)),
    "binary_accuracy": ("binary_accuracy", None, LOGITS, BITS, over_outputs(sk.accuracy_score)),
    "top_1": ("top_1", None, LOGITS, LABELS, top(1)),
    "top_3": ("top_3", None, LOGITS, LABELS, top(3)),
    "top_5": ("top_5", None, LOGITS, LABELS, top(5)),
    "macro_f1": (
        "macro_f1",
        None,
        LOGITS,
        LABELS,
        lambda o, t, w: sk.f1_score(t, o.argmax(1), average="macro", sample_weight=w, zero_division=0),
    ),
    "macro_f1-bit": (
        "macro_f1",
        SIGMOID,
        LOGITS[:, :1],
        BITS[:, :1],
        lambda o, t, w: sk.f1_score(t[:, 0] > 0.5, o[:, 0] > 0, average="macro", sample_weight=w),
    ),
    "macro_f1-bits": ("macro_f1", SIGMOID, LOGITS, BITS, macro_f1_of_bits),
    "mae": ("mae", None, LOGITS, VALUES, lambda o, t, w: sk.mean_absolute_error(t, o, sample_weight=w)),
    "mse": ("mse", None, LOGITS, VALUES, lambda o, t, w: sk.mean_squared_error(t, o, sample_weight=w)),
    "r2": ("r2", None, LOGITS, VALUES, lambda o, t, w: sk.r2_score(t, o, sample_weight=w)),
    "mae-poisson": (
        "mae",
        POISSON,
        LOGITS,
        np.abs(VALUES),
        lambda o, t, w: sk.mean_absolute_error(t, np.exp(o), sample_weight=w),
    ),
    "mse-sigmoid": ("mse", SIGMOID, LOGITS, BITS, lambda o, t, w: sk.mean_squared_error(t, special.expit(o), sample_weight=w)),
    "log_loss": (
        "log_loss",
        None,
        LOGITS,
        LABELS,
        lambda o, t, w: sk.log_loss(t, special.softmax(o, axis=1), sample_weight=w, labels=np.arange(K)),
    ),
    "log_loss-bit": ("log_loss", None, LOGITS[:, :1], BITS[:, :1], log_loss_of_bits),
    "log_loss-bits": ("log_loss", SIGMOID, LOGITS, BITS, log_loss_of_bits),
}


@variants
@weighted
@pytest.mark.parametrize("case", CASES)
def test_scikit_learns_number_everywhere(case, w, place):
    name, loss, output, targets, score = CASES[case]
    metric = metrics.get(name, loss)
    inputs = {"output": output, "targets": targets} | ({} if w is None else {"weights": w})

    def expected(o, t, weights=None):
        return {"value": np.asarray(score(o, t, weights), dtype=np.float64)}

    trial = Trial(case, inputs, lambda *arrays: {"value": metric(*arrays)}, expected, lambda result: BUDGET)
    for dtype in place.floating:
        run(trial, place, dtype)


def test_every_metric_is_compared():
    assert set(METRICS) - {case[0] for case in CASES.values()} == {"binary_macro_f1", "binary_log_loss"}
    for name in ("macro_f1", "log_loss"):
        assert metrics.get(name, SIGMOID).function is METRICS[f"binary_{name}"].function


def test_of_equal_outputs_the_first_counts():
    tied = np.zeros((3, 3))
    for name in ("accuracy", "top_1"):
        assert [float(metrics.get(name)(tied, np.full(3, label))) for label in range(3)] == [1.0, 0.0, 0.0]
    assert [float(metrics.get("top_2")(tied, np.full(3, label))) for label in range(3)] == [1.0, 1.0, 0.0]
    assert float(metrics.get("binary_accuracy")(np.zeros((1, 1)), np.zeros((1, 1)))) == 1.0


def test_nan_counts_as_largest_for_accuracy_and_never_as_a_hit_for_top_k():
    output = np.asarray([[5.0, np.nan, 0.0], [np.nan, np.nan, np.nan]])
    assert float(metrics.accuracy(output, np.asarray([1, 0]))) == 1.0
    assert float(metrics.accuracy(output, np.asarray([0, 1]))) == 0.0
    assert float(metrics.top_k(output, np.asarray([1, 0]), k=2)) == 0.0
    assert float(metrics.top_k(output, np.asarray([0, 0]), k=2)) == 0.5  # NaN ranks before the 5
    assert float(metrics.top_k(output, np.asarray([0, 0]), k=1)) == 0.0
    for name in ("mae", "mse", "r2", "log_loss"):
        targets = np.asarray([1, 0]) if name == "log_loss" else np.zeros((2, 3))
        assert np.isnan(METRICS[name](output, targets))


def test_infinite_logits_are_ranked():
    output = np.asarray([[np.inf, -np.inf, 0.0]])
    for k, hits in ((1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1])):
        assert [float(metrics.top_k(output, np.asarray([label]), k=k)) for label in range(3)] == hits


@pytest.mark.parametrize("exact", [True, False])
def test_r2_of_constant_targets_is_scikit_learns(exact):
    targets = np.column_stack([np.full(5, 2.0), np.arange(5.0)])
    output = targets + np.asarray([0.0 if exact else 1.0, 0.25])
    assert_values(
        metrics.r2(output, targets), np.asarray(sk.r2_score(targets, output)), dtype="float64", budget=BUDGET, what="r2"
    )


@pytest.mark.parametrize("name", METRICS)
def test_weights_that_are_all_zero_give_a_finite_number(name):
    targets = LABELS if name in ("accuracy", "top_5", "macro_f1", "log_loss") else BITS
    value = METRICS[name](LOGITS, targets, np.zeros(N))
    assert value == (1.0 if name == "r2" else 0.0)  # r²: constant targets, met exactly


@pytest.mark.parametrize("name", METRICS)
def test_a_weight_of_two_is_the_row_twice(name):
    targets = LABELS if name in ("accuracy", "top_5", "macro_f1", "log_loss") else BITS
    twice = np.where(np.arange(N) % 3 == 0, 2, 1)
    doubled = METRICS[name](np.repeat(LOGITS, twice, axis=0), np.repeat(targets, twice, axis=0))
    assert_values(METRICS[name](LOGITS, targets, twice), doubled, dtype="float64", budget=BUDGET, what=name)


def test_which_way_is_better():
    assert {name for name, metric in METRICS.items() if metric.better == "lower"} == {
        "mae",
        "mse",
        "log_loss",
        "binary_log_loss",
    }
    assert {metric.better for metric in METRICS.values()} == {"higher", "lower"}
    for name in losses.LOSSES:
        for metric in losses.get(name).default_metrics:
            assert metrics.get(metric, losses.get(name)).name == metric


def test_a_metric_of_the_users_own():
    def bias(output, targets, weights):
        return abs((output - targets).mean())

    assert metrics.get(bias) == Metric("bias", bias, "higher")
    own = Metric("bias", bias, "lower")
    assert metrics.get(own, POISSON) is own
    assert float(own(np.ones((2, 1)), np.zeros((2, 1)))) == 1.0


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("acuracy", ConfigError, "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ("top_0", ConfigError, "unknown metric 'top_0'"),
        (5, InvalidTypeError, "metric is a int"),
    ],
)
def test_what_is_no_metric_is_refused(name, error, match):
    with pytest.raises(error, match=match):
        metrics.get(name)


@pytest.mark.parametrize("name", METRICS)
def test_targets_that_do_not_fit_are_refused(name):
    one_output = name.removeprefix("binary_") in ("mae", "mse", "r2") or name.startswith("binary_")
    targets = np.zeros(N) if one_output else np.zeros(N - 1, dtype=np.int32)
    with pytest.raises(InvalidInputError, match="do not fit the output of shape"):
        METRICS[name](LOGITS[:, :1] if one_output else LOGITS, targets)
    with pytest.raises(InvalidInputError, match="weights of shape"):
        METRICS[name](LOGITS, BITS if one_output else LABELS, np.ones(N + 1))


def test_arrays_of_two_libraries_are_refused():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(DeviceMismatchError, match=r"mlpx\.to_device"):
        metrics.get("accuracy")(LOGITS, strict.asarray(LABELS))
    with pytest.raises(DeviceMismatchError, match=r"mlpx\.to_device"):
        metrics.get("accuracy")(LOGITS, LABELS, strict.asarray(WEIGHTS))
