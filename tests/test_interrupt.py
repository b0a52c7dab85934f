"""Ctrl-C and SIGTERM: training ends between two steps, and what was learned is kept."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
from specimens import plain, record, table

from mlpx import Sequential
from mlpx.errors import CheckpointNotFoundError
from mlpx.layers import Layer
from mlpx.store.checkpoints import Checkpoints
from mlpx.train import Callback, Trainer
from mlpx.train.interrupt import Interrupt

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


class Signals(Layer):
    """Sends this process signals in the middle of its forward pass number `at`; what it computes is x."""

    def __init__(self, at: int, *numbers: int):
        self.at, self.numbers, self.calls = at, numbers, 0

    def forward(self, params, x, *, train=False, key=None):
        self.calls += train
        if self.calls == self.at and train:
            for number in self.numbers:
                os.kill(os.getpid(), number)
                for _ in range(1000):  # the interpreter runs handlers between two of its instructions
                    pass
        return x, ()

    def backward(self, params, residuals, dy):
        return dy, {}


class Steps(Callback):
    """Counts steps, keeps parameters."""

    on_step = True

    def __init__(self):
        self.params = []

    def on_step_end(self, trainer, step):
        self.params.append(np.array(trainer.state.params))


def trainer_of(*first: Layer) -> Trainer:
    return Trainer(Sequential(*first, *plain().children()), device="numpy", dtype="float64", seed=3)


@pytest.fixture
def handlers():
    """Handlers of the test's own, which training must put back."""
    caught = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    mine = lambda number, frame: caught.append(number)  # noqa: E731
    old = {number: signal.signal(number, mine) for number in numbers}
    yield caught
    assert all(signal.getsignal(number) is mine for number in numbers)
    for number, handler in old.items():
        signal.signal(number, handler)
    assert caught == []


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_within_a_step_is_acted_upon_after_it(tmp_path, handlers, number, error):
    x, y = table()
    trainer, steps = trainer_of(Signals(5, number)), Steps()
    with pytest.raises(error) as caught:
        trainer.fit(x, y, 4, 8, callbacks=[steps], checkpoint=tmp_path)
    if error is SystemExit:
        assert caught.value.code == 143
    assert trainer.steps_done == len(steps.params) == 5
    np.testing.assert_array_equal(trainer.state.params, steps.params[-1])
    assert (trainer.history.stopped, len(trainer.history)) == ("interrupted", 1)
    trainer.predict(x)
    straight, resumed = trainer_of(Signals(0)), trainer_of(Signals(0))
    Checkpoints(tmp_path).load(5)
    straight.fit(x, y, 4, 8)
    resumed.fit(x, y, 4, 8, checkpoint=tmp_path, resume=True)
    assert record(resumed) == record(straight)


def test_a_second_signal_acts_at_once_and_keeps_the_step_before(tmp_path, handlers):
    x, y = table()
    trainer, steps = trainer_of(Signals(5, signal.SIGINT, signal.SIGINT)), Steps()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(x, y, 4, 8, callbacks=[steps], checkpoint=tmp_path)
    assert trainer.steps_done == len(steps.params) == 4
    np.testing.assert_array_equal(trainer.state.params, steps.params[-1])
    with pytest.raises(CheckpointNotFoundError):  # nothing is written from the middle of a step
        Checkpoints(tmp_path).latest()
    trainer.fit(x, y, 1, 8, checkpoint=tmp_path)  # and the folder is free


def test_a_signal_after_the_last_step_comes_through_once_training_is_over(handlers):
    class Late(Callback):
        def on_fit_end(self, trainer):
            os.kill(os.getpid(), signal.SIGINT)

    trainer = trainer_of()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*table(), 2, 8, callbacks=[Late()])
    assert trainer.history.stopped == "the limit of 2 epochs"


def test_training_in_a_thread_leaves_signals_alone(handlers):
    trainer, seen = trainer_of(), []

    class Look(Callback):
        def on_epoch_end(self, trainer, row):
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: trainer.fit(*table(), 1, 8, callbacks=[Look()]))
    thread.start()
    thread.join()
    assert seen == [before]
    assert trainer.steps_done == 3


def test_an_error_puts_the_handlers_back(handlers):
    class Broken(Callback):
        def on_epoch_end(self, trainer, row):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        trainer_of().fit(*table(), 1, 8, callbacks=[Broken()])


def test_a_handler_that_python_did_not_set_is_left(monkeypatch):
    """`signal.signal` answers None for a handler installed by C code; there is nothing to put back then."""
    set_to = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: set_to.append((number, handler)))
    with Interrupt() as interrupt:
        pass
    assert {number for number, _ in set_to} == set(Interrupt.SIGNALS)
    assert all(handler == interrupt._catch for _, handler in set_to)
