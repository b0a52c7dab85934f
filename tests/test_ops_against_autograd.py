"""Every activation, normalisation, mask, look-up and risk: value and gradients against PyTorch, JAX and differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from mlpx import ops
from mlpx.ops.definition import Draw
from mlpx.testing import budgets


class Oracle(NamedTuple):
    """The same equation as somebody else has written it, given their library and the case's attributes."""

    torch: Callable[..., Any]
    jax: Callable[..., Any]


def _torch_layer_norm(torch, x, gain, offset, eps=1e-5):
    return torch.nn.functional.layer_norm(x, gain.shape, gain, offset, eps)


def _torch_batch_norm(torch, x, gain, offset, eps=1e-5):
    return torch.nn.functional.batch_norm(x, None, None, gain, offset, training=True, eps=eps)


def _by_moments(x, gain, offset, mean, variance, eps=1e-5):
    return gain * (x - mean) / (variance + eps) ** 0.5 + offset


def _jax_norm(axis):
    def norm(jax, x, gain, offset, eps=1e-5):
        return _by_moments(x, gain, offset, x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True), eps)

    return norm


ORACLES = {
    "identity": Oracle(lambda torch, z: torch.nn.Identity()(z), lambda jax, z: jax.nn.identity(z)),
    "logistic": Oracle(lambda torch, z: torch.sigmoid(z), lambda jax, z: jax.nn.sigmoid(z)),
    "tanh": Oracle(lambda torch, z: torch.tanh(z), lambda jax, z: jax.numpy.tanh(z)),
    "relu": Oracle(lambda torch, z: torch.relu(z), lambda jax, z: jax.nn.relu(z)),
    "leaky_relu": Oracle(
        lambda torch, z, slope=0.01: torch.nn.functional.leaky_relu(z, slope),
        lambda jax, z, slope=0.01: jax.nn.leaky_relu(z, slope),
    ),
    "prelu": Oracle(
        lambda torch, z, slope: torch.nn.functional.prelu(z, slope),
        lambda jax, z, slope: jax.numpy.where(z > 0, z, slope * z),
    ),
    "elu": Oracle(
        lambda torch, z, alpha=1.0: torch.nn.functional.elu(z, alpha),
        lambda jax, z, alpha=1.0: jax.nn.elu(z, alpha),
    ),
    "selu": Oracle(lambda torch, z: torch.selu(z), lambda jax, z: jax.nn.selu(z)),
    "softplus": Oracle(
        lambda torch, z: torch.nn.functional.softplus(z, threshold=40),  # above it PyTorch returns z
        lambda jax, z: jax.nn.softplus(z),
    ),
    "swish": Oracle(
        lambda torch, z, beta=1.0: z * torch.sigmoid(beta * z),
        lambda jax, z, beta=1.0: z * jax.nn.sigmoid(beta * z),
    ),
    "gelu": Oracle(
        lambda torch, z: torch.nn.functional.gelu(z, approximate="tanh"),
        lambda jax, z: jax.nn.gelu(z, approximate=True),
    ),
    "softmax": Oracle(lambda torch, z: torch.softmax(z, -1), lambda jax, z: jax.nn.softmax(z)),
    "logsumexp": Oracle(lambda torch, z: torch.logsumexp(z, -1), lambda jax, z: jax.nn.logsumexp(z, axis=-1)),
    "layer_norm": Oracle(_torch_layer_norm, _jax_norm(-1)),
    "batch_norm": Oracle(_torch_batch_norm, _jax_norm(0)),
    "batch_norm_inference": Oracle(lambda torch, *arrays: _by_moments(*arrays), lambda jax, *arrays: _by_moments(*arrays)),
    "dropout": Oracle(lambda torch, x, keep, rate: x * keep / (1 - rate), lambda jax, x, keep, rate: x * keep / (1 - rate)),
    "embedding": Oracle(
        lambda torch, indices, table: torch.nn.functional.embedding(indices, table),
        lambda jax, indices, table: table[indices],
    ),
    "l2": Oracle(
        lambda torch, weight, strength: strength / 2 * torch.linalg.matrix_norm(weight) ** 2,
        lambda jax, weight, strength: strength / 2 * jax.numpy.linalg.norm(weight) ** 2,
    ),
}
CASES = [case for name in ORACLES for case in ops.OPS[name].cases]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
both_seeds = pytest.mark.parametrize("seed", [0, 1])


