"""A run that was interrupted and resumed is, bit for bit, the run that was not."""

from __future__ import annotations

import numpy as np
import pytest
from specimens import embedded, nested, plain, record, table

import mlpx
from mlpx import layers, optim
from mlpx.errors import CheckpointBusyError, CheckpointMismatchError, CheckpointNotFoundError, DivergenceError
from mlpx.store.checkpoints import Checkpoints
from mlpx.train import Callback, EarlyStopping, Tolerance

EPOCHS, BATCH = 5, 8  # three steps an epoch, the last of six rows
OPTIMIZERS = {
    "momentum": optim.SGD(optim.StepDecay(0.1, every=4, factor=0.5), momentum=0.9, nesterov=True),
    "adam": optim.Adam(optim.WarmUp(optim.Cosine(0.05, 12), 6)),
    "adamw": optim.AdamW(optim.ReduceOnPlateau(0.05, factor=0.5, patience=1)),
    "rmsprop": optim.RMSprop(optim.Exponential(0.01, decay=0.9)),
    "lbfgs": optim.LBFGS(),
}


class Halt(Callback):
    """Ends training after a step as Ctrl-C does."""

    on_step = True

    def __init__(self, after):
        self.after = after

    def on_step_end(self, trainer, step):
        if step == self.after:
            raise KeyboardInterrupt


def run(folder, device, dtype, optimizer, *, epochs=EPOCHS, halt=None, resume=False, net=plain, patience=2, **settings):
    x, y = table()
    trainer = mlpx.Trainer(net(), optimizer=OPTIMIZERS[optimizer], device=device, dtype=dtype, seed=4, **settings)
    stopping = EarlyStopping(patience=patience)
    callbacks = [stopping] if halt is None else [stopping, Halt(halt)]
    kept = {} if folder is None else {"checkpoint": folder, "resume": resume}
    try:
        batch_size = 11 if device == "jax:cpu" else BATCH  # batches of one size: XLA compiles one step
        trainer.fit(x, y, epochs, batch_size, validation=table(9, seed=1), callbacks=callbacks, **kept)
    except KeyboardInterrupt:
        assert halt is not None
        assert trainer.history.stopped == "interrupted"
    return trainer


CASES = [
    *(
        (device, optimizer, dtype)
        for device in ("numpy", "torch:cpu")
        for optimizer in OPTIMIZERS
        for dtype in ("float32", "float64")
    ),
    *(("jax:cpu", optimizer, "float32") for optimizer in OPTIMIZERS),
    ("jax:cpu", "adam", "float64"),
    ("strict:device1", "adam", "float64"),
]


@pytest.mark.parametrize(("device", "optimizer", "dtype"), CASES)
def test_a_resumed_run_is_the_straight_run(tmp_path, device, optimizer, dtype):
    mlpx.testing.register_strict()
    straight = run(None, device, dtype, optimizer)
    halts = (1, 3) if optimizer == "lbfgs" else (4, 6) if device == "numpy" else (5,)  # mid-epoch, end of an epoch
    for halt in halts:
        folder = tmp_path / str(halt)
        run(folder, device, dtype, optimizer, halt=halt)
        resumed = run(folder, device, dtype, optimizer, resume=True)
        assert record(resumed) == record(straight)
        assert resumed.history.stopped == straight.history.stopped


@pytest.mark.parametrize("halt", range(1, 16))
def test_every_step_is_a_good_step_to_be_interrupted_at(tmp_path, halt):
    """With everything that has a state: dropout, running statistics, averages, a plateau, the best parameters so far."""
    settings = {"net": nested, "ema": 0.8, "l2": 0.01, "clip_norm": 0.5, "patience": 2}
    straight = run(None, "numpy", "float64", "adamw", **settings)
    interrupted = run(tmp_path, "numpy", "float64", "adamw", halt=halt, **settings)
    if interrupted.steps_done < straight.steps_done:
        assert record(interrupted) != record(straight)
    assert record(run(tmp_path, "numpy", "float64", "adamw", resume=True, **settings)) == record(straight)


