"""A fully connected layer of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlpx.arguments import whole_number
from mlpx.errors import checked_keywords
from mlpx.layers import initializers
from mlpx.layers.activation import Activation, as_activation
from mlpx.layers.base import Layer, Spec, expect_table
from mlpx.ops.affine import affine, affine_parameter_gradients
from mlpx.typing import Array, ParameterMapping, Residuals, Shape


class DenseResiduals(NamedTuple):
    """What `affine` and the activation keep for their backward passes."""

    affine: Residuals
    activation: Residuals


class Dense(Layer):
    """a = f(W x + b) for every row x.

    Parameters
    ----------
    n_in, n_out : int
        Features that come in, units that go out.
    activation : str or Activation, optional
        f; identity if not given.
    weight_init : str, mapping or Initializer, optional
        How W of shape (n_out, n_in) is drawn; if not given, chosen by the activation (`initializers.default_for`).
    bias_init : str, mapping or Initializer
        How b of shape (n_out,) is drawn.

    Raises
    ------
    ConfigError
        If a size is not a whole number ≥ 1, a name is unknown, or the weights would all be equal.
    """

    @checked_keywords
    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str | Activation | None = None,
        *,
        weight_init: Any = None,
        bias_init: Any = "zeros",
    ) -> None:
        self.n_in = whole_number("n_in", n_in)
        self.n_out = whole_number("n_out", n_out)
        self.activation = as_activation(activation, self.n_out)
        name = self.activation.name if self.activation else "identity"
        self.weight_init = initializers.weight_initializer(
            initializers.default_for(name) if weight_init is None else weight_init
        )
        self.bias_init = initializers.get(bias_init)
        self._given = {} if weight_init is None else {"weight_init": self.weight_init.config()}
        self._given |= {} if bias_init == "zeros" else {"bias_init": self.bias_init.config()}

    def specs(self) -> dict[str, Spec]:
        """Weight (n_out, n_in), bias (n_out,), and what the activation learns."""
        own = {
            "weight": Spec((self.n_out, self.n_in), self.weight_init, penalised=True),
            "bias": Spec((self.n_out,), self.bias_init),
        }
        return own | (self.activation.specs() if self.activation else {})

    def output_shape(self, input_shape: Shape) -> Shape:
        """n_out in place of n_in."""
        expect_table(self, input_shape, self.n_in)
        return (*input_shape[:-1], self.n_out)

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, DenseResiduals]:
        """Z = X Wᵀ + b, A = f(Z)."""
        z, before = affine(x, params["weight"], params["bias"])
        if self.activation is None:
            return z, DenseResiduals(before, ())
        a, after = self.activation.forward(params, z, train=train, key=key)
        return a, DenseResiduals(before, after)

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array, Mapping[str, Array]]:
        """BP-2, BP-3 and BP-4."""
        delta, grads = self._delta(params, residuals, dy)
        dx, dweight, dbias = affine.gradient(delta, residuals.affine)
        return dx, {"weight": dweight, "bias": dbias, **grads}

    def parameter_gradients(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> Mapping[str, Array]:
        """BP-3 and BP-4 alone."""
        delta, grads = self._delta(params, residuals, dy)
        dweight, dbias = affine_parameter_gradients(delta, residuals.affine)
        return {"weight": dweight, "bias": dbias, **grads}

    def _delta(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array, Mapping[str, Array]]:
        """δ = ∂E/∂Z, and the gradients of what the activation learns."""
        if self.activation is None:
            return dy, {}
        return self.activation.backward(params, residuals.activation, dy)

    def config(self) -> dict[str, Any]:
        """Sizes, activation and initialisers where they were chosen."""
        if self.activation is None:
            activation = {}
        elif self.activation.settings:
            activation = {"activation": self.activation}
        else:
            activation = {"activation": self.activation.name}
        return {"n_in": self.n_in, "n_out": self.n_out, **activation, **self._given}
