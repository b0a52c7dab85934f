"""Losses: the numbers of SciPy, PyTorch and mpmath, on every library, weighted or not, at the ends of the float range too."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import mpmath
import numpy as np
import pytest
from scipy import special

from mlpx import losses
from mlpx.errors import ConfigError, InvalidInputError, InvalidTypeError
from mlpx.losses import Loss
from mlpx.namespace import namespace_of
from mlpx.testing import budgets, check_gradients
from mlpx.testing.assertions import assert_values
from mlpx.testing.trials import GRADIENT_OF, Trial, run
from mlpx.testing.variants import available_variants

N, K = 9, 4
BUDGET = budgets.of("normalising", N * K)
DELTA = GRADIENT_OF + "output"
VARIANTS = available_variants()
ALL = [
    ("half_squared_error", {}, "values"),
    ("mse", {}, "values"),
    ("mae", {}, "values"),
    ("huber", {}, "values"),
    ("huber", {"delta": 0.3}, "values"),
    ("quantile", {}, "values"),
    ("quantile", {"q": 0.9}, "values"),
    ("softmax_cross_entropy", {}, "labels"),
    ("softmax_cross_entropy", {}, "rows"),
    ("sigmoid_cross_entropy", {}, "bits"),
    ("poisson", {}, "counts"),
]
named = pytest.mark.parametrize(("name", "parameters", "kind"), ALL, ids=lambda one: str(one))
weighted = pytest.mark.parametrize("weights_given", [False, True], ids=["unweighted", "weighted"])
variants = pytest.mark.parametrize("place", VARIANTS, ids=str)
with_values = pytest.mark.parametrize("place", [one for one in VARIANTS if one.materialises], ids=str)


def batch(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output, targets and weights; errors are kept off the kinks of mae, huber and quantile."""
    generator = np.random.default_rng(7)
    output = 2 * generator.standard_normal((N, K))
    error = output + np.copysign(0.05, output)
    targets = {
        "values": output - np.where(np.abs(np.abs(error) - 1) < 0.05, 1.2 * error, error),
        "labels": generator.integers(0, K, N).astype(np.int32),
        "rows": generator.dirichlet(np.ones(K), N),
        "bits": generator.uniform(0, 1, (N, K)),
        "counts": generator.poisson(2.0, (N, K)).astype(np.float64),
    }[kind]
    return output, targets, generator.uniform(0.1, 3, N)


