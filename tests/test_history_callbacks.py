"""What training tells: the history, callbacks, early stopping, the progress bar."""

from __future__ import annotations

import csv
import json
import math
import warnings

import numpy as np
import pytest
from specimens import CLASSES, assert_near, plain, record, regression, table
from tolerances import TRAINED_BY_HAND

import mlpx
from mlpx import optim
from mlpx.errors import ConfigError
from mlpx.train import Callback, EarlyStopping, History, Tolerance
from mlpx.train.callbacks import better_when_higher
from mlpx.train.metrics import Metric


def trainer_of(net=None, **settings):
    return mlpx.Trainer(plain() if net is None else net, **{"device": "numpy", "dtype": "float64", "seed": 3, **settings})


def metric(name, values, better="lower"):
    """A metric that says given numbers, one a call."""
    given = iter(values)
    return Metric(name, lambda output, targets, weights=None: np.asarray(next(given), dtype=output.dtype), better)


class Log(Callback):
    """Writes down what it is told."""

    def __init__(self, on_step=False):
        self.on_step = on_step
        self.told = []

    def on_fit_begin(self, trainer):
        self.told.append("begin")

    def on_step_end(self, trainer, step):
        self.told.append(step)

    def on_epoch_end(self, trainer, row):
        self.told.append(dict(row))
        assert trainer.history.rows[-1] == row

    def on_fit_end(self, trainer):
        self.told.append("end")


def test_callbacks_are_told_of_steps_and_epochs_in_order():
    x, y = table()
    log, quiet = Log(on_step=True), Log()
    trainer = trainer_of()
    history = trainer.fit(x, y, 2, 8, callbacks=[log, quiet])
    assert log.told == ["begin", 1, 2, 3, history.rows[0], 4, 5, 6, history.rows[1], "end"]
    assert quiet.told == ["begin", *history.rows, "end"]
    trainer.fit(x, y, 1, 8, callbacks=[log])
    assert log.told[11:14] == [7, 8, 9]


def test_a_callback_may_do_without_everything():
    trainer = trainer_of()
    bare = Callback()
    trainer.fit(*table(), 1, 8, callbacks=[bare])
    bare.on_step_end(trainer, 1)
    assert bare.state() == {}
    bare.restore({}, trainer)


@pytest.mark.parametrize("event", ["on_fit_begin", "on_step_end", "on_epoch_end", "on_fit_end"])
def test_an_error_in_a_callback_is_its_own_with_a_note_of_where(event):
    class Broken(Callback):
        on_step = True

    def fail(*_):
        raise ZeroDivisionError("mine")

    broken = Broken()
    setattr(broken, event, fail)
    trainer = trainer_of()
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        trainer.fit(*table(), 1, 8, callbacks=[broken])
    step = {"on_fit_begin": 0, "on_step_end": 1, "on_epoch_end": 3, "on_fit_end": 3}[event]
    assert caught.value.__notes__ == [f"in callback Broken at step {step}"]
    assert trainer.steps_done == int(trainer.state.step) == step
    assert trainer.running is None
    trainer.fit(*table(), 1, 8)
    assert trainer.steps_done == step + 3


def test_stopping_ends_after_the_step_and_the_first_reason_counts():
    class Stop(Callback):
        on_step = True

        def on_step_end(self, trainer, step):
            if step == 4:
                trainer.stop("first")
                trainer.stop("second")

    log = Log()
    trainer = trainer_of()
    history = trainer.fit(*table(), 5, 8, callbacks=[Stop(), log])
    assert (history.stopped, trainer.steps_done, len(history)) == ("first", 4, 1)
    assert log.told[-1] == "end"
    trainer.stop("nothing runs: no effect")
    assert trainer.fit(*table(), 1, 8).stopped == "the limit of 1 epochs"