def _ours(case, inputs, dy_seed):
    """Value, dy and gradients: each in a list of all arguments, None for those that are not floating."""
    y, residuals = case.op(*inputs, **case.attributes)
    dy = Draw(dy_seed).normal(*np.shape(y))
    gradients = case.op.gradient(dy, residuals)
    remaining = iter(gradients if isinstance(gradients, tuple) else (gradients,))
    listed = [next(remaining) if x.dtype == np.float64 else None for x in inputs]
    assert next(remaining, None) is None
    return y, dy, listed


def _expect(case, found, expected, what):
    # Twice the budget: the oracle rounds as well.
    assert np.shape(found) == np.shape(expected), what
    error = budgets.error_in_eps(found, expected, "float64")
    assert error <= 2 * budgets.of(case.kind, case.terms), f"{what}: {error} eps"


@every_case
@both_seeds
def test_value_and_gradients_are_pytorchs(case, seed):
    torch = pytest.importorskip("torch", reason="pip install 'mlpx[torch]'")
    inputs = case.inputs(Draw(seed))
    y, dy, gradients = _ours(case, inputs, seed + 100)
    tensors = [torch.tensor(x, requires_grad=x.dtype == np.float64) for x in inputs]
    expected = ORACLES[case.op.name].torch(torch, *tensors, **case.attributes)
    _expect(case, y, expected.detach().numpy(), "value")
    expected.backward(torch.tensor(dy))
    for position, (tensor, gradient) in enumerate(zip(tensors, gradients, strict=True)):
        if gradient is not None:
            _expect(case, gradient, tensor.grad.numpy(), f"gradient of argument {position}")


@every_case
@both_seeds
def test_value_and_gradients_are_jaxs(case, seed):
    jax = pytest.importorskip("jax", reason="pip install 'mlpx[jax]'")
    inputs = case.inputs(Draw(seed))
    y, dy, gradients = _ours(case, inputs, seed + 100)
    floating = [position for position, gradient in enumerate(gradients) if gradient is not None]

    def oracle(*arrays):
        given = list(map(jax.numpy.asarray, inputs))
        for position, array in zip(floating, arrays, strict=True):
            given[position] = array
        return ORACLES[case.op.name].jax(jax, *given, **case.attributes)

    expected, pullback = jax.vjp(oracle, *(jax.numpy.asarray(inputs[position]) for position in floating))
    _expect(case, y, np.asarray(expected), "value")
    for position, gradient in zip(floating, pullback(jax.numpy.asarray(dy)), strict=True):
        _expect(case, gradients[position], np.asarray(gradient), f"gradient of argument {position}")


@every_case
@both_seeds
def test_each_gradient_is_the_slope_of_central_differences(case, seed):
    inputs = case.inputs(Draw(seed))
    _, dy, gradients = _ours(case, inputs, seed + 100)
    h = np.finfo(np.float64).eps ** (1 / 3)
    for position, gradient in enumerate(gradients):
        if gradient is None:
            continue
        u = Draw(seed + 200).normal(*inputs[position].shape)
        ends = []
        for step in (h, -h):
            moved = list(inputs)
            moved[position] = inputs[position] + step * u
            ends.append(case.op(*moved, **case.attributes)[0])
        slope = np.sum(dy * (ends[0] - ends[1])) / (2 * h)
        scale = np.sum(np.abs(gradient * u))
        assert abs(slope - np.sum(gradient * u)) <= budgets.GRADIENT * scale, f"argument {position}"


def test_step_has_no_slope():
    (z,) = ops.step.cases[0].inputs(Draw(0))
    a, residuals = ops.step(z)
    np.testing.assert_array_equal(ops.step.gradient(np.full_like(a, np.inf), residuals), np.zeros_like(z))


def test_every_op_of_these_families_has_an_oracle():
    families = {
        "sigmoids",
        "gated",
        "rectifiers",
        "exponential_units",
        "softmax",
        "normalization",
        "dropout",
        "embedding",
        "risk",
    }
    ours = {name for name, op in ops.OPS.items() if op.__module__.rpartition(".")[2] in families}
    assert ours <= set(ORACLES)


def test_repeated_indices_add_up():
    indices = np.asarray([[1, 1], [0, 1]], dtype=np.int32)
    y, residuals = ops.embedding(indices, np.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    dtable = ops.embedding.gradient(np.ones_like(y), residuals)
    np.testing.assert_array_equal(dtable, [[1.0, 1.0], [3.0, 3.0], [0.0, 0.0]])
