"""Batch normalisation as a layer, with running statistics for prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlpx.arguments import real_number, whole_number
from mlpx.errors import checked_keywords
from mlpx.layers.base import Layer, Spec, expect_table
from mlpx.layers.initializers import constant
from mlpx.ops.normalization import batch_norm, batch_norm_inference
from mlpx.typing import Array, ParameterMapping, Residuals, Shape


class Training(NamedTuple):
    """Residuals of `batch_norm`, and that it was this op that ran."""

    batch: Residuals


class BatchNorm(Layer):
    """Scale every feature to mean 0 and variance 1 over the batch, then by a learned gain and offset.

    In prediction the running mean and variance stand in for those of the batch. They follow
    r ← (1 − momentum) r + momentum · batch, the variance with Bessel's correction n / (n − 1), as in PyTorch.

    Parameters
    ----------
    features : int
        Numbers in a row.
    momentum : float
        Weight in (0, 1] of the newest batch in the running statistics.
    eps : float
        Added to the variance.

    References
    ----------
    Ioffe & Szegedy (2015), "Batch Normalization", algorithms 1 and 2.
    """

    @checked_keywords
    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        self.features = whole_number("features", features)
        self.momentum = real_number("momentum", momentum, 0, 1, open_low=True)
        self.eps = real_number("eps", eps, 0, open_low=True)

    def specs(self) -> dict[str, Spec]:
        """Gain and offset, (features,) each."""
        return {"gain": Spec((self.features,), constant(1.0)), "offset": Spec((self.features,), constant(0.0))}

    def buffer_specs(self) -> dict[str, Spec]:
        """running_mean and running_variance, (features,) each."""
        return {
            "running_mean": Spec((self.features,), constant(0.0)),
            "running_variance": Spec((self.features,), constant(1.0)),
        }

    def output_shape(self, input_shape: Shape) -> Shape:
        """As the input."""
        expect_table(self, input_shape, self.features)
        return input_shape

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """The rows, normalised with the batch's statistics in training, with the running ones otherwise."""
        del key
        gain, offset = params["gain"], params["offset"]
        if train:
            y, residuals = batch_norm(x, gain, offset, eps=self.eps)
            return y, Training(residuals)
        return batch_norm_inference(x, gain, offset, params["running_mean"], params["running_variance"], eps=self.eps)

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array, Mapping[str, Array]]:
        """Gradients of x, gain and offset."""
        del params
        if isinstance(residuals, Training):
            dx, dgain, doffset = batch_norm.gradient(dy, residuals.batch)
        else:
            dx, dgain, doffset, _, _ = batch_norm_inference.gradient(dy, residuals)
        return dx, {"gain": dgain, "offset": doffset}

    def updated_buffers(self, params: ParameterMapping, residuals: Residuals) -> dict[str, Array]:
        """Running statistics moved towards those of the batch."""
        batch = residuals.batch
        n = batch.x_hat.shape[0]
        unbiased = batch.variance * (n / max(n - 1, 1))
        keep, take = 1 - self.momentum, self.momentum
        return {
            "running_mean": keep * params["running_mean"] + take * batch.mean,
            "running_variance": keep * params["running_variance"] + take * unbiased,
        }

    def config(self) -> dict[str, Any]:
        """Features, momentum and eps."""
        return {"features": self.features, "momentum": self.momentum, "eps": self.eps}
