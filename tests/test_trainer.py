"""The Trainer: what it minimises, in which batches, with what it leaves behind."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
from specimens import CLASSES, ROWS, WIDTH, assert_near, digest, embedded, nested, plain, record, regression, table
from tolerances import ROUNDED_TO_FLOAT32, TRAINED_BY_HAND

import mlpx
from mlpx import Sequential, layers, losses, optim, random
from mlpx.errors import ConfigError, DivergenceError, InvalidInputError, ResourceLimitError
from mlpx.layers import Layer
from mlpx.testing.strict_backend import StrictBackend, register_strict
from mlpx.testing.variants import variant
from mlpx.train import Callback
from mlpx.train.fit import Fit


def trainer_of(net=None, **settings):
    return mlpx.Trainer(plain() if net is None else net, **{"device": "numpy", "dtype": "float64", "seed": 3, **settings})


class Watch(Callback):
    """Keeps the parameters after every step."""

    on_step = True

    def __init__(self):
        self.params = []

    def on_step_end(self, trainer, step):
        self.params.append(np.array(trainer.state.params))


# ---------------------------------------------------------------------- what is computed


def by_hand(x, y, epochs, batch_size, rate, momentum):
    """One hidden layer of tanh, half squared error, SGD with momentum, in plain NumPy; the documented order of rows."""
    p = dict(plain(2).init(seed=3, dtype="float64"))
    v = {name: np.zeros_like(array) for name, array in p.items()}
    losses_of_epochs = []
    for epoch in range(epochs):
        key = random.fold_in(random.fold_in(random.key(3), random.Purpose.SHUFFLE), epoch)
        order = random.permutation(key, len(x))
        total = 0.0
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            a = np.tanh(x[rows] @ p["0.weight"].T + p["0.bias"])
            error = a @ p["1.weight"].T + p["1.bias"] - y[rows]
            total += 0.5 * np.sum(error**2)
            delta = error / len(rows)
            hidden = delta @ p["1.weight"] * (1 - a**2)
            grads = {
                "0.weight": hidden.T @ x[rows],
                "0.bias": hidden.sum(axis=0),
                "1.weight": delta.T @ a,
                "1.bias": delta.sum(axis=0),
            }
            for name, grad in grads.items():
                v[name] = momentum * v[name] + grad
                p[name] = p[name] - rate * v[name]
        losses_of_epochs.append(total / len(x))
    return losses_of_epochs, p


@pytest.mark.parametrize("batch_size", [1, 5, 11, ROWS - 1, ROWS])
def test_training_is_the_loop_written_by_hand(batch_size):
    """22 rows: the last batch is of 1, 2, 11, 1 and 22 rows. The history's loss is the mean over all rows."""
    x, y = regression()
    trainer = trainer_of(plain(2), loss="half_squared_error", optimizer=optim.SGD(0.05, momentum=0.9))
    history = trainer.fit(x, y, epochs=3, batch_size=batch_size)
    expected, params = by_hand(x, y, 3, batch_size, 0.05, 0.9)
    np.testing.assert_allclose(history["loss"], expected, rtol=TRAINED_BY_HAND)
    for name, array in params.items():
        assert_near(trainer.params[name], array, TRAINED_BY_HAND)
    assert trainer.steps_done == 3 * -(-ROWS // batch_size)


def test_no_batch_size_is_batch_gradient_descent():
    x, y = table()
    whole, all_rows = trainer_of(), trainer_of()
    whole.fit(x, y, 4, None)
    all_rows.fit(x, y, 4, ROWS)
    assert record(whole) == record(all_rows)
    assert whole.steps_done == 4


def test_without_shuffling_rows_come_in_their_order():
    x, y = table()
    halves = [slice(0, 11), slice(11, 22)]
    trainer, by_halves = trainer_of(optimizer="sgd"), trainer_of(optimizer="sgd")
    trainer.fit(x, y, 1, 11, shuffle=False)
    for rows in halves:
        by_halves.fit(x[rows], y[rows], 1, None)
    np.testing.assert_array_equal(trainer.state.params, by_halves.state.params)
    shuffled = trainer_of(optimizer="sgd")
    shuffled.fit(x, y, 1, 11)
    assert not np.array_equal(shuffled.state.params, trainer.state.params)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_a_row_of_weight_three_is_a_row_given_three_times(loss):
    x, y = table() if loss == "softmax_cross_entropy" else regression()
    net = plain(CLASSES if loss == "softmax_cross_entropy" else 2)
    times = np.arange(ROWS) % 4
    weighted, repeated = (trainer_of(net, loss=loss, optimizer="sgd") for _ in range(2))
    one = weighted.fit(x, y, 5, None, sample_weight=times, validation=(x, y, times))
    two = repeated.fit(
        np.repeat(x, times, axis=0),
        np.repeat(y, times, axis=0),
        5,
        None,
        validation=(np.repeat(x, times, 0), np.repeat(y, times, 0)),
    )
    for column in one.columns:
        if column != "seconds":
            np.testing.assert_allclose(one[column], two[column], rtol=TRAINED_BY_HAND, err_msg=column)
    assert weighted.evaluate(x, y, times)["loss"] == pytest.approx(one["validation_loss"][-1], rel=TRAINED_BY_HAND)
    assert_near(weighted.state.params, repeated.state.params, TRAINED_BY_HAND)


def test_class_weights_are_weights_of_the_rows_of_a_class():
    x, y = table()
    counts = np.bincount(y)
    assert len(set(counts)) > 1
    balanced = ROWS / (CLASSES * counts)  # as scikit-learn defines it
    for class_weight, by_class in (("balanced", balanced), ({0: 2.0, 2: 0.5}, np.asarray([2.0, 1.0, 0.5]))):
        own = np.linspace(0.5, 1.5, ROWS)
        by_rows, by_classes = trainer_of(), trainer_of(class_weight=class_weight)
        by_rows.fit(x, y, 3, 8, sample_weight=own * by_class[y])
        by_classes.fit(x, y, 3, 8, sample_weight=own)
        assert_near(by_classes.state.params, by_rows.state.params, TRAINED_BY_HAND)


def test_one_hot_rows_are_labels():
    x, y = table()
    labels, rows = trainer_of(), trainer_of()
    labels.fit(x, y, 3, 8)
    rows.fit(x, np.eye(CLASSES)[y], 3, 8)
    assert_near(rows.state.params, labels.state.params, TRAINED_BY_HAND)


def test_structural_risk_shrinks_weights_and_not_biases():
    """Where the data ask for nothing, one step of gradient descent is W ← (1 − η λ) W."""
    net = Sequential(layers.Dense(WIDTH, 2, bias_init={"name": "normal", "scale": 1.0}))
    trainer = trainer_of(net, loss="half_squared_error", optimizer=optim.SGD(0.1), l2=0.5)
    first = net.init(seed=3, dtype="float64")
    x = np.zeros((4, WIDTH))
    history = trainer.fit(x, np.broadcast_to(first["0.bias"], (4, 2)), 1, None)
    np.testing.assert_allclose(trainer.params["0.weight"], 0.95 * first["0.weight"], rtol=TRAINED_BY_HAND)
    np.testing.assert_allclose(trainer.params["0.bias"], first["0.bias"], rtol=TRAINED_BY_HAND)
    assert history["loss"] == [pytest.approx(0.25 * np.sum(first["0.weight"] ** 2), rel=TRAINED_BY_HAND)]


def test_the_gradient_is_clipped_by_norm_and_by_value():
    x, y = regression()
    first = plain(2).init(seed=3, dtype="float64").flat
    steps = {}
    for name, limits in (
        ("free", {}),
        ("norm", {"clip_norm": 0.1}),
        ("value", {"clip_value": 0.03}),
        ("far", {"clip_norm": 1e9}),
    ):
        trainer = trainer_of(plain(2), loss="mse", optimizer=optim.SGD(1.0), **limits)
        trainer.fit(x, y, 1, None)
        steps[name] = first - trainer.state.params
    free = steps["free"]
    assert_near(steps["norm"], 0.1 * free / np.linalg.norm(free), TRAINED_BY_HAND)
    assert_near(steps["value"], np.clip(free, -0.03, 0.03), TRAINED_BY_HAND)
    assert_near(steps["far"], free, TRAINED_BY_HAND)


def test_the_average_is_that_of_the_parameters_after_every_step():
    x, y = table()
    decay, watch, plain_run = 0.7, Watch(), trainer_of()
    averaged = trainer_of(ema=decay)
    assert averaged.fit(x, y, 3, 8, callbacks=[watch])["loss"] == plain_run.fit(x, y, 3, 8)["loss"]
    weights = np.asarray([decay ** (len(watch.params) - 1 - i) for i in range(len(watch.params))])
    expected = np.average(watch.params, axis=0, weights=weights)
    assert_near(averaged.params.flat, expected, TRAINED_BY_HAND)
    np.testing.assert_allclose(averaged.predict(x), plain().forward(averaged.params, x)[0], rtol=TRAINED_BY_HAND)
    np.testing.assert_array_equal(averaged.model.predict(x), averaged.predict(x))
    assert not np.array_equal(plain_run.predict(x), averaged.predict(x))


RATES = {
    "constant": (optim.Constant(0.1), lambda t: 0.1),
    "step": (optim.StepDecay(0.1, every=4, factor=0.5), lambda t: 0.1 * 0.5 ** (t // 4)),
    "exponential": (optim.Exponential(0.1, decay=0.9), lambda t: 0.1 * 0.9**t),
    "cosine": (optim.Cosine(0.1, steps=9, final=0.01), lambda t: 0.01 + 0.045 * (1 + np.cos(np.pi * min(t, 9) / 9))),
    "warm-up": (optim.WarmUp(optim.Exponential(0.1, decay=0.9), steps=5), lambda t: min((t + 1) / 5, 1) * 0.1 * 0.9**t),
    "function": (lambda step: 0.2 / (step + 2), lambda t: 0.2 / (t + 2)),
}


@pytest.mark.parametrize("name", RATES)
def test_the_rate_follows_its_schedule_over_all_calls_of_fit(name):
    """Three steps an epoch: the history shows the rate of steps 2, 5, 8 and, in a second call, 11. SGD with it is by hand."""
    schedule, expected = RATES[name]
    x, y = table()
    trainer, watch = trainer_of(optimizer=optim.SGD(schedule)), Watch()
    rates = trainer.fit(x, y, 3, 8, callbacks=[watch])["learning_rate"] + trainer.fit(x, y, 1, 8)["learning_rate"]
    np.testing.assert_allclose(rates, [expected(t) for t in (2, 5, 8, 11)], rtol=TRAINED_BY_HAND)
    constant = trainer_of(optimizer=optim.SGD(1.0), params=None)
    once = Watch()
    constant.fit(x, y, 1, 8, callbacks=[once])
    first = plain().init(seed=3, dtype="float64").flat
    assert_near(first - watch.params[0], expected(0) * (first - once.params[0]), TRAINED_BY_HAND)


def test_reduce_on_plateau_cuts_the_rate_of_the_next_epoch():
    x, y = table()
    plateau = optim.ReduceOnPlateau(0.5, factor=0.5, patience=1, monitor="validation_loss", min_rate=0.1)
    history = trainer_of(optimizer=optim.SGD(plateau)).fit(x, y, 14, 8, validation=table(9, seed=1))
    losses_seen, rates = history["validation_loss"], history["learning_rate"]
    expected, scale, best, waited = [], 1.0, np.inf, 0
    for loss in losses_seen:  # the rule, written again
        expected.append(0.5 * scale)
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited > 1:
            scale, waited = max(0.5 * scale, 0.2), 0
    np.testing.assert_allclose(rates, expected, rtol=TRAINED_BY_HAND)
    assert rates[-1] == pytest.approx(0.1)
    assert len(set(rates)) == 4
    told = trainer_of(optimizer=optim.SGD(lambda step: np.asarray(rates)[np.minimum(step // 3, 13)]))  # three steps an epoch
    np.testing.assert_allclose(told.fit(x, y, 14, 8)["loss"], history["loss"], rtol=TRAINED_BY_HAND)
    with pytest.raises(ConfigError, match=r"monitors 'validation_loss'.*loss, learning_rate.*pass validation"):
        trainer_of(optimizer=optim.SGD(plateau)).fit(x, y, 1, 8)


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_running_statistics_follow_the_batches_of_training(optimizer):
    """Two steps on all rows move them by 1 − 0.75² of the way from 0 and 1 to the mean and the unbiased variance."""
    x, y = table()
    trainer = trainer_of(Sequential(layers.BatchNorm(WIDTH, momentum=0.25), *plain().children()), optimizer=optimizer)
    trainer.fit(x, y, 2, None)
    way = 1 - 0.75**2
    np.testing.assert_allclose(trainer.params["0.running_mean"], way * x.mean(axis=0), rtol=TRAINED_BY_HAND)
    expected = 1 - way + way * x.var(axis=0, ddof=1)
    np.testing.assert_allclose(trainer.params["0.running_variance"], expected, rtol=TRAINED_BY_HAND)


def test_calls_of_fit_add_up():
    """Five epochs are two and three: order of rows, masks, moments, averages and schedule go on."""
    x, y = table()
    once, twice = (trainer_of(nested(), ema=0.9, optimizer=optim.Adam(optim.Cosine(0.01, 15))) for _ in range(2))
    once.fit(x, y, 5, 8)
    twice.fit(x, y, 2, 8)
    twice.fit(x, y, 3, 8)
    assert digest(twice.state) == digest(once.state)
    assert (twice.steps_done, twice.epochs_done) == (15, 5)
    assert len(twice.history) == 3
    assert twice.history["epoch"] == [1, 2, 3]


def test_a_second_search_begins_anew_from_the_parameters_reached():
    x, y = regression()
    trainer = trainer_of(plain(2), loss="mse", optimizer="lbfgs")
    reached = trainer.fit(x, y, 20)["loss"][-1]
    assert trainer.fit(x, y, 1)["loss"][-1] <= reached
    other, start = (x[::-1] * 0.5, y + 1), trainer.params
    moved = trainer.fit(*other, 1)["loss"][-1]
    fresh = trainer_of(plain(2), loss="mse", optimizer="lbfgs", params=start)
    assert fresh.fit(*other, 1)["loss"][-1] == moved


def test_the_share_set_aside_for_validation_is_not_trained_on():
    x, y = table(40)
    x[:, 0] = np.arange(40)  # tells rows apart
    seen = []

    class Data(Callback):
        def on_fit_begin(self, trainer):
            seen.append((trainer.running.data.x[:, 0], trainer.running.validation.x[:, 0], trainer.running.data.targets))

    for seed in (3, 3, 4):
        trainer_of(seed=seed).fit(x, y, 1, 8, validation=0.25, callbacks=[Data()])
    (train, held, labels), again, other = seen
    assert len(held) == 10
    assert sorted([*train, *held]) == list(range(40))
    assert labels.tolist() == y[train.astype(int)].tolist()
    np.testing.assert_array_equal(held, again[1])
    assert set(held) != set(other[1])


def test_validation_columns_are_what_evaluate_says():
    x, y = table()
    held = table(9, seed=5)
    trainer = trainer_of(metrics=["accuracy", "top_2", "macro_f1", "log_loss"])
    history = trainer.fit(x, y, 2, 8, validation=held)
    measured = trainer.evaluate(*held)
    assert list(measured) == ["loss", "accuracy", "top_2", "macro_f1", "log_loss"]
    assert {f"validation_{name}": value for name, value in measured.items()}.items() <= history.rows[-1].items()
    assert measured["log_loss"] == pytest.approx(measured["loss"], rel=TRAINED_BY_HAND)


# ---------------------------------------------------------------------- what is asked of the device


def test_within_an_epoch_nothing_waits_for_the_device(monkeypatch):
    """On arrays that refuse to be looked at. At its end one vector is read."""
    register_strict()
    run_epoch, static = Fit._run_epoch, variant("strict:static")
    monkeypatch.setattr(Fit, "_run_epoch", lambda self, interrupt: static.wrap(lambda: run_epoch(self, interrupt))())
    reads, to_numpy, inside = [], StrictBackend.to_numpy, []
    monkeypatch.setattr(StrictBackend, "to_numpy", lambda self, array: (reads.append(array.shape), to_numpy(self, array))[1])
    x, y = table()
    counts = []
    for epochs in (2, 5):
        reads.clear()
        trainer = mlpx.Trainer(
            nested(), optimizer=optim.AdamW(optim.WarmUp(0.01, 4)), device="strict:device1", ema=0.9, clip_norm=1.0, l2=0.1
        )
        trainer.fit(x, y, epochs, 8, validation=(x, y))
        counts.append(len(reads))
        inside.append(reads[-1])
    assert counts[1] - counts[0] == 3
    assert inside == [(7,), (7,)]  # loss, weight, divergence, finite, rate, validation loss and accuracy


def test_the_watch_of_the_epoch_does_notice_a_wait(monkeypatch):
    register_strict()
    run_epoch, static = Fit._run_epoch, variant("strict:static")
    monkeypatch.setattr(Fit, "_run_epoch", lambda self, interrupt: static.wrap(lambda: run_epoch(self, interrupt))())

    class Reader(Callback):
        on_step = True

        def on_step_end(self, trainer, step):
            float(trainer.state.totals.loss)

    with pytest.raises(TypeError, match="__float__"):
        mlpx.Trainer(plain(), device="strict:device1").fit(*table(), 1, 8, callbacks=[Reader()])


def test_a_step_is_compiled_once_for_each_shape_of_batch_and_data(monkeypatch):
    compiled = []
    monkeypatch.setattr(
        type(mlpx.device("numpy").backend), "compile", lambda self, step, example: (compiled.append(example), step)[1]
    )
    x, y = table()
    trainer = trainer_of()
    trainer.fit(x, y, 3, 8)
    assert [len(example[1].order) for example in compiled] == [ROWS, ROWS]  # of 8 rows, and of 6
    trainer.fit(x, y, 1, 8)
    assert len(compiled) == 2
    for changed in ({"sample_weight": np.ones(ROWS)}, {"batch_size": 11}, {"batch_size": None}):
        before = len(compiled)
        trainer.fit(x, y, 1, **{"batch_size": 8, **changed})
        assert len(compiled) == before + (2 if "sample_weight" in changed else 1)


# ---------------------------------------------------------------------- what comes back


@pytest.mark.parametrize("device", ["numpy", "torch:cpu", "jax:cpu", "strict:device1"])
@pytest.mark.parametrize("home", ["numpy", "torch:cpu", "jax:cpu", "strict:device2"])
def test_predictions_are_where_x_is(device, home):
    register_strict()
    x, y = table()
    trainer = trainer_of(device=device)
    trainer.fit(x, y, 1, None)
    given = mlpx.to_device(x, home)
    for found in (trainer.predict(given), trainer.predict_proba(given)):
        assert type(found) is type(given)
        assert mlpx.device(found) == mlpx.device(home)
        assert tuple(found.shape) == (ROWS, CLASSES)
    np.testing.assert_allclose(mlpx.to_numpy(trainer.predict_proba(given)).sum(axis=1), 1, rtol=TRAINED_BY_HAND)


@pytest.mark.parametrize("net", [Sequential(layers.Columns(0, 3)), Sequential(layers.Columns(0, 3), layers.Dropout(0.5))])
def test_predictions_have_memory_of_their_own(net):
    x, y = table()
    trainer = trainer_of(net, optimizer="sgd")
    trainer.fit(x, y, 1, None)
    found = trainer.predict(x)
    np.testing.assert_array_equal(found, x[:, :3])
    assert not np.shares_memory(found, x)
    assert trainer.predict(x.tolist()).tolist() == found.tolist()


def test_predictions_do_not_depend_on_how_many_rows_are_asked_at_once(monkeypatch):
    x, y = table(50)
    trainer = trainer_of(nested())
    trainer.fit(x, y, 1, 8)
    whole = trainer.predict(x)
    monkeypatch.setattr("mlpx.train.model.TILE_ROWS", 7)
    assert_near(trainer.predict(x), whole, TRAINED_BY_HAND)


@pytest.mark.parametrize("device", ["numpy", "jax:cpu", "torch:cpu"])
def test_what_a_trainer_gives_away_is_never_what_it_goes_on_with(device):
    """JAX deletes the arrays of a state that a compiled step was given; these must live on, and keep their values."""
    x, y = table()
    start = plain().init(seed=9, device=device, dtype="float64")
    begun = digest(start.flat)
    trainer = trainer_of(device=device, params=start)
    trainer.fit(x, y, 1, 11)
    assert digest(start.flat) == begun
    params, model, bits = trainer.params, trainer.model, digest(trainer.params.flat)
    predicted = digest(model.predict(x))
    trainer.fit(x, y, 1, 11)
    assert digest(params.flat) == bits
    assert digest(model.predict(x)) == predicted
    assert digest(trainer.params.flat) != bits
    weights = trainer.copy_of_weights()
    trainer.set_weights(*weights)
    trainer.fit(x, y, 1, 11)
    digest(weights)


def test_training_starts_from_given_parameters_in_its_own_dtype():
    x, y = table()
    start = plain().init(seed=9)
    given, drawn = trainer_of(params=start, dtype="float64"), trainer_of(seed=9, dtype="float32")
    first = Watch()
    given.fit(x, y, 1, None, callbacks=[first])
    drawn.fit(x, y, 1, None)
    assert first.params[0].dtype == np.float64
    assert_near(first.params[0], drawn.state.params, ROUNDED_TO_FLOAT32)


def test_a_single_layer_is_a_network_and_a_trainer_shows_what_it_is():
    x, y = table()
    trainer = trainer_of(layers.Dense(WIDTH, CLASSES), device=None)
    assert repr(trainer) == (
        "Trainer(Sequential(Dense(n_in=6, n_out=3)), loss=SoftmaxCrossEntropy(), "
        "optimizer=Adam(learning_rate=Constant(rate=0.001), beta1=0.9, beta2=0.999, eps=1e-08), device=follows x, steps=0)"
    )
    with pytest.raises(InvalidInputError, match="no device yet"):
        trainer.device.native  # noqa: B018
    trainer.fit(x, y, 2, 11)
    assert repr(trainer).endswith("device=numpy, steps=4)")


def test_training_follows_x_to_its_library():
    torch = pytest.importorskip("torch")
    x, y = table()
    trainer = trainer_of(device=None)
    held = []

    class Data(Callback):
        def on_fit_begin(self, trainer):
            held.extend([trainer.running.data.x, trainer.running.validation.x])

    given = torch.tensor(x, requires_grad=True)
    trainer.fit(given, y, 1, 8, validation=(x, y), sample_weight=np.ones(ROWS), callbacks=[Data()])
    assert all(isinstance(one, torch.Tensor) and not one.requires_grad for one in held)
    assert isinstance(trainer.state.params, torch.Tensor)
    assert not trainer.state.params.requires_grad
    assert trainer.history.device == "torch:cpu"


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("device", ["numpy", "torch:cpu", "jax:cpu"])
def test_a_rate_too_high_is_named_and_the_model_is_as_it_was(device):
    x, y = regression()
    trainer = trainer_of(plain(2), loss="mse", optimizer=optim.SGD(0.01), l2=0.0)
    trainer.fit(x, y, 2, 8)
    hot = trainer_of(plain(2), loss="mse", optimizer=optim.SGD(1e6), params=trainer.params, device=device)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DivergenceError) as caught:
            hot.fit(x, y, 40, 8)
    said = str(caught.value)
    for phrase in ("not finite at step ", "epoch ", "learning rate 1e+06", "largest gradient", "no checkpoints", "clip_norm"):
        assert phrase in said
    assert hot.history.stopped == "diverged"
    assert np.isfinite(mlpx.to_numpy(hot.params.flat)).all()
    step, epoch = (int(said.split(word)[1].split(" ")[0].strip(")(;")) for word in ("at step ", "of epoch "))
    assert -(-step // 3) == epoch == len(hot.history) + 1  # three steps an epoch
    assert hot.steps_done == 3 * len(hot.history)
    hot.predict(x)


def test_a_second_call_counts_steps_from_the_first():
    """One batch that cannot be learned from, in an epoch of three."""
    x, y = regression()
    wild = y.copy()
    wild[:] = 1e200
    trainer = trainer_of(plain(2), loss="mse", optimizer=optim.SGD(0.01))
    trainer.fit(x, y, 2, 8)
    before = digest(trainer.state[:3]), trainer.epochs_done
    with pytest.raises(DivergenceError, match=r"step 7 \(batch 1 of epoch 1\)"):
        trainer.fit(x, wild, 2, 8)
    assert trainer.steps_done == 6
    assert (digest(trainer.state[:3]), trainer.epochs_done) == before
    assert trainer.fit(x, y, 1, 8)["loss"][0] < 10  # and it can be trained on


class Poison(optim.Optimizer):
    """Makes one parameter infinite in a given step, so that no loss of that epoch shows it."""

    name = "poison_of_test_trainer"

    def __init__(self, at: int):
        super().__init__(0.1)
        self.at = at

    def init(self, params):
        return (np.zeros((), dtype=np.int32),)

    def update(self, params, grads, state, learning_rate):
        params = params - learning_rate * grads
        if state[0] + 1 == self.at:
            params = params.copy()
            params[plain().layout.entries["1.bias"].offset] = np.inf
        return params, (state[0] + 1,)


def test_a_parameter_that_is_not_finite_is_named_though_the_losses_are():
    x, y = table()
    trainer = trainer_of(optimizer=Poison(at=6))
    with pytest.raises(DivergenceError, match=r"parameter '1.bias' is not finite in epoch 2, while the losses were"):
        trainer.fit(x, y, 3, 8)
    assert np.isfinite(trainer.state.params).all()
    assert len(trainer.history) == 1


def test_a_run_that_is_stopped_within_an_epoch_is_looked_at_too():
    class Stop(Callback):
        on_step = True

        def on_step_end(self, trainer, step):
            if step == 5:
                trainer.stop("enough")

    x, y = table()
    with pytest.raises(DivergenceError, match=r"'1\.bias'"):
        trainer_of(optimizer=Poison(at=5)).fit(x, y, 3, 8, callbacks=[Stop()])
    trainer = trainer_of()
    assert trainer.fit(x, y, 3, 8, callbacks=[Stop()]).stopped == "enough"
    assert (trainer.steps_done, len(trainer.history)) == (5, 1)


class Hungry(Layer):
    """Runs out of memory at its third forward pass."""

    error: Exception = MemoryError("cannot allocate")

    def __init__(self):
        self.calls = 0

    def forward(self, params, x, *, train=False, key=None):
        self.calls += train
        if self.calls == 3:
            raise self.error
        return x, ()

    def backward(self, params, residuals, dy):
        return dy, {}


@pytest.mark.parametrize(
    "error", [MemoryError("no"), RuntimeError("CUDA out of memory. Tried"), RuntimeError("RESOURCE_EXHAUSTED: x")]
)
def test_out_of_memory_in_a_step_says_what_to_lower_and_keeps_the_step_before(error):
    x, y = table()
    hungry = Hungry()
    hungry.error = error
    trainer, watch = trainer_of(Sequential(hungry, *plain().children())), Watch()
    with pytest.raises(ResourceLimitError, match=r"step of 6 rows: lower batch_size") as caught:
        trainer.fit(x, y, 2, 8, callbacks=[watch])
    assert caught.value.__cause__ is error
    assert trainer.steps_done == int(trainer.state.step) == len(watch.params) == 2
    np.testing.assert_array_equal(trainer.state.params, watch.params[-1])
    assert trainer.history.stopped == "failed: ResourceLimitError"
    trainer.fit(x, y, 1, 8)


def test_other_errors_of_a_step_are_left_as_they_are():
    hungry = Hungry()
    hungry.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug") as caught:
        trainer_of(Sequential(hungry, *plain().children())).fit(*table(), 2, 8)
    assert not isinstance(caught.value, ResourceLimitError)


def test_one_trainer_fits_once_at_a_time():
    x, y = table()

    class Again(Callback):
        def on_epoch_end(self, trainer, row):
            trainer.fit(x, y, 1, 8)

    trainer = trainer_of()
    with pytest.raises(ConfigError, match="already fitting") as caught:
        trainer.fit(x, y, 2, 8, callbacks=[Again()])
    assert "in callback Again at step 3" in caught.value.__notes__
    assert trainer.fit(x, y, 1, 8).stopped == "the limit of 1 epochs"

    begun, refused = threading.Event(), threading.Event()

    class Wait(Callback):
        def on_fit_begin(self, trainer):
            begun.set()
            assert refused.wait(10)

    straight, shared = trainer_of(), trainer_of()
    straight.fit(x, y, 2, 8)
    thread = threading.Thread(target=lambda: shared.fit(x, y, 2, 8, callbacks=[Wait()]))
    thread.start()
    assert begun.wait(10)
    with pytest.raises(ConfigError, match="already fitting"):
        shared.fit(x, y, 2, 8)
    refused.set()
    thread.join()
    assert record(shared) == record(straight)


def in_threads(functions):
    results = [None] * len(functions)

    def run(i):
        results[i] = functions[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_threads_that_train_and_predict_give_the_serial_bits():
    x, y = table()
    makers = [lambda seed=seed: trainer_of(nested(), seed=seed) for seed in range(8)]

    def fitted(make):
        trainer = make()
        trainer.fit(x, y, 2, 8)
        return record(trainer)

    assert in_threads([lambda make=make: fitted(make) for make in makers]) == [fitted(make) for make in makers]
    trainer = makers[0]()
    trainer.fit(x, y, 1, 8)
    expected = digest(trainer.predict(x))
    assert in_threads([lambda: digest(trainer.predict(x))] * 8) == [expected] * 8


def test_data_changed_while_training_does_no_harm_to_the_trainer():
    """It is not detected, as documented; nothing breaks."""
    x, y = table()

    class Change(Callback):
        def on_epoch_end(self, trainer, row):
            x[:] = 0

    trainer = trainer_of()
    trainer.fit(x, y, 3, 8, callbacks=[Change()])
    assert np.isfinite(trainer.state.params).all()


def test_a_network_without_parameters_trains_to_nothing():
    x, y = table()
    trainer = trainer_of(Sequential(layers.Columns(0, 3)))
    assert len(set(trainer.fit(x, y, 3, None)["loss"])) == 1


def test_losses_of_every_name_train():
    x, y = table()
    for name in losses.LOSSES:
        loss = losses.get(name)
        targets = y if loss.target_kind == "labels" else np.eye(CLASSES)[y]
        history = trainer_of(embedded(), loss=loss, optimizer=optim.Adam(0.01)).fit(x, targets, 12, 8)
        assert history["loss"][-1] < history["loss"][0], name
