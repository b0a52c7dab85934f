"""Bring your own layer: a sine whose frequency is learned, checked and then trained.

Shows: what a layer has to say (parameters, forward, backward, how it is made again) and that the public checker finds a wrong
gradient. Written with Array API functions, it runs on every library.

Prints: which libraries the check covered, and how well the layer fits a wave that relu units of the same number do not.
"""

import numpy as np

import mlpx
from mlpx import layers, optim
from mlpx.layers.base import Layer, Spec
from mlpx.layers.initializers import constant
from mlpx.namespace import namespace_of
from mlpx.testing import available_variants, check_layer


class Sine(Layer):
    """y = sin(ω x), with a frequency ω for every feature (Sitzmann et al., 2020, eq. 3, with ω learned)."""

    def __init__(self, features: int, frequency: float = 30.0) -> None:
        self.features, self.frequency = features, frequency

    def specs(self):
        """One ω a feature."""
        return {"omega": Spec((self.features,), constant(self.frequency))}

    def forward(self, params, x, *, train=False, key=None):
        """y, and what backward needs."""
        omega = params["omega"]
        return namespace_of(x, omega).sin(omega * x), (x, omega)

    def backward(self, params, residuals, dy):
        """∂loss/∂x and ∂loss/∂ω."""
        x, omega = residuals
        xp = namespace_of(dy, x)
        slope = dy * xp.cos(omega * x)
        return slope * omega, {"omega": xp.sum(slope * x, axis=0)}

    def config(self):
        """What makes an equal layer."""
        return {"features": self.features, "frequency": self.frequency}


def main(epochs: int = 200) -> float:
    """Check, train and print; returns R² of the network with the new layer."""
    check_layer(Sine(3, 1.5), input_shape=(7, 3))
    print("checked on", ", ".join(variant.name for variant in available_variants()))
    x = np.linspace(-1, 1, 400)[:, None]
    y = np.sin(20 * x) * x
    fits = {}
    for name, hidden in (("sine", Sine(32, 60.0)), ("relu", layers.Activation("relu"))):
        net = mlpx.Sequential(layers.Dense(1, 32), hidden, layers.Dense(32, 1))
        trainer = mlpx.Trainer(net, "half_squared_error", optim.Adam(5e-3), device="numpy", seed=0)
        trainer.fit(x, y, epochs, progress=False)
        fits[name] = trainer.evaluate(x, y)["r2"]
        print(f"{name}: R² {fits[name]:.4f}")
    return fits["sine"]


if __name__ == "__main__":
    main()
