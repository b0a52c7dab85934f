"""The same script on NumPy, PyTorch, JAX and CuPy: the same first weights, the same order of rows, the same losses.

Shows: that a device is a name and nothing else changes. Libraries that are not here are said and left out.

Prints: the losses of the epochs side by side, in float64, and the largest relative difference from NumPy's.
"""

import os

os.environ.setdefault("JAX_ENABLE_X64", "1")  # JAX computes in float64 only if told so before its first use

import mlpx
from mlpx import data, layers, optim

BACKENDS = ("numpy", "torch", "jax", "cupy")


def losses_on(device: mlpx.registry.Device, x, y, epochs: int) -> list[float]:
    """Train a network on one device."""
    net = mlpx.Sequential(layers.Dense(64, 32, activation="gelu"), layers.Dropout(0.1), layers.Dense(32, 10))
    trainer = mlpx.Trainer(net, "softmax_cross_entropy", optim.Adam(1e-3), device=device, dtype="float64", seed=0)
    return trainer.fit(x, y, epochs, batch_size=128, progress=False)["loss"]


def main(epochs: int = 10) -> float:
    """Train everywhere and print; returns the largest relative difference from NumPy's losses."""
    table = data.builtin("digits")
    encoder = data.Encoder.fit(table)
    x, y = encoder.transform(table), encoder.transform_target(table)
    here = mlpx.backends()
    for name in BACKENDS:
        if not here[name].ok:
            print(f"{name}: {here[name].reason}; {here[name].cure}")
    devices = [mlpx.device(name) for name in BACKENDS if here[name].ok]
    columns = [losses_on(device, x, y, epochs) for device in devices]
    print("epoch", *(f"{device!s:>20}" for device in devices))
    for epoch, row in enumerate(zip(*columns, strict=True), 1):
        print(f"{epoch:5}", *(f"{loss:20.15f}" for loss in row))
    largest = max(abs(loss / row[0] - 1) for row in zip(*columns, strict=True) for loss in row)
    print(f"largest relative difference {largest:.1e}")
    return largest


if __name__ == "__main__":
    main()