def test_the_history_holds_the_columns_of_every_epoch(tmp_path):
    x, y = table()
    history = trainer_of().fit(x, y, 3, 8, validation=(x, y))
    columns = ("epoch", "loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds")
    assert history.columns == columns
    assert history["epoch"] == [1, 2, 3]
    assert len(history) == 3
    assert "loss" in history
    assert "mae" not in history
    assert all(seconds > 0 for seconds in history["seconds"])
    assert (history.device, history.dtype, history.precision) == ("numpy", "float64", "ieee")
    with pytest.raises(KeyError, match="'mae'; the history has epoch, loss"):
        history["mae"]
    path = tmp_path / "history.csv"
    history.to_csv(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == history.rows
    assert json.loads(json.dumps(history.to_dict())) == history.to_dict()
    assert repr(history).startswith("History(3 epochs on numpy; epoch 3, loss ")
    assert repr(history).endswith("the limit of 3 epochs)")


def test_an_empty_history_says_so():
    empty = History()
    assert repr(empty) == "History(0 epochs on ?; nothing recorded; not ended)"
    with pytest.raises(KeyError, match="no epochs"):
        empty["loss"]
    gaps = History(rows=[{"a": 1.0}, {"a": 2.0, "b": 3.0}])
    assert gaps.columns == ("a", "b")
    assert math.isnan(gaps["b"][0])


def test_no_rate_is_recorded_where_a_line_search_finds_the_step():
    assert "learning_rate" not in trainer_of(plain(2), loss="mse", optimizer="lbfgs").fit(*regression(), 3)


def test_tolerance_ends_training_when_the_loss_stands_still():
    """Batch gradient descent: the lecture's first criterion, and its second, the limit of iterations."""
    x, y = regression()
    trainer = trainer_of(plain(2), loss="mse", optimizer=optim.SGD(0.05))
    history = trainer.fit(x, y, 2000, None, tolerance=1e-4)
    changes = np.abs(np.diff(history["loss"]))
    assert changes[-1] < 1e-4
    assert (changes[:-1] >= 1e-4).all()
    assert history.stopped == "the loss changed by less than 0.0001"
    same = trainer_of(plain(2), loss="mse", optimizer=optim.SGD(0.05))
    same.fit(x, y, 2000, None, callbacks=[Tolerance(1e-4)])
    assert record(same) == record(trainer)
    assert len(trainer_of(plain(2), loss="mse").fit(x, y, 7, None, tolerance=0.0)) == 7


class Every(Callback):
    """Keeps the parameters of every epoch."""

    def __init__(self):
        self.params = []

    def on_epoch_end(self, trainer, row):
        self.params.append(trainer.params.flat)


@pytest.mark.parametrize(
    ("better", "values", "settings", "epochs", "best"),
    [
        ("lower", [5, 3, 4, 4, 2, 9, 9, 9, 9], {"patience": 3}, 8, 5),
        ("lower", [5, 3, 4, 4, 4, 2, 1, 1, 1], {"patience": 3}, 5, 2),
        ("higher", [5, 3, 7, 4, 4, 2, 1, 1, 1], {"patience": 2}, 5, 3),
        ("lower", [5, 4.8, 4.6, 4.4, 1, 1, 1, 1], {"patience": 2, "min_delta": 1.0}, 3, 1),
        ("lower", [math.nan, math.inf, 3, -math.inf, math.nan, 4], {"patience": 3}, 6, 3),
        ("lower", [math.nan] * 9, {"patience": 2}, 2, None),
        ("lower", [5, 3, 4, 4, 2, 9, 9, 9, 9], {"patience": 3, "restore_best": False}, 8, None),
        ("lower", [3, 2, 1], {"patience": 5}, 3, 3),
    ],
)
@pytest.mark.filterwarnings("ignore:validation_told is NaN")
def test_early_stopping_waits_and_restores_the_best(better, values, settings, epochs, best):
    x, y = table()
    every = Every()
    trainer = trainer_of(metrics=[metric("told", values, better)])
    stopping = EarlyStopping("validation_told", **settings)
    history = trainer.fit(x, y, len(values), 8, validation=(x, y), callbacks=[every, stopping])
    assert len(history) == epochs
    expected = every.params[-1 if best is None else best - 1]
    np.testing.assert_array_equal(trainer.params.flat, expected)
    stopped = "validation_told has not improved" if epochs < len(values) or "inf" in repr(values) else "the limit"
    assert history.stopped.startswith(stopped) or epochs == len(values)


def test_early_stopping_restores_running_statistics_and_the_average_too():
    x, y = table()
    net = mlpx.Sequential(mlpx.layers.BatchNorm(6), mlpx.layers.Dense(6, CLASSES))
    trainer = trainer_of(net, ema=0.5, metrics=[metric("told", [2, 1, 3, 3])])

    class Outputs(Callback):
        def __init__(self):
            self.seen = []

        def on_epoch_end(self, trainer, row):
            self.seen.append(trainer.predict(x))

    outputs = Outputs()
    trainer.fit(x, y, 4, 8, validation=(x, y), callbacks=[outputs, EarlyStopping("validation_told", patience=2)])
    assert_near(trainer.predict(x), outputs.seen[1], TRAINED_BY_HAND)
    assert not np.allclose(outputs.seen[1], outputs.seen[3])


def test_early_stopping_begins_anew_in_a_second_call():
    x, y = table()
    stopping, every = EarlyStopping("validation_told", patience=2), Every()
    trainer = trainer_of(metrics=[metric("told", [1, 2, 3, 9, 8, 9, 9, math.nan, math.nan])])
    trainer.fit(x, y, 7, 8, validation=(x, y), callbacks=[stopping])
    assert len(trainer.history) == 3
    trainer.fit(x, y, 7, 8, validation=(x, y), callbacks=[every, stopping])
    assert len(trainer.history) == 4
    np.testing.assert_array_equal(trainer.params.flat, every.params[1])
    with pytest.warns(UserWarning, match="told is NaN"):
        trainer.fit(x, y, 2, 8, validation=(x, y), callbacks=[every, stopping])
    np.testing.assert_array_equal(trainer.params.flat, every.params[-1])


def test_what_is_monitored_must_be_there():
    with pytest.raises(ConfigError, match=r"monitors 'validation_loss'; this history has epoch, loss.*pass validation"):
        trainer_of().fit(*table(), 2, 8, callbacks=[EarlyStopping()])


def test_columns_know_which_way_is_better():
    for column in ("validation_accuracy", "validation_top_3", "validation_r2", "validation_macro_f1"):
        assert better_when_higher(column)
    for column in ("loss", "validation_loss", "validation_mae", "validation_log_loss", "seconds"):
        assert not better_when_higher(column)
    assert better_when_higher("validation_own", [Metric("own", len, "higher")])
    assert not better_when_higher("validation_own", [Metric("own", len, "lower")])


def test_a_metric_that_is_nan_is_warned_of_and_never_the_best():
    x, y = table()
    trainer = trainer_of(metrics=[metric("told", [3, math.nan, 4, 5])])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer.fit(x, y, 4, 8, validation=(x, y))
    assert [str(one.message) for one in warned] == ["validation_told is NaN in epoch 2; it is never taken as the best"]
    assert warned[0].filename == __file__


def test_progress_is_shown_where_it_is_asked_for(capfd):
    x, y = table()
    trainer_of().fit(x, y, 2, 8, progress=True)
    shown = capfd.readouterr()
    assert "2/2" in shown.err
    assert "loss" in shown.err
    assert shown.out == ""
    for progress in (False, None):  # standard error is no terminal here
        trainer_of().fit(x, y, 2, 8, progress=progress)
        assert capfd.readouterr() == ("", "")
