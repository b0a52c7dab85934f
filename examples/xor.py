"""XOR, the function that one layer cannot learn, by batch gradient descent on the lecture's own loss.

Shows: the smallest network that does it (two hidden units), `batch_size=None` for batch gradient descent, a stopping tolerance,
and the symmetry trap that the lecture warns of: units that start equal stay equal. So equal weights are refused unless asked
for.

Prints: the table of XOR beside what the network says, why training ended, and the loss of a network in the trap.
"""

import numpy as np

import mlpx
from mlpx import layers, optim
from mlpx.layers import initializers

X = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.asarray([[0.0], [1.0], [1.0], [0.0]])


def trained(weight_init=None, epochs: int = 2000) -> mlpx.Trainer:
    """A network of two hidden units after batch gradient descent."""
    hidden = layers.Dense(2, 2, activation="tanh", weight_init=weight_init)
    net = mlpx.Sequential(hidden, layers.Dense(2, 1, weight_init=weight_init))
    trainer = mlpx.Trainer(net, loss="half_squared_error", optimizer=optim.SGD(0.3), dtype="float64", device="numpy", seed=3)
    trainer.fit(X, Y, epochs=epochs, batch_size=None, tolerance=1e-9)
    return trainer


def main(epochs: int = 2000) -> float:
    """Train and print; returns the largest error."""
    trainer = trained(epochs=epochs)
    output = trainer.predict(X)
    for (a, b), target, o in zip(X, Y[:, 0], output[:, 0], strict=True):
        print(f"{a:.0f} xor {b:.0f} = {target:.0f}    network: {o:+.4f}")
    history = trainer.history
    print(f"{len(history)} epochs, loss {history['loss'][-1]:.2e}; stopped: {history.stopped}")

    equal = trained(initializers.constant(0.5, keep_symmetry=True), epochs)
    print(f"with equal first weights: loss {equal.history['loss'][-1]:.2e} after {len(equal.history)} epochs")
    return float(np.abs(output - Y).max())


if __name__ == "__main__":
    main()
