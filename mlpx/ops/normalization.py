"""Normalisation: each row by its own moments, or each feature by those of the batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.namespace import namespace_of
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.typing import Array


class LayerNormResiduals(NamedTuple):
    """What the backward pass of `layer_norm` needs."""

    x_hat: Array
    inv_std: Array
    gain: Array


@op
def layer_norm(x: Array, gain: Array, offset: Array, *, eps: float = 1e-5) -> tuple[Array, LayerNormResiduals]:
    """Bring each row of x to mean 0 and variance 1, then scale and shift each feature.

        y = gain * x_hat + offset,   x_hat = (x − mean(x)) / sqrt(variance(x) + eps)

    Mean and (biased) variance are those of a row, over the last axis.

    Parameters
    ----------
    x : (*n, d) floating
        With |x| below the square root of the largest float.
    gain, offset : (d,) of x's dtype and device
        γ (dimensionless) and β of the paper.
    eps : float
        Added to the variance: in units of x squared.

    Returns
    -------
    y : (*n, d)
    residuals : LayerNormResiduals

    Raises
    ------
    InvalidInputError
        If `gain` or `offset` is not one number for each feature.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Ba, Kiros & Hinton (2016), "Layer Normalization", eqs 3 and 4.
    """
    xp = namespace_of(x, gain, offset)
    _expect_per_feature("layer_norm", x, gain=gain, offset=offset)
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    variance = xp.mean(centred * centred, axis=-1, keepdims=True)
    inv_std = 1 / xp.sqrt(variance + eps)
    x_hat = centred * inv_std
    return x_hat * gain + offset, LayerNormResiduals(x_hat, inv_std, gain)


@layer_norm.backward
def layer_norm_backward(dy: Array, residuals: LayerNormResiduals) -> tuple[Array, Array, Array]:
    """Gradients with respect to x, gain and offset; means over a row, sums over rows.

    dx_hat  = dy * gain
    dx      = inv_std * (dx_hat − mean(dx_hat) − x_hat * mean(dx_hat * x_hat))
    dgain   = Σ_rows dy * x_hat
    doffset = Σ_rows dy
    """
    x_hat, inv_std, gain = residuals
    xp = namespace_of(dy)
    rows = tuple(range(dy.ndim - 1))
    dx_hat = dy * gain
    mean_dx_hat = xp.mean(dx_hat, axis=-1, keepdims=True)
    mean_projection = xp.mean(dx_hat * x_hat, axis=-1, keepdims=True)
    dx = inv_std * (dx_hat - mean_dx_hat - x_hat * mean_projection)
    return dx, xp.sum(dy * x_hat, axis=rows), xp.sum(dy, axis=rows)


class BatchNormResiduals(NamedTuple):
    """What the backward pass of `batch_norm` needs; and the batch's mean and biased variance, for running statistics."""

    x_hat: Array
    inv_std: Array
    gain: Array
    mean: Array
    variance: Array


@op
def batch_norm(x: Array, gain: Array, offset: Array, *, eps: float = 1e-5) -> tuple[Array, BatchNormResiduals]:
    """Bring each feature to mean 0 and variance 1 over the batch, then scale and shift it.

        y = gain * x_hat + offset,   x_hat = (x − mean(x)) / sqrt(variance(x) + eps)

    Mean and (biased) variance are those of a feature, over the rows of the batch.

    Parameters
    ----------
    x : (n, d) floating
        With n >= 1 and |x| below the square root of the largest float.
    gain, offset : (d,) of x's dtype and device
        γ (dimensionless) and β of the paper.
    eps : float
        Added to the variance: in units of x squared.

    Returns
    -------
    y : (n, d)
    residuals : BatchNormResiduals
        With the statistics, `mean` and `variance`, each (d,).

    Raises
    ------
    InvalidInputError
        If x has no rows, or `gain` or `offset` is not one number for each feature.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Ioffe & Szegedy (2015), "Batch Normalization", algorithm 1.
    """
    xp = namespace_of(x, gain, offset)
    if x.ndim != 2 or x.shape[0] == 0:
        raise InvalidInputError(f"batch_norm: x has shape {tuple(x.shape)}; batch statistics take (n, d) with n >= 1 rows")
    _expect_per_feature("batch_norm", x, gain=gain, offset=offset)
    mean = xp.mean(x, axis=0)
    centred = x - mean
    variance = xp.mean(centred * centred, axis=0)
    inv_std = 1 / xp.sqrt(variance + eps)
    x_hat = centred * inv_std
    return x_hat * gain + offset, BatchNormResiduals(x_hat, inv_std, gain, mean, variance)


@batch_norm.backward
def batch_norm_backward(dy: Array, residuals: BatchNormResiduals) -> tuple[Array, Array, Array]:
    """Gradients with respect to x, gain and offset; the statistics are functions of x, so dx has their share.

    dgain   = Σ_rows dy * x_hat
    doffset = Σ_rows dy
    dx      = gain * inv_std * (dy − doffset/n − x_hat * dgain/n)

    which is layer_norm's dx by columns: dx_hat = dy * gain has the same gain in all rows, so it leaves the means.
    """
    x_hat, inv_std, gain, _, _ = residuals
    xp = namespace_of(dy)
    n = dy.shape[0]
    dgain = xp.sum(dy * x_hat, axis=0)
    doffset = xp.sum(dy, axis=0)
    dx = (gain * inv_std) * (dy - doffset / n - x_hat * (dgain / n))
    return dx, dgain, doffset