def test_patience_goes_on_where_it_was_and_restores_the_best_from_before_the_interruption(tmp_path):
    """A rate so high that the second epoch is worse than the first: the best lies before the interruption."""
    x, y = table()

    def fit(*halt, **kept):
        trainer = mlpx.Trainer(plain(), optimizer=optim.SGD(30.0), device="numpy", dtype="float64", seed=3)
        trainer.fit(x, y, 20, BATCH, validation=(x, y), callbacks=[EarlyStopping(patience=3), *halt], **kept)
        return trainer

    straight = fit()
    best = int(np.argmin(straight.history["validation_loss"])) + 1
    assert len(straight.history) == best + 3 < 20
    halt = 3 * (best + 1) + 1
    with pytest.raises(KeyboardInterrupt):
        fit(Halt(halt), checkpoint=tmp_path)
    resumed = fit(checkpoint=tmp_path, resume=True)
    assert record(resumed) == record(straight)
    assert resumed.evaluate(x, y)["loss"] == min(straight.history["validation_loss"])


def test_a_run_that_has_ended_goes_on_with_more_epochs_as_if_it_had_not(tmp_path):
    straight = run(None, "numpy", "float64", "adam", epochs=6, patience=100)
    run(tmp_path, "numpy", "float64", "adam", epochs=3, patience=100)
    longer = run(tmp_path, "numpy", "float64", "adam", epochs=6, patience=100, resume=True)
    assert record(longer) == record(straight)
    again = run(tmp_path, "numpy", "float64", "adam", epochs=6, patience=100, resume=True)
    assert record(again) == record(straight)


def test_a_run_that_patience_ended_stays_ended_and_goes_on_with_more_patience(tmp_path):
    first = run(tmp_path, "numpy", "float64", "momentum", epochs=30, patience=1)
    assert len(first.history) < 30
    assert record(run(tmp_path, "numpy", "float64", "momentum", epochs=60, patience=1, resume=True)) == record(first)
    more = run(tmp_path, "numpy", "float64", "momentum", epochs=30, patience=4, resume=True)
    assert record(more) == record(run(None, "numpy", "float64", "momentum", epochs=30, patience=4))
    assert len(more.history) > len(first.history)


def test_tolerance_and_a_finished_search_stay_ended(tmp_path):
    x, y = table()
    for settings, callbacks in (({"optimizer": "lbfgs"}, []), ({"optimizer": optim.SGD(1e-6)}, [Tolerance(1e-3)])):
        folder = tmp_path / str(len(callbacks))
        rows = []
        for resume in (False, True):
            trainer = mlpx.Trainer(plain(), device="numpy", dtype="float64", **settings)
            trainer.fit(x, y, 400, None, callbacks=callbacks, checkpoint=folder, resume=resume)
            rows.append(record(trainer))
            assert 1 < len(trainer.history) < 400
            assert "limit" not in trainer.history.stopped
        assert rows[0] == rows[1]


def test_checkpoints_come_every_so_many_steps_and_only_finite_ones_are_kept(tmp_path):
    x, y = table()
    trainer = mlpx.Trainer(plain(), device="numpy")
    trainer.fit(x, y, epochs=4, batch_size=BATCH, checkpoint=tmp_path, checkpoint_every=5)
    assert Checkpoints(tmp_path).steps() == [5, 10, 12]
    diverging = mlpx.Trainer(plain(2), loss="mse", optimizer=optim.SGD(1e6), device="numpy")
    folder = tmp_path / "diverging"
    with pytest.raises(DivergenceError, match="diverging"):
        diverging.fit(x, x[:, :2], epochs=50, batch_size=BATCH, checkpoint=folder, checkpoint_every=1)
    kept = Checkpoints(folder).latest()
    assert kept.metadata["epoch"] < 50
    assert np.isfinite(kept.arrays["state.params"]).all()


