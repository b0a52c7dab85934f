"""How blocks are put together: in sequence, around a shortcut, in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from mlpx.errors import ConfigError, InvalidInputError, checked_keywords
from mlpx.layers.base import Layer
from mlpx.namespace import namespace_of, placed_as
from mlpx.network import Network
from mlpx.parameters import Scope
from mlpx.typing import Array, ParameterMapping, Residuals, Shape


class Sequential(Network):
    """Blocks one after another: y = f_L(… f_2(f_1(x)))."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape that comes out of the last block."""
        for position, block in enumerate(self._blocks):
            try:
                input_shape = block.output_shape(input_shape)
            except InvalidInputError as error:
                raise InvalidInputError(f"layer {position}: {error}") from None
        return input_shape

    def _forward(self, params: ParameterMapping, x: Array, train: bool, key: Array | None) -> tuple[Array, Residuals]:
        residuals = []
        for (prefix, block), block_key in zip(self._numbered(), self._keys(train, key), strict=True):
            x, kept = block.forward(Scope(params, prefix), x, train=train, key=block_key)
            residuals.append(kept)
        return x, tuple(residuals)

    def _backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array | None, dict[str, Array]]:
        dx, grads = self._back_to(0, params, residuals, dy)
        return dx, grads

    def _parameter_gradients(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> dict[str, Array]:
        first = self._first_learning
        delta, grads = self._back_to(first + 1, params, residuals, dy)
        if first < len(self._blocks) and delta is not None:
            own = self._blocks[first].parameter_gradients(Scope(params, self._prefixes[first]), residuals[first], delta)
            grads |= _prefixed(self._prefixes[first], own)
        return grads

    @cached_property
    def _first_learning(self) -> int:
        """Number of the first block that has parameters: no gradient is needed before it."""
        return next((i for i, block in enumerate(self._blocks) if block.specs()), len(self._blocks))

    def _back_to(self, first: int, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Any, dict[str, Array]]:
        """Back through the blocks from the last to number `first`."""
        grads: dict[str, Array] = {}
        for i in range(len(self._blocks) - 1, first - 1, -1):
            prefix = self._prefixes[i]
            dy, own = self._blocks[i].backward(Scope(params, prefix), residuals[i], dy)  # type: ignore[assignment]
            grads |= _prefixed(prefix, own)
            if dy is None:  # whole numbers came in here: nothing before has a gradient
                break
        return dy, grads


class Residual(Network):
    """A shortcut around blocks in sequence: y = x + f(x).

    References
    ----------
    He, Zhang, Ren & Sun (2016), "Deep Residual Learning for Image Recognition", eq. 1.
    """

    def __init__(self, *blocks: Layer) -> None:
        super().__init__(*blocks)
        self._body = Sequential(*blocks)

    def output_shape(self, input_shape: Shape) -> Shape:
        """As the input."""
        inside = self._body.output_shape(input_shape)
        if inside != input_shape:
            raise InvalidInputError(
                f"Residual adds its input: its blocks turn shape {input_shape} into {inside}; make them equal"
            )
        return input_shape

    def _forward(self, params: ParameterMapping, x: Array, train: bool, key: Array | None) -> tuple[Array, Residuals]:
        y, residuals = self._body._forward(params, x, train, key)
        return x + y, residuals

    def _backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array | None, dict[str, Array]]:
        dx, grads = self._body._backward(params, residuals, dy)
        return dy if dx is None else dy + dx, grads

    def _parameter_gradients(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> dict[str, Array]:
        return self._body._parameter_gradients(params, residuals, dy)


class Branch(NamedTuple):
    """What a branch of `Parallel` keeps, and an empty array as wide as its output."""

    residuals: Residuals
    width: Array


class Parallel(Network):
    """The same input through several blocks, their outputs side by side or added.

    Parameters
    ----------
    *blocks : Layer
    combine : str
        "concat" puts the outputs side by side along the last axis; "sum" adds them.
    """

    in_sequence = False

    @checked_keywords
    def __init__(self, *blocks: Layer, combine: str = "concat") -> None:
        super().__init__(*blocks)
        if combine not in ("concat", "sum"):
            raise ConfigError(f"combine={combine!r}: expected 'concat' or 'sum'")
        self.combine = combine

    def output_shape(self, input_shape: Shape) -> Shape:
        """Widths added up for "concat", the common shape for "sum"."""
        shapes = [block.output_shape(input_shape) for block in self._blocks]
        if self.combine == "sum":
            if len(set(shapes)) > 1:
                raise InvalidInputError(f"Parallel adds outputs of different shapes: {shapes}")
            return shapes[0]
        if len({shape[:-1] for shape in shapes}) > 1:
            raise InvalidInputError(f"Parallel cannot put outputs of these shapes side by side: {shapes}")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def config(self) -> dict[str, Any]:
        """The blocks, and how outputs are combined."""
        return {**super().config(), "combine": self.combine}

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, combine={self.combine!r})"

    def _forward(self, params: ParameterMapping, x: Array, train: bool, key: Array | None) -> tuple[Array, Residuals]:
        xp = namespace_of(x)
        outputs, residuals = [], []
        for (prefix, block), block_key in zip(self._numbered(), self._keys(train, key), strict=True):
            y, kept = block.forward(Scope(params, prefix), x, train=train, key=block_key)
            outputs.append(y)
            residuals.append(Branch(kept, xp.zeros((0, y.shape[-1]), dtype=y.dtype, **placed_as(y))))
        y = _total(outputs) if self.combine == "sum" else xp.concat(outputs, axis=-1)
        return y, tuple(residuals)

    def _backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array | None, dict[str, Array]]:
        dxs, grads = [], {}
        for prefix, block, kept, part in self._parts(residuals, dy):
            dx, own = block.backward(Scope(params, prefix), kept, part)
            grads |= _prefixed(prefix, own)
            if dx is not None:
                dxs.append(dx)
        return (_total(dxs) if dxs else None), grads

    def _parameter_gradients(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> dict[str, Array]:
        grads = {}
        for prefix, block, kept, part in self._parts(residuals, dy):
            grads |= _prefixed(prefix, block.parameter_gradients(Scope(params, prefix), kept, part))
        return grads

    def _parts(self, residuals: Residuals, dy: Array) -> Iterator[tuple[str, Layer, Residuals, Array]]:
        """Every branch with its name, its residuals and its part of ∂loss/∂y."""
        start = 0
        for (prefix, block), branch in zip(self._numbered(), residuals, strict=True):
            stop = start + branch.width.shape[1]
            yield prefix, block, branch.residuals, dy if self.combine == "sum" else dy[..., start:stop]
            start = stop

    def updated_buffers(self, params: ParameterMapping, residuals: Residuals) -> dict[str, Array]:
        """Buffers of all branches after a forward pass in training."""
        return super().updated_buffers(params, tuple(branch.residuals for branch in residuals))


def _prefixed(prefix: str, grads: Mapping[str, Array]) -> dict[str, Array]:
    return {prefix + name: grad for name, grad in grads.items()}


def _total(arrays: list[Array]) -> Array:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total