class InferenceResiduals(NamedTuple):
    """What the backward pass of `batch_norm_inference` needs."""

    centred: Array
    inv_std: Array
    gain: Array


@op
def batch_norm_inference(
    x: Array, gain: Array, offset: Array, mean: Array, variance: Array, *, eps: float = 1e-5
) -> tuple[Array, InferenceResiduals]:
    """Batch normalisation by given statistics: those that training has gathered.

        y = gain * x_hat + offset,   x_hat = (x − mean) / sqrt(variance + eps)

    Parameters
    ----------
    x : (*n, d) floating
    gain, offset, mean, variance : (d,) of x's dtype and device
    eps : float
        Added to the variance: in units of x squared.

    Returns
    -------
    y : (*n, d)
    residuals : InferenceResiduals

    Raises
    ------
    InvalidInputError
        If one of the others is not one number for each feature of x.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Ioffe & Szegedy (2015), "Batch Normalization", algorithm 2, line 11.
    """
    xp = namespace_of(x, gain, offset, mean, variance)
    _expect_per_feature("batch_norm_inference", x, gain=gain, offset=offset, mean=mean, variance=variance)
    inv_std = 1 / xp.sqrt(variance + eps)
    centred = x - mean
    return centred * (gain * inv_std) + offset, InferenceResiduals(centred, inv_std, gain)


@batch_norm_inference.backward
def batch_norm_inference_backward(dy: Array, residuals: InferenceResiduals) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients with respect to x, gain, offset, mean and variance; here the statistics are arguments like others.

    dx        = dy * gain * inv_std
    dgain     = Σ_rows dy * x_hat,   x_hat = centred * inv_std
    doffset   = Σ_rows dy
    dmean     = −Σ_rows dx = −gain * inv_std * doffset
    dvariance = Σ_rows dy * gain * ∂x_hat/∂variance = −½ gain * inv_std² * dgain
    """
    centred, inv_std, gain = residuals
    xp = namespace_of(dy)
    rows = tuple(range(dy.ndim - 1))
    scale = gain * inv_std
    dgain = xp.sum(dy * centred, axis=rows) * inv_std
    doffset = xp.sum(dy, axis=rows)
    return dy * scale, dgain, doffset, -scale * doffset, -0.5 * scale * inv_std * dgain


def _expect_per_feature(name: str, x: Array, **vectors: Array) -> None:
    """Raise unless every vector has one number for each feature of x."""
    if x.ndim == 0 or x.shape[-1] == 0:
        raise InvalidInputError(f"{name}: x of shape {tuple(x.shape)} has no features; it takes (*n, d) with d >= 1")
    for argument, vector in vectors.items():
        if vector.shape != x.shape[-1:]:
            found, taken = tuple(vector.shape), tuple(x.shape[-1:])
            raise InvalidInputError(f"{name}: {argument} has shape {found}, x of shape {tuple(x.shape)} takes {taken}")


def _inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return draw.normal(7, 5), draw.normal(5), draw.normal(5)


def _narrow_offset(draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return draw.normal(7, 5), draw.normal(5), draw.normal(4)


def _inference_inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return *_inputs(draw), draw.normal(5), draw.uniform(5, low=0.5, high=2.0)


layer_norm.case(
    kind="normalising",
    terms=7,
    inputs=_inputs,
    smooth=True,
    examples=(
        Example(
            inputs=([[1.0, 3.0], [8.0, 4.0]], [2.0, 2.0], [0.5, 0.0]),
            result=[[-1.5, 2.0], [2.5, -2.0]],
            source="by hand: means 2 and 6, deviations 1 and 2",
            attributes={"eps": 0.0},
        ),
    ),
    bad=(BadInput(inputs=_narrow_offset, error=InvalidInputError, match=r"offset has shape \(4,\)"),),
)
batch_norm.case(
    kind="normalising",
    terms=7,
    inputs=_inputs,
    smooth=True,
    examples=(
        Example(
            inputs=([[1.0, 8.0], [3.0, 4.0]], [2.0, 2.0], [0.5, 0.0]),
            result=[[-1.5, 2.0], [2.5, -2.0]],
            source="by hand: means 2 and 6, deviations 1 and 2",
            attributes={"eps": 0.0},
        ),
    ),
    bad=(
        BadInput(inputs=_narrow_offset, error=InvalidInputError, match=r"offset has shape \(4,\)"),
        BadInput(inputs=lambda draw: (draw.normal(0, 5), *draw.normal(2, 5)), error=InvalidInputError, match="n >= 1 rows"),
    ),
)
batch_norm_inference.case(
    kind="normalising",
    terms=7,
    inputs=_inference_inputs,
    smooth=True,
    examples=(
        Example(
            inputs=([[1.0, 8.0]], [2.0, 2.0], [0.5, 0.0], [2.0, 6.0], [1.0, 4.0]),
            result=[[-1.5, 2.0]],
            source="by hand: (1 − 2)/1 and (8 − 6)/2",
            attributes={"eps": 0.0},
        ),
    ),
    bad=(
        BadInput(
            inputs=lambda draw: (*_inputs(draw), draw.normal(5), draw.uniform(4)),
            error=InvalidInputError,
            match=r"variance has shape \(4,\)",
        ),
    ),
)
