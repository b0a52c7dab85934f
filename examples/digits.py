"""Handwritten digits: a classifier from data to a saved model, on the best device of this machine.

Shows: splitting and encoding a built-in data set, dropout, structural risk, a learning-rate schedule, early stopping, saving
and loading.

Prints: a table of the network, a live bar on a terminal, the test accuracy and the digits that are confused most.
"""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import mlpx
from mlpx import data, layers, optim
from mlpx.train import EarlyStopping


def main(epochs: int = 60) -> float:
    """Train, save, load, measure and print; returns the test accuracy."""
    table = data.builtin("digits")
    labels = table.columns["target"]
    train, held_out, test = (table.take(rows) for rows in data.split(len(table), (0.7, 0.1, 0.2), seed=0, labels=labels))
    encoder = data.Encoder.fit(train)

    net = mlpx.Sequential(
        layers.Dense(encoder.n_inputs, 128, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(128, 64, activation="relu"),
        layers.Dense(64, encoder.n_outputs),
    )
    print(net.summary())
    steps = epochs * -(-len(train) // 32)  # the last batch of an epoch is a shorter one
    rate = optim.WarmUp(optim.Cosine(2e-3, steps), steps // 20)
    trainer = mlpx.Trainer(net, "softmax_cross_entropy", optim.Adam(rate), device="auto", seed=0, l2=1e-3)
    x, y = encoder.transform(train), encoder.transform_target(train)
    x_held_out, y_held_out = encoder.transform(held_out), encoder.transform_target(held_out)
    trainer.fit(x, y, epochs, validation=(x_held_out, y_held_out), callbacks=[EarlyStopping(patience=15)])

    with tempfile.TemporaryDirectory() as folder:
        trainer.save(Path(folder) / "digits.safetensors")
        model = mlpx.load(Path(folder) / "digits.safetensors")
    x_test, y_test = encoder.transform(test), encoder.transform_target(test)
    results = model.evaluate(x_test, y_test)
    predicted = np.argmax(model.predict(x_test), axis=1)
    confused = Counter((int(t), int(p)) for t, p in zip(y_test, predicted, strict=True) if t != p)
    print(f"test accuracy {results['accuracy']:.4f} on {model.device}")
    print("confused most:", ", ".join(f"{t} taken for {p} ({n}×)" for (t, p), n in confused.most_common(3)) or "none")
    return results["accuracy"]


if __name__ == "__main__":
    main()
