"""What scikit-learn's tests ask of its losses and update rules, asked of ours; and the host's kernel against the equations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from sklearn._loss import HalfPoissonLoss
from sklearn.neural_network._base import binary_log_loss, log_loss, poisson_loss, squared_loss
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from tolerances import ONE_STEP

from mlpx.optim import clip_by_global_norm
from mlpx.sklearn.architecture import Plan, build
from mlpx.sklearn.epochs import SolverState
from mlpx.sklearn.fit_losses import BinaryLogLoss, LogLoss, PoissonDeviance, SquaredError
from mlpx.sklearn.gradient import PenalisedLoss, Recipe, Steps
from mlpx.sklearn.host_kernel import HostStep, is_plain
from mlpx.sklearn.placement import host
from mlpx.sklearn.updates import FoldedAdam, MomentumSGD
from mlpx.step import Batch, Descent, Epoch, initial_state

RNG = np.random.default_rng(0)
RATES = [10.0**i for i in range(-3, 4)]


def value(loss, output, targets, weights=None):
    return float(loss.value(np.asarray(output, float), np.asarray(targets), weights))


# ------------------------------------------------------------------ losses: test_base.py


def test_binary_log_loss_of_a_sure_answer_is_finite():
    output = np.asarray([[logit(0.9), 800.0, 800.0]]).T
    assert np.isfinite(value(BinaryLogLoss(), output, np.asarray([[0.0, 0.0, 1.0]]).T))


def test_log_loss_of_a_sure_answer_is_finite():
    output = np.asarray([[-1000.0, 1000.0, -1000.0], [4.0, 1.0, 1.0]])
    found = value(LogLoss(), output, np.asarray([0, 1]))
    softmax = np.exp(output - output.max(1, keepdims=True))
    softmax /= softmax.sum(1, keepdims=True)
    assert found == pytest.approx(log_loss(np.eye(3, dtype=bool)[[0, 1]], softmax), rel=ONE_STEP)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_losses_and_first_deltas_are_sklearns(k, weighted):
    n = 40
    output, y = RNG.standard_normal((n, k)), RNG.standard_normal((n, k))
    bits, counts = (y > 0).astype(float), RNG.integers(0, 6, (n, k)).astype(float)
    w = RNG.uniform(0.1, 5, n) if weighted else None
    share = np.full(n, 1 / n) if w is None else w / w.sum()
    for loss, targets, theirs, prediction in (
        (BinaryLogLoss(), bits, binary_log_loss, expit(output)),
        (SquaredError(), y, squared_loss, output),
        (PoissonDeviance(), counts, poisson_loss, np.exp(output)),
    ):
        found, delta = loss(output, targets, w)
        assert float(found) == pytest.approx(theirs(targets, prediction, w), rel=ONE_STEP)
        assert_allclose(delta, share[:, None] * (prediction - targets), rtol=ONE_STEP, atol=ONE_STEP)


def test_poisson_deviance_against_halfpoissonloss():
    n = 1000
    y, raw = RNG.integers(0, 10, n).astype(float), RNG.standard_normal(n)
    w = RNG.uniform(0.1, 10, n)
    peer = HalfPoissonLoss()
    expected = peer(y_true=y, raw_prediction=raw, sample_weight=w)
    expected += peer.constant_to_optimal_zero(y_true=y, sample_weight=w).mean() / w.mean()
    assert value(PoissonDeviance(), raw[:, None], y[:, None], w) == pytest.approx(expected, rel=ONE_STEP)


# ------------------------------------------------------------------ update rules: test_stochastic_optimizers.py


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_sgd_is_sklearns(rate, momentum, nesterov):
    params, velocity = RNG.random(48), RNG.random(48)
    theirs = SGDOptimizer([params.copy()], rate, momentum=momentum, nesterov=nesterov)
    theirs.velocities = [velocity.copy()]
    rule = MomentumSGD(rate, momentum, nesterov)
    state, mine, expected = rule.init(params)._replace(velocity=velocity), params, [params.copy()]
    for _ in range(3):
        g = RNG.random(48)
        theirs.update_params(expected, [g])
        mine, state = rule.update(mine, g, state, rule.learning_rate(np.asarray(0, np.int32), np.float64))
        assert_allclose(mine, expected[0], rtol=ONE_STEP)


@pytest.mark.parametrize("beta1", [0.0, 0.9, 0.95])
@pytest.mark.parametrize("beta2", [0.0, 0.995, 0.999])
def test_folded_adam_is_sklearns(beta1, beta2):
    params = RNG.random(48)
    theirs = AdamOptimizer([params.copy()], 0.001, beta1, beta2, 1e-8)
    rule = FoldedAdam(0.001, beta1, beta2, 1e-8)
    state, mine, expected = rule.init(params), params, [params.copy()]
    for _ in range(12):
        g = RNG.standard_normal(48)
        theirs.update_params(expected, [g])
        mine, state = rule.update(mine, g, state, rule.learning_rate(np.asarray(0, np.int32), np.float64))
        assert_allclose(mine, expected[0], rtol=ONE_STEP)


class Settings:
    """What SolverState looks at."""

    def __init__(self, **given):
        vars(self).update({"solver": "sgd", "learning_rate": "constant", "power_t": 0.5, "t_": 0, "verbose": False, **given})


@pytest.mark.parametrize("rate", RATES)
def test_a_solver_stops_when_nothing_improves(rate):
    assert SolverState(rate).stops(Settings(), "")
    assert SolverState(rate).stops(Settings(solver="adam", learning_rate="adaptive"), "")


def test_an_adaptive_rate_is_cut_before_the_end():
    solver = SolverState(2e-6)
    assert not solver.stops(Settings(learning_rate="adaptive"), "")
    assert solver.learning_rate == 2e-6 / 5
    assert solver.stops(Settings(learning_rate="adaptive"), "")


def test_inverse_scaling_counts_samples():
    solver = SolverState(0.3)
    solver.epoch_ends(Settings(learning_rate="invscaling", power_t=0.25, t_=15))
    assert solver.learning_rate == pytest.approx(0.3 / 2)


# ------------------------------------------------------------------ the kernel and the equations


RULES = (FoldedAdam(0.01), MomentumSGD(0.01), MomentumSGD(0.01, 0.9, False), MomentumSGD(0.01, 0.0))


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("loss", [LogLoss(), BinaryLogLoss(), SquaredError()], ids=repr)
def test_the_kernel_does_what_the_equations_say(loss, activation, weighted, rule):
    """Two steps, the second from the first's moments: the same flat state, by kernel and by definition."""
    architecture = build(Plan((6, 5, 4, 3), (activation, activation), (0.0, 0.0)))
    recipe = Recipe(PenalisedLoss(architecture, loss, 0.3), Descent(rule))
    assert is_plain(architecture, loss)
    n = 22
    targets = RNG.integers(0, 3, n).astype(np.int32) if isinstance(loss, LogLoss) else RNG.uniform(0, 1, (n, 3))
    data = Batch(RNG.standard_normal((n, 6)), targets, RNG.uniform(0, 2, n) if weighted else ())
    epoch = Epoch(data, RNG.permutation(n).astype(np.int32))
    params = architecture.net.init(0, "numpy", "float64")

    def start():
        return initial_state(params, rule, 0)

    kernel = HostStep(architecture, loss, 0.3, Descent(rule), 11, whole=False)
    steps = Steps(recipe, host())
    steps._plain = False
    equation = steps.get(11, (start(), epoch))
    mine, expected = start(), start()
    for _ in range(2):
        mine, expected = kernel(mine, epoch)[0], equation(expected, epoch)[0]
        assert_allclose(mine.params, expected.params, rtol=ONE_STEP, atol=ONE_STEP)
        for a, b in zip(mine.optimizer, expected.optimizer, strict=True):
            assert_allclose(a, b, rtol=ONE_STEP, atol=ONE_STEP)
        assert float(mine.totals.loss) == pytest.approx(float(expected.totals.loss), rel=ONE_STEP)
        assert (int(mine.step), int(mine.cursor)) == (int(expected.step), int(expected.cursor))


def test_what_is_not_plain_goes_through_the_equations():
    dropout = build(Plan((6, 5, 3), ("relu",), (0.5,)))
    gelu = build(Plan((6, 5, 3), ("gelu",), (0.0,)))
    plain = build(Plan((6, 5, 3), ("relu",), (0.0,)))
    assert not is_plain(dropout, LogLoss())
    assert not is_plain(gelu, LogLoss())
    assert not is_plain(plain, PoissonDeviance())
    assert not Steps(Recipe(PenalisedLoss(plain, LogLoss(), 0.0), Descent(FoldedAdam(0.1), clip_norm=1.0)), host())._plain


def test_clipping_is_mlpx_own():
    g = np.asarray([3.0, 4.0])
    assert_array_equal(clip_by_global_norm(g, 10.0)[0], g)
