"""The same network and seed on every library: the same losses, row orders, masks and predictions."""

from __future__ import annotations

import numpy as np
import pytest
from specimens import NETWORKS, ROWS, WIDTH, assert_near, plain, regression, table
from tolerances import PARITY, PARITY_OF_OUTPUTS

import mlpx
from mlpx import optim, transfer
from mlpx.testing.strict_backend import register_strict
from mlpx.train import Callback

BATCH_AND_EPOCHS = {"plain": (9, 17), "nested": (11, 25), "embedded": (11, 25)}  # 50 steps or 51; once with a shorter last one
DEVICES = ["torch:cpu", "jax:cpu", "strict:device1"]


class LossOfEveryStep(Callback):
    """The running sum of the epoch's losses after each step."""

    on_step = True

    def __init__(self):
        self.sums = []

    def on_step_end(self, trainer, step):
        self.sums.append(float(transfer.to_numpy(trainer.state.totals.loss)))


def losses_of(device: str, network: str, optimizer: object, **settings: object) -> tuple[list[float], np.ndarray]:
    register_strict()
    if network == "plain":
        (x, y), settings = regression(), {"loss": "huber", "l2": 0.01, "clip_norm": 0.4, "ema": 0.9, **settings}
        net = NETWORKS[network](2)
    else:
        (x, y), net = table(), NETWORKS[network]()
    trainer = mlpx.Trainer(net, optimizer=optimizer, device=device, dtype="float64", seed=11, **settings)
    watch, (batch_size, epochs) = LossOfEveryStep(), BATCH_AND_EPOCHS[network]
    trainer.fit(x, y, epochs=epochs, batch_size=batch_size, callbacks=[watch])
    return watch.sums, trainer.predict(x)


REFERENCE: dict[str, tuple[list[float], np.ndarray]] = {}
OPTIMIZERS = {"plain": optim.Adam(0.01), "nested": optim.SGD(0.05, momentum=0.9), "embedded": optim.RMSprop(0.003)}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("device", DEVICES)
def test_fifty_steps_have_the_losses_of_numpy(device, network):
    if network not in REFERENCE:
        REFERENCE[network] = losses_of("numpy", network, OPTIMIZERS[network])
    expected, prediction = REFERENCE[network]
    assert len(expected) >= 50
    assert expected[-1] < 0.8 * expected[2 if network == "plain" else 1]  # it learns: constants would agree as well
    losses, predicted = losses_of(device, network, OPTIMIZERS[network])
    np.testing.assert_allclose(losses, expected, rtol=PARITY)
    assert type(predicted) is np.ndarray
    assert_near(predicted, prediction, PARITY_OF_OUTPUTS)


@pytest.mark.parametrize("device", DEVICES)
def test_lbfgs_descends_alike_on_every_library(device):
    register_strict()
    x, y = regression()
    finals = []
    for place in ("numpy", device):
        trainer = mlpx.Trainer(plain(2), loss="mse", optimizer="lbfgs", device=place, dtype="float64", seed=2)
        finals.append(trainer.fit(x, y, epochs=12)["loss"])
    np.testing.assert_allclose(finals[1], finals[0], rtol=PARITY_OF_OUTPUTS)


def test_lbfgs_reaches_a_lower_loss_than_adam_on_small_data():
    x, y = regression()
    reached = {}
    for name in ("lbfgs", "adam"):
        trainer = mlpx.Trainer(plain(2), loss="mse", optimizer=name, device="numpy", dtype="float64")
        reached[name] = trainer.fit(x, y, epochs=60, batch_size=None)["loss"][-1]
    assert reached["lbfgs"] < 0.1 * reached["adam"]


@pytest.mark.parametrize("device", DEVICES)
def test_rows_are_shuffled_alike_on_every_library(device):
    """With a batch of one row and a rate too small to matter, the losses tell which row came when."""
    register_strict()
    x = np.zeros((7, WIDTH))
    y = np.arange(7.0)[:, None] * np.ones((1, 2))
    orders = []
    for place in ("numpy", device):
        watch = LossOfEveryStep()
        trainer = mlpx.Trainer(plain(2), loss="mse", optimizer=optim.SGD(1e-12), device=place, dtype="float64", seed=5)
        trainer.fit(x, y, epochs=2, batch_size=1, callbacks=[watch])
        sums = np.asarray(watch.sums).reshape(2, 7)
        orders.append(np.rint(np.sqrt(np.diff(sums, axis=1, prepend=0))).astype(int).tolist())
    assert sorted(orders[0][0]) == list(range(7))
    assert orders[0][0] != orders[0][1]  # another order every epoch
    assert orders[1] == orders[0]


def test_float32_stays_float32_everywhere():
    register_strict()
    x, y = table()
    for device in ("numpy", *DEVICES):
        net = NETWORKS["plain" if device == "jax:cpu" else "nested"]()  # XLA takes seconds to compile the other
        trainer = mlpx.Trainer(net, device=device, ema=0.9, l2=0.1, clip_norm=1.0, clip_value=0.5)
        trainer.fit(x, y, epochs=1, batch_size=ROWS, validation=(x, y))
        state = trainer.state
        for array in (state.params, state.buffers, state.average, state.rate_scale, *state.totals[:2], *state.optimizer[:2]):
            assert str(array.dtype).endswith("float32"), device
        for array in (state.step, state.cursor, state.key, state.totals.diverged_at):
            assert str(array.dtype).endswith("int32"), device
