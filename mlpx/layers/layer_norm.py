"""Layer normalisation as a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpx.arguments import real_number, whole_number
from mlpx.errors import checked_keywords
from mlpx.layers.base import Layer, Spec, expect_width
from mlpx.layers.initializers import constant
from mlpx.ops.normalization import layer_norm
from mlpx.typing import Array, ParameterMapping, Residuals, Shape


class LayerNorm(Layer):
    """Scale every row to mean 0 and variance 1, then by a learned gain and offset.

    Parameters
    ----------
    features : int
        Numbers in a row.
    eps : float
        Added to the variance.

    References
    ----------
    Ba, Kiros & Hinton (2016), "Layer Normalization".
    """

    @checked_keywords
    def __init__(self, features: int, eps: float = 1e-5) -> None:
        self.features = whole_number("features", features)
        self.eps = real_number("eps", eps, 0, open_low=True)

    def specs(self) -> dict[str, Spec]:
        """Gain and offset, (features,) each."""
        return {"gain": Spec((self.features,), constant(1.0)), "offset": Spec((self.features,), constant(0.0))}

    def output_shape(self, input_shape: Shape) -> Shape:
        """As the input."""
        expect_width(self, input_shape, self.features)
        return input_shape

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """The normalised rows."""
        del train, key
        return layer_norm(x, params["gain"], params["offset"], eps=self.eps)

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array, Mapping[str, Array]]:
        """Gradients of x, gain and offset."""
        del params
        dx, dgain, doffset = layer_norm.gradient(dy, residuals)
        return dx, {"gain": dgain, "offset": doffset}

    def config(self) -> dict[str, Any]:
        """Features and eps."""
        return {"features": self.features, "eps": self.eps}
