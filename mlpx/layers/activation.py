"""An activation function as a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpx.arguments import whole_number
from mlpx.errors import ConfigError, InvalidTypeError, unknown_name
from mlpx.layers.base import Layer, Spec, expect_width
from mlpx.layers.initializers import constant
from mlpx.ops.activations import ACTIVATIONS
from mlpx.typing import Array, ParameterMapping, Residuals, Shape

_LEARNED = {"prelu": ("slope", 0.25), "swish": ("beta", 1.0)}
_SETTINGS = {"leaky_relu": ("slope",), "elu": ("alpha",), "swish": ("beta",)}


class Activation(Layer):
    """a = f(z), element by element.

    Parameters
    ----------
    name : str
        `identity`, `step`, `logistic` (= `sigmoid`), `tanh`, `relu`, `leaky_relu`, `prelu`, `elu`, `softplus`, `swish`, `silu`,
        `gelu` or `selu`.
    features : int, optional
        Number of units; needed where a number is learned for every unit: `prelu`, and `swish` with `beta="learned"`. Inside
        `Dense` it is filled in.
    **settings
        `slope` of leaky_relu, `alpha` of elu, `beta` of swish (a number, or "learned").

    Raises
    ------
    ConfigError
        If the name or a setting is unknown.
    """

    def __init__(self, name: str, features: int | None = None, **settings: Any) -> None:
        if name not in ACTIVATIONS:
            raise unknown_name("activation", name, ACTIVATIONS)
        allowed = _SETTINGS.get(name, ())
        for key in settings:
            if key not in allowed:
                raise InvalidTypeError(f"activation {name!r} has no setting {key!r} (it has: {', '.join(allowed) or 'none'})")
        self.name = name
        self.features = None if features is None else whole_number("features", features)
        self.settings = settings
        self._op = ACTIVATIONS[name]
        self._learned = name == "prelu" or settings.get("beta") == "learned"

    def sized(self, features: int) -> Activation:
        """The same activation for a layer of `features` units."""
        return Activation(self.name, features if self._learned else None, **self.settings)

    def specs(self) -> dict[str, Spec]:
        """The learned slope or β, one a unit."""
        if not self._learned:
            return {}
        if self.features is None:
            raise ConfigError(f"{self!r} learns a number for every unit: say how many with features=")
        name, start = _LEARNED[self.name]
        return {name: Spec((self.features,), constant(start))}

    def output_shape(self, input_shape: Shape) -> Shape:
        """As the input."""
        if self._learned:
            expect_width(self, input_shape, self.features or 0)
        return input_shape

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """A = f(z)."""
        del train, key
        if self._learned:
            return self._op(x, params[_LEARNED[self.name][0]])
        return self._op(x, **self.settings)

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array, Mapping[str, Array]]:
        """δ = ∂E/∂a ⊙ f'(z) (BP-2), and the gradient of what is learned."""
        del params
        if self._learned:
            dz, dlearned = self._op.gradient(dy, residuals)
            return dz, {_LEARNED[self.name][0]: dlearned}
        return self._op.gradient(dy, residuals), {}

    def config(self) -> dict[str, Any]:
        """Name, features where given, settings."""
        sized = {} if self.features is None else {"features": self.features}
        return {"name": self.name, **sized, **self.settings}


def as_activation(given: str | Activation | None, features: int) -> Activation | None:
    """The activation layer of `features` units that an `activation=` argument means."""
    if given is None or (isinstance(given, str) and given == "identity"):
        return None
    if isinstance(given, str):
        given = Activation(given)
    if not isinstance(given, Activation):
        raise InvalidTypeError(f"activation={given!r}: expected a name or layers.Activation(...)")
    return given.sized(features)
