"""Layer and batch normalisation against PyTorch; what they keep for running statistics; what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import ops
from mlpx.errors import InvalidInputError
from mlpx.ops.definition import Draw
from mlpx.testing import budgets

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here: pip install 'mlpx[torch]'")
functional = torch.nn.functional

N, D, EPS = 16, 6, 1e-3
DTYPES = ("float32", "float64")


def _drawn(dtype, *shape):
    draw = Draw(11)
    x = draw.normal(*shape, scale=3.0) + draw.normal(shape[-1], scale=2.0)
    return tuple(v.astype(dtype) for v in (x, draw.normal(D), draw.normal(D), draw.normal(*shape)))


def _wide(*arrays):
    """The same values in float64 as PyTorch tensors that collect gradients."""
    return tuple(torch.tensor(a.astype(np.float64), requires_grad=True) for a in arrays)


def _expect(found, expected, terms=N):
    for y, reference in zip(found, expected, strict=True):
        reference = reference.detach().numpy()
        assert y.shape == reference.shape
        assert budgets.error_in_eps(y, reference, y.dtype) <= budgets.of("normalising", terms)


@pytest.mark.parametrize("shape", [(N, D), (2, 3, D), (D,)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_norm_is_pytorchs(shape, dtype):
    x, gain, offset, dy = _drawn(dtype, *shape)
    y, residuals = ops.layer_norm(x, gain, offset, eps=EPS)
    arguments = _wide(x, gain, offset)
    expected = functional.layer_norm(arguments[0], (D,), arguments[1], arguments[2], eps=EPS)
    expected.backward(torch.tensor(dy.astype(np.float64)))
    _expect((y, *ops.layer_norm.gradient(dy, residuals)), (expected, *(a.grad for a in arguments)))
    assert y.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_norm_is_pytorchs_in_training(dtype):
    x, gain, offset, dy = _drawn(dtype, N, D)
    y, residuals = ops.batch_norm(x, gain, offset, eps=EPS)
    arguments = _wide(x, gain, offset)
    running_mean, running_variance = torch.zeros(D, dtype=torch.float64), torch.zeros(D, dtype=torch.float64)
    expected = functional.batch_norm(
        arguments[0], running_mean, running_variance, arguments[1], arguments[2], training=True, momentum=1.0, eps=EPS
    )
    expected.backward(torch.tensor(dy.astype(np.float64)))
    _expect((y, *ops.batch_norm.gradient(dy, residuals)), (expected, *(a.grad for a in arguments)))
    # PyTorch's running variance is the unbiased one, ours is what the equation divides by.
    _expect((residuals.mean, residuals.variance), (running_mean, running_variance * ((N - 1) / N)))


@pytest.mark.parametrize("shape", [(N, D), (2, 3, D), (0, D)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_norm_by_given_statistics_is_pytorchs(shape, dtype):
    x, gain, offset, dy = _drawn(dtype, *shape)
    mean, variance = Draw(12).normal(D).astype(dtype), Draw(13).uniform(D, low=0.5, high=4.0).astype(dtype)
    y, residuals = ops.batch_norm_inference(x, gain, offset, mean, variance, eps=EPS)
    arguments = _wide(x, gain, offset, mean, variance)
    wide_x, wide_gain, wide_offset, wide_mean, wide_variance = arguments
    expected = wide_gain * (wide_x - wide_mean) / torch.sqrt(wide_variance + EPS) + wide_offset
    if x.size:
        theirs = functional.batch_norm(
            wide_x.reshape(-1, D), wide_mean.detach(), wide_variance.detach(), wide_gain, wide_offset, eps=EPS
        )
        _expect((y.reshape(-1, D),), (theirs,))
    expected.backward(torch.tensor(dy.astype(np.float64)))
    _expect((y, *ops.batch_norm_inference.gradient(dy, residuals)), (expected, *(a.grad for a in arguments)))


def test_training_and_inference_agree_when_the_statistics_are_the_batchs():
    x, gain, offset, _ = _drawn("float64", N, D)
    y, residuals = ops.batch_norm(x, gain, offset)
    same, _ = ops.batch_norm_inference(x, gain, offset, residuals.mean, residuals.variance)
    assert budgets.error_in_eps(same, y, "float64") <= budgets.of("normalising", N)


def test_a_large_common_offset_does_not_spoil_the_variance():
    x = (Draw(14).integers(N, D, below=100) + 2**20).astype(np.float32)
    ones, zeros = np.ones(D, dtype=np.float32), np.zeros(D, dtype=np.float32)
    wide = x.astype(np.float64)
    for op, axis in ((ops.layer_norm, -1), (ops.batch_norm, 0)):
        expected = (wide - wide.mean(axis=axis, keepdims=True)) / np.sqrt(wide.var(axis=axis, keepdims=True) + 1e-5)
        # The rounded mean is off by up to half a unit in the last place of 2²⁰, 1/16, against a deviation of some 30.
        allowed = 2**20 / np.float64(wide.std(axis=axis).min())
        assert budgets.error_in_eps(op(x, ones, zeros)[0], expected, "float32") <= allowed


def test_one_row_and_constant_features_are_finite():
    ones, zeros = np.ones(D), np.zeros(D)
    for x in (np.full((1, D), 3.0), np.full((N, D), 3.0)):
        for op in (ops.layer_norm, ops.batch_norm):
            y, residuals = op(x, ones, zeros)
            np.testing.assert_array_equal(y, np.zeros_like(x))
            assert all(np.isfinite(gradient).all() for gradient in op.gradient(np.ones_like(x), residuals))


def test_an_empty_batch_has_no_statistics_but_may_be_layer_normed():
    ones, zeros, empty = np.ones(D), np.zeros(D), np.ones((0, D))
    y, residuals = ops.layer_norm(empty, ones, zeros)
    assert [g.shape for g in (y, *ops.layer_norm.gradient(y, residuals))] == [(0, D), (0, D), (D,), (D,)]
    with pytest.raises(InvalidInputError, match=r"shape \(0, 6\).*n >= 1 rows"):
        ops.batch_norm(empty, ones, zeros)


@pytest.mark.parametrize("op", [ops.layer_norm, ops.batch_norm])
def test_gain_and_offset_are_one_number_for_each_feature(op):
    good, wrong, x = np.ones(D), np.ones(D - 1), np.ones((N, D))
    with pytest.raises(InvalidInputError, match=rf"{op.name}: gain has shape \(5,\), x of shape \(16, 6\) takes \(6,\)"):
        op(x, wrong, good)
    with pytest.raises(InvalidInputError, match=rf"{op.name}: offset has shape \(5,\)"):
        op(x, good, wrong)
    with pytest.raises(InvalidInputError, match=rf"{op.name}: x .*\(3, 0\)"):
        op(np.ones((3, 0)), np.ones(0), np.ones(0))
