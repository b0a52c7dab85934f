"""L-BFGS: known minima, SciPy's pace, every library, and a resumed search that goes on with the same bits."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest

from mlpx import optim
from mlpx.errors import DeviceMismatchError, InvalidTypeError
from mlpx.namespace import constant, namespace_of
from mlpx.optim.line_search import CURVATURE, SUFFICIENT_DECREASE, StrongWolfe, Trial
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values, expect_kind
from mlpx.testing.variants import available_variants, variant

EAGER = [place for place in available_variants() if not place.trace]
variants = pytest.mark.parametrize("place", EAGER, ids=str)
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])

ROSENBROCK_START = (-1.2, 1.0)
ROSENBROCK_CURVATURE = 501 - math.sqrt(501**2 - 400)  # smallest eigenvalue of [[802, -400], [-400, 200]], its Hessian at (1, 1)
PENALTY = 1e-3


def rosenbrock(x):
    """Σ 100 (x₂ − x₁²)² + (1 − x₁)², least at x = 1."""
    xp = namespace_of(x)
    a, b = x[:-1], x[1:]
    off, zero = b - a * a, xp.zeros_like(x[:1])
    gradient = xp.concat([-400 * a * off - 2 * (1 - a), zero]) + xp.concat([zero, 200 * off])
    return xp.sum(100 * off * off + (1 - a) * (1 - a)), gradient


def quadratic(matrix, target):
    """½ (x − target)ᵀ A (x − target)."""

    def evaluate(x):
        gradient = matrix @ (x - target)
        return 0.5 * ((x - target) @ gradient), gradient

    return evaluate


def logistic(place, dtype):
    """Penalised logistic loss of breast_cancer, standardised: Σ log(1 + eᶻ) − y z over n, and ½ λ ‖w‖²."""
    from sklearn.datasets import load_breast_cancer

    table, labels = load_breast_cancer(return_X_y=True)
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    rows, y = place.put(table.astype(dtype)), place.put(labels.astype(dtype))

    def evaluate(w):
        xp = namespace_of(w)
        z = rows @ w
        loss = xp.mean(xp.logaddexp(constant(0.0, z), z) - y * z) + 0.5 * PENALTY * (w @ w)
        return loss, rows.T @ (0.5 * (1 + xp.tanh(0.5 * z)) - y) / y.shape[0] + PENALTY * w

    return evaluate, table.shape[1]


def search(evaluate, params, iterations=1000, **settings):
    rule = optim.LBFGS(**settings)
    state = rule.init(params, *evaluate(params))
    for _ in range(iterations):
        state = rule.iterate(evaluate, state)
    return state


@variants
@dtypes
def test_rosenbrock(dtype, place):
    if dtype not in place.floating:
        pytest.skip(f"{place} does not compute in {dtype}")
    start = np.asarray(ROSENBROCK_START, dtype=dtype)
    x = place.put(start)
    state = search(rosenbrock, x, 100, tolerance_gradient=1e-4)
    for part, like in zip(state, ([x] * 6 + [place.put(np.int32(0))] * 4), strict=True):
        expect_kind(part, type(like), place.result_device, like.dtype, None, "state")
    assert np.array_equal(place.get(x), start)
    assert state.converged
    assert "tolerance" in state.reason
    # At the minimum x − x* = H⁻¹ g, to first order: twice that covers the rest.
    assert np.linalg.norm(place.get(state.params) - 1) <= 2 * 1e-4 * math.sqrt(2) / ROSENBROCK_CURVATURE
    assert int(state.iteration) < int(state.evaluations) < 100


@variants
@dtypes
def test_quadratic_ends_at_its_centre(dtype, place):
    if dtype not in place.floating:
        pytest.skip(f"{place} does not compute in {dtype}")
    rotation, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))
    matrix = (rotation * np.geomspace(1, 100, 8)) @ rotation.T
    centre = np.linspace(-1, 1, 8)
    evaluate = quadratic(place.put(matrix.astype(dtype)), place.put(centre.astype(dtype)))
    state = search(evaluate, place.put(np.zeros(8, dtype=dtype)), 100, tolerance_gradient=1e-3, tolerance_change=0.0)
    assert state.converged
    assert np.linalg.norm(place.get(state.params) - centre) <= 2 * 1e-3 * math.sqrt(8)  # ‖g‖ over the least eigenvalue, 1


@variants
def test_logistic_regression_keeps_pace_with_scipy(place):
    optimize = pytest.importorskip("scipy.optimize")
    if "float64" not in place.floating:
        pytest.skip(f"{place} does not compute in float64")
    tolerance = 1e-6
    evaluate, width = logistic(place, "float64")
    ours = search(evaluate, place.put(np.zeros(width)), 300, tolerance_gradient=tolerance, tolerance_change=0.0)
    on_numpy, _ = logistic(variant("numpy"), "float64")
    theirs = optimize.minimize(
        on_numpy, np.zeros(width), jac=True, method="L-BFGS-B", options={"gtol": tolerance, "ftol": 0.0, "maxcor": 10}
    )
    assert ours.converged
    assert theirs.success
    # f − f* ≤ ‖g‖² / (2 λ), λ being the least curvature: here the penalty's.
    assert abs(float(ours.value) - theirs.fun) <= width * tolerance**2 / (2 * PENALTY)
    assert theirs.nit / 2 <= int(ours.iteration) <= 2 * theirs.nit
    assert theirs.nfev / 2 <= int(ours.evaluations) <= 2 * theirs.nfev


def test_float32_goes_as_far_as_its_precision():
    evaluate, width = logistic(variant("numpy"), "float32")
    state = search(evaluate, np.zeros(width, dtype=np.float32), 300, tolerance_gradient=0.0, tolerance_change=0.0)
    exact, _ = logistic(variant("numpy"), "float64")
    best = search(exact, np.zeros(width), 300, tolerance_gradient=1e-9, tolerance_change=0.0)
    assert state.finished
    assert state.params.dtype == np.float32
    assert_values(state.value, best.value, dtype="float32", budget=budgets.of("product", 1), what="minimum")


@variants
def test_resumed_search_gives_the_same_bits(place):
    dtype = place.floating[0]
    rule = optim.LBFGS(history=4, tolerance_gradient=1e-4)
    x = place.put(np.asarray([-1.2, 1.0, -0.7, 0.4, 1.5], dtype=dtype))
    state = rule.init(x, *rosenbrock(x))
    saved = []
    for _ in range(25):
        state = rule.iterate(rosenbrock, state)
        saved.append([place.get(part) for part in state])
    for begun in (2, 7, 20):  # history still filling, just full, and long rolling
        resumed = optim.LBFGSState(*(place.put(part) for part in saved[begun]))
        for expected in saved[begun + 1 :]:
            resumed = rule.iterate(rosenbrock, resumed)
            assert all(np.array_equal(place.get(part), one) for part, one in zip(resumed, expected, strict=True))


def test_history_rolls_and_only_the_last_pairs_count():
    rule = optim.LBFGS(history=3)
    x = np.asarray([-1.2, 1.0, 0.3])
    states = [rule.init(x, *rosenbrock(x))]
    for _ in range(6):
        states.append(rule.iterate(rosenbrock, states[-1]))
    assert [int(state.count) for state in states] == [0, 1, 2, 3, 3, 3, 3]
    for row, (before, after) in zip(states[6].s, pairwise(states[3:7]), strict=True):
        assert np.array_equal(row, after.params - before.params)


@pytest.mark.parametrize("history", [1, 2, 30])
def test_any_history_finds_the_minimum(history):
    state = search(rosenbrock, np.asarray([-1.2, 1.0, -1.2, 1.0]), history=history, tolerance_change=0.0)
    assert state.converged
    assert np.max(np.abs(state.gradient)) <= optim.LBFGS().tolerance_gradient


def test_two_loop_recursion_equals_the_bfgs_matrix():
    # Nocedal & Wright eq. 7.16: H ← VᵀHV + ρ s sᵀ with V = I − ρ y sᵀ, from H₀ = (sᵀy / yᵀy) I of the newest pair.
    from mlpx.optim.lbfgs import _direction

    state = search(rosenbrock, np.asarray([-1.2, 1.0, 0.3, -0.5]), 5, history=4)
    s, y = state.s, state.y
    inverse = (s[-1] @ y[-1]) / (y[-1] @ y[-1]) * np.eye(4)
    for step, change in zip(s, y, strict=True):
        rho = 1 / (step @ change)
        turn = np.eye(4) - rho * np.outer(change, step)
        inverse = turn.T @ inverse @ turn + rho * np.outer(step, step)
    condition = np.linalg.cond(inverse)
    assert_values(
        _direction(state),
        -inverse @ state.gradient,
        dtype="float64",
        budget=condition * budgets.of("product", 4),
        what="direction",
    )


def test_trials_that_are_not_finite_shorten_the_step():
    def barrier(x):  # least at x = 1/50; NaN left of 0, where the first unit step from 0.5 lands
        return np.sum(50 * x - np.log(x)), 50 - 1 / x

    state = search(barrier, np.full(3, 0.5))
    assert state.converged
    assert np.max(np.abs(state.params - 0.02)) <= 2 * 1e-5 * 0.02**2 * 10  # x − x* = g x*², and the change may stop it earlier


def test_an_infinite_value_shortens_the_step_too():
    def steep(x):
        return np.sum(np.exp(x * x)), 2 * x * np.exp(x * x)

    state = search(steep, np.asarray([26.0, -3.0]))  # exp(26²) is near the largest float64
    assert state.converged
    assert float(state.value) - 2 <= 1e-5


def test_a_gradient_that_is_not_the_values_is_reported():
    calls = []

    def wrong(x):
        calls.append(x)
        return np.sum(x * x), -2 * x

    x = np.asarray([1.0, 2.0])
    state = search(wrong, x, 5)
    assert state.finished
    assert not state.converged
    assert "gradient that is not the value's" in state.reason
    assert np.array_equal(state.params, x)
    assert len(calls) == 1 + optim.LBFGS().max_evaluations == 1 + int(state.evaluations)


def test_a_failed_search_tries_steepest_descent_once():
    rule = optim.LBFGS(tolerance_change=0.0)
    x = np.asarray([-1.2, 1.0])
    state = rule.init(x, *rosenbrock(x))
    for _ in range(3):
        state = rule.iterate(rosenbrock, state)
    spoilt = state._replace(rho=-state.rho)  # no longer a descent direction
    after = rule.iterate(rosenbrock, spoilt)
    assert not after.finished
    assert float(after.value) < float(state.value)
    assert int(after.count) == 1
    step = after.params - state.params
    cosine = -(step @ state.gradient) / (np.linalg.norm(step) * np.linalg.norm(state.gradient))
    assert_values(cosine, np.asarray(1.0), dtype="float64", budget=budgets.of("product", 2), what="cosine to −gradient")


def test_pairs_without_curvature_are_not_kept():
    def linear(x):  # y = 0 everywhere
        return np.sum(x), np.ones_like(x)

    rule = optim.LBFGS(max_evaluations=3)
    x = np.zeros(2)
    state = rule.iterate(linear, rule.init(x, *linear(x)))
    assert float(state.value) < 0
    assert int(state.count) == 0
    assert not np.any(state.s)


def test_at_a_minimum_nothing_is_evaluated():
    rule = optim.LBFGS()
    x = np.ones(3)
    state = rule.init(x, *rosenbrock(x))
    assert state.converged
    assert "gradient" in state.reason
    assert rule.iterate(None, state) is state


@pytest.mark.parametrize(("value", "gradient"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan), (1.0, np.inf)])
def test_a_start_that_is_not_finite(value, gradient):
    state = optim.LBFGS().init(np.zeros(2), np.asarray(value), np.asarray([0.5, gradient]))
    assert state.finished
    assert not state.converged
    assert "not finite" in state.reason


def test_inputs_that_are_refused():
    with pytest.raises(InvalidTypeError, match=r"params: expected a floating vector.*int64"):
        optim.LBFGS().init(np.zeros(2, dtype=np.int64), np.asarray(0.0), np.zeros(2))
    one, other = (variant(f"strict:{device}").put(np.ones(2)) for device in ("device1", "device2"))
    with pytest.raises(DeviceMismatchError, match=r"device1.*device2"):
        optim.LBFGS().init(one, one[0], other)


LINES = {  # φ(α), φ'(α); Moré & Thuente (1994), section 5: functions 1, 2 and the shape of 4
    "one": (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),
    "two": (lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, lambda a: 5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3),
    "wells": (lambda a: math.cos(a) - 1.1 - 0.1 * a, lambda a: -math.sin(a) - 0.1),
    "pit": (lambda a: (a - 3) ** 2 if a < 5 else -math.inf, lambda a: 2 * (a - 3) if a < 5 else math.nan),
    "walls": (lambda a: (a - 3) ** 2 if a < 5 else math.nan, lambda a: 2 * (a - 3)),
}


@pytest.mark.parametrize(("line", "first"), [*product(LINES, [1e-3, 1e-1, 1.0, 10.0, 1e3]), ("walls", 1e12)])
def test_accepted_steps_satisfy_the_strong_wolfe_conditions(line, first):
    value, slope = LINES[line]
    none = np.zeros(0)

    def at(step):
        return Trial(step, value(step), slope(step), none, none, none)

    start = at(0.0)
    found, calls = StrongWolfe(at, start, 0.0, 40).search(first)
    assert found is not None
    assert found.value <= start.value + SUFFICIENT_DECREASE * found.step * start.slope
    assert abs(found.slope) <= -CURVATURE * start.slope
    assert calls <= 20


def test_rounding_does_not_hide_a_minimum_from_the_search():
    # Values carry noise of 1e-9, a drop of 1e-12 drowns in it; slopes are right. Hager & Zhang's condition accepts.
    def at(step):
        noise = 1e-9 if step else 0.0
        return Trial(step, 1.0 + noise + 1e-12 * (step * step - 2 * step), 2e-12 * (step - 1), *[np.zeros(0)] * 3)

    found, calls = StrongWolfe(at, at(0.0), 1e-8, 20).search(0.5)
    assert found is not None
    assert calls == 1
    assert StrongWolfe(at, at(0.0), 0.0, 20).search(0.5).accepted is None


def test_a_cliff_ends_the_search_at_its_edge():
    # φ falls with slope −1 up to 1 and jumps there: no step satisfies the curvature condition, the bracket shrinks to nothing.
    def at(step):
        return Trial(step, -step if step <= 1 else 100.0, -1.0 if step <= 1 else 1.0, *[np.zeros(0)] * 3)

    found, calls = StrongWolfe(at, at(0.0), 0.0, 10_000).search(3.0)
    assert found is not None
    assert 1 - np.finfo(np.float64).eps <= found.step <= 1
    assert calls < 1000
