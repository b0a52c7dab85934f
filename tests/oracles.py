"""Independent gradients: torch autograd and jax.grad, applied to an op's forward definition alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlpx.ops.definition import Case


def torch_gradients(case: Case, inputs: Sequence[np.ndarray], dy: np.ndarray, wanted: Sequence[int]) -> list[np.ndarray]:
    """∂⟨dy, y⟩/∂input by torch autograd through the forward definition, for each wanted input."""
    import torch

    arrays = [torch.tensor(one) for one in inputs]
    leaves = [arrays[index].requires_grad_() for index in wanted]
    y, _ = case.op.definition(*arrays, **case.attributes)
    if not y.requires_grad:  # a step function has no slope anywhere
        return [np.zeros(leaf.shape) for leaf in leaves]
    gradients = torch.autograd.grad(y, leaves, torch.tensor(dy), allow_unused=True)
    return [np.zeros(leaf.shape) if one is None else one.numpy() for leaf, one in zip(leaves, gradients, strict=True)]


def jax_gradients(case: Case, inputs: Sequence[np.ndarray], dy: np.ndarray, wanted: Sequence[int]) -> list[np.ndarray]:
    """The same by jax.grad, compiled."""
    import jax

    def scalar(*arrays: Any) -> Any:
        return jax.numpy.sum(case.op.definition(*arrays, **case.attributes)[0] * dy)

    gradients = jax.jit(jax.grad(scalar, argnums=tuple(wanted)))(*map(jax.numpy.asarray, inputs))
    return [np.asarray(one) for one in gradients]


ORACLES = {"torch": torch_gradients, "jax": jax_gradients}
