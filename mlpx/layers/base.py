"""What a layer is: declared parameters, a forward and a backward pass made of ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlpx.errors import InvalidInputError
from mlpx.layers.initializers import Initializer
from mlpx.typing import Array, ParameterMapping, Residuals, Shape


class Spec(NamedTuple):
    """A declared parameter or buffer.

    Attributes
    ----------
    shape : tuple of int
    initializer : Initializer
        Draws its first values.
    penalised : bool
        Whether the structural risk ½λ‖W‖² counts it: true for weights, false for biases, gains and slopes.
    """

    shape: Shape
    initializer: Initializer
    penalised: bool = False


class Layer:
    """A block of a network. Subclass it, declare parameters, write forward and backward with ops.

    `params` maps the layer's own parameter and buffer names to arrays; backward returns gradients under the same names.

    Attributes
    ----------
    stochastic : bool
        Whether forward draws random numbers in training, and so needs `key`.
    """

    stochastic: bool = False

    def specs(self) -> dict[str, Spec]:
        """Trainable parameters, by name."""
        return {}

    def buffer_specs(self) -> dict[str, Spec]:
        """Arrays that training updates without gradients (running statistics), by name."""
        return {}

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output for an input of `input_shape`; raises InvalidInputError if that does not fit."""
        return input_shape

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """Output for the rows of x, and what `backward` needs."""
        raise NotImplementedError

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array | None, Mapping[str, Array]]:
        """∂loss/∂x (None for an integer x) and ∂loss/∂parameter by name, given ∂loss/∂y."""
        raise NotImplementedError

    def parameter_gradients(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> Mapping[str, Array]:
        """∂loss/∂parameter alone, for the first block of a network; override where ∂loss/∂x costs something."""
        return self.backward(params, residuals, dy)[1]

    def updated_buffers(self, params: ParameterMapping, residuals: Residuals) -> dict[str, Array]:
        """The buffers after a forward pass in training, by name."""
        del params, residuals
        return {}

    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON values: `type(self)(**config)` makes an equal layer."""
        return {}

    def children(self) -> tuple[Layer, ...]:
        """The blocks a composition is made of."""
        return ()

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({arguments})"


def expect_table(layer: Layer, input_shape: Shape, width: int) -> None:
    """Raise InvalidInputError unless a table (n, width) comes in."""
    expect_width(layer, input_shape, width)
    if len(input_shape) != 2:
        raise InvalidInputError(f"{layer!r} takes a table of two axes, got shape {tuple(input_shape)}; put Flatten() before it")


def expect_width(layer: Layer, input_shape: Shape, width: int) -> None:
    """Raise InvalidInputError unless rows of `width` numbers come in."""
    if len(input_shape) < 1 or input_shape[-1] != width:
        raise InvalidInputError(
            f"{layer!r} takes rows of {width} features, got an input of shape {tuple(input_shape)}"
            + (f" ({input_shape[-1]} features)" if input_shape else "")
        )
