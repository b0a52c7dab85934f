"""The network that an estimator's settings describe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from mlpx import layers
from mlpx.compositions import Sequential
from mlpx.errors import InvalidInputError
from mlpx.layers.dense import DenseResiduals
from mlpx.namespace import namespace_of
from mlpx.ops.affine import Residuals as AffineResiduals
from mlpx.sklearn.placement import Place
from mlpx.typing import Array, DType, ParameterMapping, Residuals


class Plan(NamedTuple):
    """What a network is built from; hashable, so that equal plans share one network and its compiled steps.

    Attributes
    ----------
    units : widths of input, hidden layers and output
    activations : name or Activation of each hidden layer
    dropout : rate behind each hidden layer
    normalization : None, "batch" or "layer", in front of each hidden activation
    sparse : whether X is a sparse matrix
    """

    units: tuple[int, ...]
    activations: tuple[Any, ...]
    dropout: tuple[float, ...]
    normalization: str | None = None
    sparse: bool = False


class Architecture(NamedTuple):
    """A network, and under which prefix each of its fully connected layers keeps weight and bias."""

    net: Sequential
    dense: tuple[str, ...]

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weight matrices: what the penalty counts."""
        return tuple(f"{prefix}weight" for prefix in self.dense)

    def parameters(
        self, coefs: list[Array], intercepts: list[Array], others: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """All parameters by name: scikit-learn's (n_in, n_out) matrices are the transposes of ours."""
        named = dict(others or {})
        for prefix, coef, intercept in zip(self.dense, coefs, intercepts, strict=True):
            named[f"{prefix}weight"] = coef.T
            named[f"{prefix}bias"] = intercept
        return named


class SparseDense(layers.Dense):
    """A fully connected first layer whose input is a SciPy sparse matrix: the products skip what is zero."""

    def forward(
        self, params: ParameterMapping, x: Any, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, DenseResiduals]:
        """Z = X Wᵀ + b, A = f(Z)."""
        weight: Any = params["weight"]
        z = np.asarray(x @ weight.T) + params["bias"]
        kept = AffineResiduals(x, weight)
        if self.activation is None:
            return z, DenseResiduals(kept, ())
        a, after = self.activation.forward(params, z, train=train, key=key)
        return a, DenseResiduals(kept, after)

    def parameter_gradients(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> Mapping[str, Array]:
        """BP-3 as (Xᵀ δ)ᵀ, and BP-4."""
        delta, grads = self._delta(params, residuals, dy)
        dweight: Any = np.asarray(residuals.affine.a.T @ delta).T
        return {"weight": dweight, "bias": namespace_of(delta).sum(delta, axis=0), **grads}


@lru_cache(maxsize=256)
def build(plan: Plan) -> Architecture:
    """The network of a plan."""
    blocks: list[layers.Layer] = []
    dense: list[str] = []
    for number in range(len(plan.units) - 1):
        n_in, n_out = plan.units[number : number + 2]
        hidden = number < len(plan.units) - 2
        kind = SparseDense if plan.sparse and number == 0 else layers.Dense
        activation = plan.activations[number] if hidden else None
        dense.append(f"{len(blocks)}.")
        if not hidden or plan.normalization is None:
            blocks.append(kind(n_in, n_out, activation))
        else:
            normalizing = layers.BatchNorm if plan.normalization == "batch" else layers.LayerNorm
            blocks += [kind(n_in, n_out), normalizing(n_out), _sized(activation, n_out)]
        if hidden and plan.dropout[number] > 0:
            blocks.append(layers.Dropout(plan.dropout[number]))
    return Architecture(Sequential(*blocks), tuple(dense))


def each_hidden(name: str, given: Any, hidden: int, *, single: tuple[type, ...]) -> tuple[Any, ...]:
    """A setting given once for all hidden layers, or once for each of them."""
    if isinstance(given, single):
        return (given,) * hidden
    values = tuple(given)
    if len(values) != hidden:
        raise InvalidInputError(f"{name} has {len(values)} values for {hidden} hidden layers: give one, or one for each")
    return values


def _sized(activation: Any, features: int) -> layers.Activation:
    made = activation if isinstance(activation, layers.Activation) else layers.Activation(activation)
    return made.sized(features)


def first_values(architecture: Architecture, place: Place, dtype: DType) -> dict[str, Array]:
    """Gains, offsets, slopes and running statistics before training: constants all."""
    net = architecture.net
    own = {f"{prefix}{name}" for prefix in architecture.dense for name in ("weight", "bias")}
    specs = {**net.specs(), **net.buffer_specs()}
    key = np.zeros(2, dtype=np.int32)
    return {
        name: place.xp.astype(place.put(spec.initializer.draw(key, spec.shape)), dtype, copy=False)
        for name, spec in specs.items()
        if name not in own
    }