def test_a_callback_that_raises_leaves_the_folder_free_for_the_next_run(tmp_path):
    class Broken(Callback):
        def on_epoch_end(self, trainer, row):
            raise RuntimeError("broken")

    x, y = table()
    trainer = mlpx.Trainer(plain(), device="numpy")
    with pytest.raises(RuntimeError, match="broken"):
        trainer.fit(x, y, 2, BATCH, callbacks=[Broken()], checkpoint=tmp_path, checkpoint_every=1)
    with Checkpoints(tmp_path) as other:
        other.save(99, {"a": np.zeros(1)}, {})
    with Checkpoints(tmp_path) as busy:
        busy.save(100, {"a": np.zeros(1)}, {})
        with pytest.raises(CheckpointBusyError):
            trainer.fit(x, y, 2, BATCH, checkpoint=tmp_path)


def other_data(x, y):
    return x + 1, y


@pytest.mark.parametrize(
    ("settings", "fit", "named"),
    [
        ({"net": plain(4)}, {}, "network"),
        ({"net": mlpx.Sequential(layers.Dense(6, 8, activation="relu"), layers.Dense(8, 3))}, {}, "network"),
        ({"optimizer": "adam"}, {}, "optimizer"),
        ({"optimizer": optim.SGD(0.01, momentum=0.5)}, {}, "optimizer"),
        ({"dtype": "float32"}, {}, "dtype"),
        ({"seed": 1}, {}, "seed"),
        ({"l2": 0.1}, {}, "l2"),
        ({"ema": 0.5}, {}, "ema"),
        ({"clip_norm": 0.5}, {}, "clip_norm"),
        ({"class_weight": "balanced"}, {}, "data"),
        ({}, {"batch_size": 4}, "batch_size"),
        ({}, {"shuffle": False}, "shuffle"),
        ({}, {"data": other_data}, "data"),
        ({}, {"sample_weight": np.full(22, 0.5)}, "data"),
        ({}, {"validation": 0.5}, "data"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_changes(tmp_path, settings, fit, named):
    x, y = table()
    base = {"net": plain(), "optimizer": "sgd", "device": "numpy", "dtype": "float64"}
    mlpx.Trainer(**base).fit(x, y, 1, BATCH, checkpoint=tmp_path)
    other = mlpx.Trainer(**(base | settings))
    before = record(other)
    fit = {"batch_size": BATCH, **fit}
    x, y = fit.pop("data", lambda *pair: pair)(x, y)
    with pytest.raises(CheckpointMismatchError, match=rf"{named}: .* then, .* now"):
        other.fit(x, y, 3, checkpoint=tmp_path, resume=True, **fit)
    assert record(other) == before
    assert other.state is None
    other.fit(x, y, 1, **fit)  # and it is not left locked


def test_nothing_to_resume_from_is_said(tmp_path):
    x, y = table()
    with pytest.raises(CheckpointNotFoundError, match="folder"):
        mlpx.Trainer(plain(), device="numpy").fit(x, y, 1, BATCH, checkpoint=tmp_path / "none", resume=True)


def test_a_run_may_move_to_another_library(tmp_path):
    """Not bit for bit, but from the same state."""
    x, y = table()
    halted = mlpx.Trainer(embedded(), device="torch:cpu", dtype="float64")
    with pytest.raises(KeyboardInterrupt):
        halted.fit(x, y, 4, BATCH, callbacks=[Halt(5)], checkpoint=tmp_path)
    moved = mlpx.Trainer(embedded(), device="numpy", dtype="float64")
    moved.fit(x, y, 2, BATCH, checkpoint=tmp_path, resume=True)
    whole = mlpx.Trainer(embedded(), device="numpy", dtype="float64")
    whole.fit(x, y, 2, BATCH)
    assert moved.steps_done == whole.steps_done == 6
    assert type(moved.state.params) is np.ndarray
    assert np.abs(moved.state.params - whole.state.params).max() < np.finfo(np.float32).eps