def reference_rows(name: str, parameters: dict, o: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss and slope of each row, (n,) and (n, k), by SciPy's functions."""
    k = o.shape[1]
    if name == "softmax_cross_entropy":
        y = np.eye(k)[t] if t.ndim == 1 else t
        return -np.sum(y * special.log_softmax(o, axis=1), axis=1), special.softmax(o, axis=1) - y
    q = parameters.get("q", 0.5)
    elements, slope = {
        "half_squared_error": lambda: (k * (t - o) ** 2 / 2, -k * (t - o)),
        "mse": lambda: ((t - o) ** 2, 2 * (o - t)),
        "mae": lambda: (np.abs(t - o), np.where(o > t, 1.0, -1.0)),
        "huber": lambda: (
            special.huber(parameters.get("delta", 1.0), o - t),
            np.clip(o - t, -parameters.get("delta", 1.0), parameters.get("delta", 1.0)),
        ),
        "quantile": lambda: (np.where(t > o, q * (t - o), (1 - q) * (o - t)), np.where(t > o, -q, 1 - q)),
        "sigmoid_cross_entropy": lambda: (-t * special.log_expit(o) - (1 - t) * special.log_expit(-o), special.expit(o) - t),
        "poisson": lambda: (np.exp(o) - t * o, np.exp(o) - t),
    }[name]()
    return elements.mean(axis=1), slope / k


def reference(name: str, parameters: dict, o: np.ndarray, t: np.ndarray, w: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Mean loss and its gradient."""
    rows, slope = reference_rows(name, parameters, o, t)
    share = np.full(len(o), 1 / len(o)) if w is None else w / w.sum()
    return {"value": np.asarray(share @ rows), DELTA: share[:, None] * slope}


@variants
@weighted
@named
def test_value_and_gradient_everywhere(name, parameters, kind, weights_given, place):
    loss = losses.get(name, **parameters)
    inputs = dict(zip(("output", "targets", "weights")[: 2 + weights_given], batch(kind), strict=False))
    trial = Trial(
        what=repr(loss),
        inputs=inputs,
        function=lambda *arrays: dict(zip(("value", DELTA), loss(*arrays), strict=True)),
        reference=lambda *arrays: reference(name, parameters, *arrays),
        budget=lambda result: BUDGET,
        rows=tuple(inputs),
    )
    for dtype in place.floating:
        run(trial, place, dtype)


@weighted
@named
def test_value_and_gradient_are_pytorchs(name, parameters, kind, weights_given):
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    q, none = parameters.get("q", 0.5), {"reduction": "none"}
    rows_of = {
        "half_squared_error": lambda o, t: functional.mse_loss(o, t, **none).sum(1) / 2,
        "mse": lambda o, t: functional.mse_loss(o, t, **none).mean(1),
        "mae": lambda o, t: functional.l1_loss(o, t, **none).mean(1),
        "huber": lambda o, t: functional.huber_loss(o, t, **none, **parameters).mean(1),
        "quantile": lambda o, t: torch.maximum(q * (t - o), (q - 1) * (t - o)).mean(1),
        "softmax_cross_entropy": lambda o, t: functional.cross_entropy(o, t, **none),
        "sigmoid_cross_entropy": lambda o, t: functional.binary_cross_entropy_with_logits(o, t, **none).mean(1),
        "poisson": lambda o, t: functional.poisson_nll_loss(o, t, **none).mean(1),
    }[name]
    output, targets, weights = batch(kind)
    leaf = torch.tensor(output, requires_grad=True)
    rows = rows_of(leaf, torch.tensor(targets).long() if kind == "labels" else torch.tensor(targets))
    mean = rows @ torch.tensor(weights) / weights.sum() if weights_given else rows.mean()
    mean.backward()
    value, delta = losses.get(name, **parameters)(output, targets, *([weights] if weights_given else []))
    assert_values(value, mean.detach().numpy(), dtype="float64", budget=BUDGET, what="value")
    assert_values(delta, leaf.grad.numpy(), dtype="float64", budget=BUDGET, what="delta")


@weighted
@named
def test_gradient_is_the_derivative_of_the_value(name, parameters, kind, weights_given):
    output, targets, weights = batch(kind)
    loss = losses.get(name, **parameters)
    check_gradients(lambda o: loss(o, targets, weights if weights_given else None), output)


@weighted
@named
def test_value_alone_is_the_same_value(name, parameters, kind, weights_given):
    output, targets, weights = batch(kind)
    loss, weights = losses.get(name, **parameters), weights if weights_given else None
    assert loss.value(output, targets, weights) == loss(output, targets, weights)[0]


EXTREMES = [
    [1e4, -1e4, 0.0],
    [-1e4, -1e4, -1e4],
    [1e30, -1e30, 1e30],
    [-1e30, 0.0, -1e30],
    [40.0, -40.0, 39.0],
    [1.6e38, -1.6e38, 0.0],
    [-1.6e38, -1.6e38, -1.6e38],
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("label", range(3))
@pytest.mark.parametrize("logits", EXTREMES, ids=str)
def test_softmax_cross_entropy_at_the_ends(logits, label, dtype):
    row = np.asarray([logits], dtype=dtype)
    with mpmath.workdps(60):
        exact = [mpmath.mpf(float(one)) for one in row[0]]
        top = max(exact)
        total = sum(mpmath.exp(one - top) for one in exact)
        value = float(top - exact[label] + mpmath.log(total))
        slope = [float(mpmath.exp(one - top) / total - (i == label)) for i, one in enumerate(exact)]
    found, delta = losses.get("softmax_cross_entropy")(row, np.asarray([label], dtype=np.int32))
    # The sum of exponentials has the scale of 1: log(1 + tiny) is right to eps of 1, not of tiny, as in every library.
    assert_values(np.asarray([found, 1]), np.asarray([value, 1]), dtype=dtype, budget=BUDGET, what="value")
    assert_values(delta, np.asarray([slope]), dtype=dtype, budget=BUDGET, what="delta")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("logit", [1e4, -1e4, 1e30, -1e30, 3e38, -3e38, 80.0, -80.0, 20.0, -20.0, 0.0])
def test_sigmoid_cross_entropy_at_the_ends(logit, target, dtype):
    z = np.asarray([[logit]], dtype=dtype)
    with mpmath.workdps(60):
        exact, t = mpmath.mpf(float(z[0, 0])), mpmath.mpf(target)
        tail = mpmath.log1p(mpmath.exp(-abs(exact)))
        value = float(max(exact, 0) - exact * t + tail)
        probability = 1 / (1 + mpmath.exp(-exact)) if exact > -1e4 else mpmath.mpf(0)
        slope = float(probability - t)
    found, delta = losses.get("sigmoid_cross_entropy")(z, np.asarray([[target]], dtype=dtype))
    assert_values(found, np.asarray(value), dtype=dtype, budget=BUDGET, what="value")
    tiny = float(np.finfo(dtype).tiny)
    assert_values(np.append(delta, 1), np.asarray([slope, 1]), dtype=dtype, budget=BUDGET, what="delta")
    if target == 0.0 and float(probability) > tiny:  # the lower tail keeps its relative accuracy
        assert_values(delta, np.asarray([[slope]]), dtype=dtype, budget=BUDGET, what="delta")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("log_rate", [1e4, -1e4, 1e30, -1e30])
def test_poisson_neither_overflows_nor_loses_its_pull(log_rate, dtype):
    output = np.full((100, 50), log_rate, dtype=dtype)
    value, delta = losses.get("poisson")(output, np.ones_like(output))
    assert np.isfinite(value)
    assert np.all(np.isfinite(delta))
    assert np.all(np.sign(delta) == np.sign(log_rate))
    assert np.all(np.isfinite(losses.get("poisson").link(output)))


def test_poisson_is_exact_up_to_its_documented_end():
    for dtype, end in (("float32", 79.0), ("float64", 638.0)):
        output = np.asarray([[end]], dtype=dtype)
        value = losses.get("poisson").value(output, np.zeros_like(output))
        assert_values(value, np.asarray(float(mpmath.exp(end))), dtype=dtype, budget=BUDGET, what="rate")


@with_values
def test_a_class_with_logit_minus_infinity_is_ruled_out(place):
    logits = np.asarray([[1.0, -np.inf, 3.0], [-np.inf, -np.inf, -np.inf]])
    labels = np.asarray([0, 2], dtype=np.int32)
    value, delta = place.wrap(losses.get("softmax_cross_entropy"))(place.put(logits), place.put(labels))
    p = special.expit(-2.0)  # of two classes whose logits differ by 2
    assert_values(place.get(value), np.asarray((-np.log(p) + np.log(3)) / 2), dtype="float64", budget=BUDGET, what="value")
    expected = np.asarray([[p - 1, 0, 1 - p], [1 / 3, 1 / 3, 1 / 3 - 1]]) / 2
    assert_values(place.get(delta), expected, dtype="float64", budget=BUDGET, what="delta")


def test_nan_and_plus_infinity_show_in_the_loss():
    with np.errstate(invalid="ignore"):
        for bad in (np.nan, np.inf):
            assert np.isnan(losses.get("softmax_cross_entropy").value(np.asarray([[0.0, bad]]), np.asarray([0])))
            assert not np.isfinite(losses.get("mse").value(np.asarray([[0.0, bad]]), np.zeros((1, 2))))


def test_an_exact_prediction_asks_for_no_change():
    exact = np.asarray([[1.5, -2.0]])
    for name in ("mae", "quantile", "huber", "mse", "half_squared_error"):
        value, delta = losses.get(name)(exact, exact)
        assert value == 0
        assert np.all(delta == 0)


@with_values
@named
def test_weights_that_are_all_zero_give_zero(name, parameters, kind, place):
    output, targets, weights = batch(kind)
    loss = place.wrap(losses.get(name, **parameters))
    value, delta = loss(*(place.put(one) for one in (output, targets, 0 * weights)))
    assert place.get(value) == 0
    assert np.all(place.get(delta) == 0)


@named
def test_a_row_without_weight_is_as_if_absent(name, parameters, kind):
    output, targets, weights = batch(kind)
    loss = losses.get(name, **parameters)
    value, delta = loss(output, targets, np.where(np.arange(N) < 5, weights, 0))
    fewer_value, fewer_delta = loss(output[:5], targets[:5], weights[:5])
    assert_values(value, fewer_value, dtype="float64", budget=BUDGET, what="value")
    assert_values(delta, np.concatenate([fewer_delta, np.zeros((N - 5, K))]), dtype="float64", budget=BUDGET, what="delta")


def test_a_batch_without_rows_gives_zero():
    value, delta = losses.get("mse")(np.zeros((0, 3)), np.zeros((0, 3)))
    assert value == 0
    assert delta.shape == (0, 3)


@variants
def test_links(place):
    def links(output):
        return {name: losses.get(name).link(output) for name in losses.LOSSES}

    def expected(output):
        known = {
            "softmax_cross_entropy": special.softmax(output, axis=1),
            "sigmoid_cross_entropy": special.expit(output),
            "poisson": np.exp(output),
        }
        return {name: known.get(name, output) for name in losses.LOSSES}

    trial = Trial("links", {"output": batch("values")[0]}, links, expected, lambda result: BUDGET)
    for dtype in place.floating:
        run(trial, place, dtype)


# Names, parameters, and losses of a user's own


def test_every_loss_of_the_design_is_there():
    assert set(losses.LOSSES) == {name for name, _, _ in ALL}
    for name in losses.LOSSES:
        loss = losses.get(name)
        assert loss.name == name
        assert loss.target_kind == ("labels" if name == "softmax_cross_entropy" else "values")
    assert losses.get("poisson").default_metrics == ("mae",)
    assert (
        losses.get("sigmoid_cross_entropy").default_metrics
        == losses.get("softmax_cross_entropy").default_metrics
        == ("accuracy",)
    )


@named
def test_a_config_makes_an_equal_loss(name, parameters, kind):
    loss = losses.get(name, **parameters)
    config = json.loads(json.dumps(loss.config()))
    assert config == {"name": name, **({"huber": {"delta": 1.0}, "quantile": {"q": 0.5}}.get(name, {}) | parameters)}
    assert losses.get(**config) == loss
    assert hash(losses.get(**config)) == hash(loss)


def test_losses_differ_by_kind_and_parameters_and_cannot_be_changed():
    assert losses.get("huber", delta=2) != losses.get("huber")
    assert losses.get("mae") != losses.get("mse")
    assert repr(losses.get("huber", delta=2)) == "Huber(delta=2.0)"
    assert repr(losses.get("mse")) == "MSE()"
    with pytest.raises(FrozenInstanceError):
        losses.get("huber").delta = 3.0


def test_a_loss_and_a_class_are_taken_as_given():
    loss = losses.Huber(0.5)
    assert losses.get(loss) is loss
    assert losses.get(losses.Huber, delta=0.5) == loss


@pytest.mark.parametrize(
    ("arguments", "parameters", "error", "match"),
    [
        (("softmax_crossentropy",), {}, ConfigError, "did you mean 'softmax_cross_entropy'"),
        (("huber",), {"detla": 1.0}, InvalidTypeError, "no parameter 'detla'; did you mean 'delta'"),
        (("mse",), {"delta": 1.0}, InvalidTypeError, "no parameter 'delta'.*takes: none"),
        ((losses.MSE(),), {"delta": 1.0}, InvalidTypeError, "go with the name of a loss"),
        (("huber",), {"delta": 0.0}, ConfigError, "delta=0.0"),
        (("huber",), {"delta": float("inf")}, ConfigError, "delta=inf"),
        (("quantile",), {"q": 1.0}, ConfigError, "q=1.0"),
        (("quantile",), {"q": True}, ConfigError, "q=True"),
        ((3,), {}, InvalidTypeError, "a int; expected a name"),
    ],
    ids=str,
)
def test_what_is_no_loss_is_refused(arguments, parameters, error, match):
    with pytest.raises(error, match=match):
        losses.get(*arguments, **parameters)


def cubed_error(output, targets):
    xp = namespace_of(output)
    error = output - targets
    return xp.sum(xp.abs(error) ** 3, axis=1), 3 * error * xp.abs(error)


class FirstOutput(Loss):
    name = "first_output"

    def forward(self, output, targets):
        return output[:, 0] * targets[:, 0], targets

    def backward(self, drows, targets):
        xp = namespace_of(drows)
        return xp.concat(((drows * targets[:, 0])[:, None], xp.zeros_like(targets[:, 1:])), axis=1)


@pytest.mark.parametrize("given", [cubed_error, FirstOutput, FirstOutput()], ids=["function", "class", "instance"])
def test_a_loss_of_the_users_own(given):
    output, targets, weights = batch("values")
    loss = losses.get(given)
    check_gradients(lambda o: loss(o, targets, weights), output)
    share = weights / weights.sum()
    rows = (np.abs(output - targets) ** 3).sum(axis=1) if given is cubed_error else output[:, 0] * targets[:, 0]
    assert_values(loss.value(output, targets, weights), share @ rows, dtype="float64", budget=BUDGET, what="value")
    assert loss.name == ("cubed_error" if given is cubed_error else "first_output")
    assert loss.link(output) is output
    with pytest.raises(ConfigError, match="pass it again when loading"):
        loss.config()


def test_a_function_with_results_of_wrong_shape_is_refused():
    loss = losses.get(lambda output, targets: ((output - targets) ** 2, 2 * (output - targets)))
    with pytest.raises(InvalidInputError, match=r"shapes \(9, 4\) and \(9, 4\); expected the loss of each row, \(9,\)"):
        loss(*batch("values")[:2])
    assert losses.get(cubed_error) == losses.get(cubed_error) != loss
    assert repr(losses.get(cubed_error)) == "FunctionLoss(cubed_error)"
