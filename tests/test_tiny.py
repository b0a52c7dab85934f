"""One tiny run from data to a saved model, in a second: what pre-commit asks before every commit."""

from __future__ import annotations

import numpy as np

import mlpx
from mlpx import layers, optim


def test_a_network_learns_two_clouds_is_saved_and_predicts_the_same(tmp_path):
    draw = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = (draw.standard_normal((120, 3)) + 4.0 * y[:, None]).astype(np.float32)
    net = mlpx.Sequential(layers.Dense(3, 8, "relu"), layers.Dropout(0.1), layers.Dense(8, 2))
    trainer = mlpx.Trainer(net, optimizer=optim.Adam(0.02), device="numpy", seed=0)
    history = trainer.fit(x, y, epochs=10, batch_size=16, validation=0.25, progress=False)
    assert history["loss"][-1] < history["loss"][0] / 2
    assert trainer.evaluate(x, y)["accuracy"] > 0.9  # the clouds are four standard deviations apart in each of three directions
    trainer.save(tmp_path / "clouds.safetensors")
    model = mlpx.load(tmp_path / "clouds.safetensors", device="numpy")
    np.testing.assert_array_equal(model.predict(x), trainer.predict(x))
