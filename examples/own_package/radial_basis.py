"""A layer of Gaussian units, for mlpx."""

from typing import Any, NamedTuple

from mlpx.layers import Layer, Spec
from mlpx.layers.base import expect_width
from mlpx.layers.initializers import get as initializer
from mlpx.namespace import namespace_of


class Residuals(NamedTuple):
    """What the backward pass needs: x - c of every row and unit, its squared length, and the output."""

    offset: Any
    distance: Any
    y: Any


class RadialBasis(Layer):
    """y = exp(-s |x - c|²), largest where a row x is at the unit's centre c.

    Parameters
    ----------
    n_in, n_out : int
        Features that come in, units that go out. Centres are (n_out, n_in), sharpnesses s are (n_out,).

    References
    ----------
    Broomhead & Lowe (1988), "Multivariable Functional Interpolation and Adaptive Networks", section 2.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        self.n_in, self.n_out = n_in, n_out

    def specs(self):
        return {
            "centre": Spec((self.n_out, self.n_in), initializer({"name": "normal", "scale": 1.0})),
            "sharpness": Spec((self.n_out,), initializer({"name": "constant", "value": 0.5})),
        }

    def output_shape(self, input_shape):
        expect_width(self, input_shape, self.n_in)
        return (*input_shape[:-1], self.n_out)

    def forward(self, params, x, *, train=False, key=None):
        xp = namespace_of(x, params["centre"], params["sharpness"])
        offset = x[:, None, :] - params["centre"][None, :, :]
        distance = xp.sum(offset * offset, axis=-1)
        y = xp.exp(-params["sharpness"] * distance)
        return y, Residuals(offset, distance, y)

    def backward(self, params, residuals, dy):
        offset, distance, y = residuals
        xp = namespace_of(dy)
        dexponent = -dy * y
        pull = 2 * (dexponent * params["sharpness"])[:, :, None] * offset
        gradients = {"centre": -xp.sum(pull, axis=0), "sharpness": xp.sum(dexponent * distance, axis=0)}
        return xp.sum(pull, axis=1), gradients

    def config(self):
        return {"n_in": self.n_in, "n_out": self.n_out}
