"""What every network can do: hold parameters, run forward and backward, show itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from mlpx import random, transfer
from mlpx.errors import ConfigError, InvalidInputError, InvalidTypeError, ResourceLimitError, unknown_name
from mlpx.layers.base import Layer, Spec
from mlpx.namespace import describe, is_floating, namespace_of, placed_as
from mlpx.parameters import Layout, Parameters, Scope
from mlpx.registry import Device
from mlpx.typing import Array, ParameterMapping, Residuals, Shape

DTYPES = ("float32", "float64")


class Network(Layer):
    """A block made of blocks, and what a whole network can do. The blocks are numbered: "0.weight", "2.1.bias".

    `forward` and `backward` serve both as the block's part in a larger one, with a mapping of its own names, and as the public
    door of a whole network, with `Parameters`; then shapes, dtypes and devices are checked and gradients come flat.

    Attributes
    ----------
    in_sequence : bool
        Whether every block feeds the next, rather than all sharing one input.
    """

    in_sequence: bool = True

    def __init__(self, *blocks: Layer) -> None:
        if not blocks:
            raise ConfigError(f"{type(self).__name__} needs at least one block")
        for position, block in enumerate(blocks):
            if not isinstance(block, Layer):
                raise InvalidTypeError(f"block {position} of {type(self).__name__} is a {type(block).__name__}, not a layer")
        self._blocks = blocks
        self._prefixes = tuple(f"{position}." for position in range(len(blocks)))
        self.stochastic = any(block.stochastic for block in blocks)

    def children(self) -> tuple[Layer, ...]:
        """The blocks, in order."""
        return self._blocks

    def specs(self) -> dict[str, Spec]:
        """Parameters of all blocks, by number and name."""
        return {p + name: spec for p, block in self._numbered() for name, spec in block.specs().items()}

    def buffer_specs(self) -> dict[str, Spec]:
        """Buffers of all blocks, by number and name."""
        return {p + name: spec for p, block in self._numbered() for name, spec in block.buffer_specs().items()}

    def updated_buffers(self, params: ParameterMapping, residuals: Residuals) -> dict[str, Array]:
        """Buffers of all blocks after a forward pass in training."""
        return {
            p + name: array
            for (p, block), kept in zip(self._numbered(), residuals, strict=True)
            for name, array in block.updated_buffers(Scope(params, p), kept).items()
        }

    def config(self) -> dict[str, Any]:
        """The blocks."""
        return {"blocks": list(self._blocks)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._blocks))})"

    # ------------------------------------------------------------------ a whole network

    @cached_property
    def layout(self) -> Layout:
        """Where every parameter lies in the flat vector."""
        return Layout(self.specs())

    @cached_property
    def buffer_layout(self) -> Layout:
        """Where every buffer lies in its flat vector."""
        return Layout(self.buffer_specs())

    def init(self, seed: int = 0, device: str | Device = "numpy", dtype: str = "float32") -> Parameters:
        """First parameters: the same numbers on every backend.

        Parameters
        ----------
        seed : int
            From 0 to 2**64 - 1.
        device : str or Device
            As in `mlpx.device`.
        dtype : str
            "float32" or "float64".

        Raises
        ------
        ConfigError
            If the seed or dtype is out of range, or the library cannot compute in that dtype.
        ResourceLimitError
            If the device has less free memory than the parameters need; nothing has been allocated then.
        """
        goal = transfer.device(device)
        check_dtype(dtype, goal)
        check_memory(self.layout.length * np.dtype(dtype).itemsize, goal)
        key = random.fold_in(random.key(seed), random.Purpose.INIT)
        drawn = []
        for layout in (self.layout, self.buffer_layout):
            like: Any = np.empty(0, dtype)
            arrays: dict[str, Any] = {
                name: entry.spec.initializer.draw(random.fold_in(key, number), entry.shape, dtype)
                for number, (name, entry) in enumerate(layout.entries.items())
            }
            drawn.append(transfer.to_device(layout.flatten(arrays, like), goal))
        return Parameters(self.layout, drawn[0], Parameters(self.buffer_layout, drawn[1]))

    def parameters(self, arrays: Mapping[str, Array]) -> Parameters:
        """Parameters copied from given arrays of any one library, by name; buffers may be left out.

        Raises
        ------
        InvalidInputError
            If a name is missing or unknown, a shape differs, or an array overlaps itself.
        InvalidTypeError
            If an array is not of a real floating dtype, or two dtypes occur.
        """
        given = dict(arrays)
        for name, array in given.items():
            _check_given(name, array)
        buffers = {name: given.pop(name) for name in list(given) if name in self.buffer_layout.entries}
        empty: Any = np.empty(0, np.float32)
        like = next(iter({**given, **buffers}.values()), empty)
        for name, array in {**given, **buffers}.items():
            if array.dtype != like.dtype:
                raise InvalidTypeError(
                    f"parameters of two dtypes: {name!r} is {array.dtype}, another is {like.dtype}; cast one"
                )
        xp = namespace_of(like)
        for name, entry in self.buffer_layout.entries.items():
            if name not in buffers:
                start = entry.spec.initializer.draw(random.key(0), entry.shape)
                buffers[name] = xp.asarray(start.tolist(), dtype=like.dtype, **placed_as(like))
        flats = (
            xp.asarray(layout.flatten(part, like), copy=True)
            for layout, part in ((self.layout, given), (self.buffer_layout, buffers))
        )
        flat, flat_buffers = flats
        return Parameters(self.layout, flat, Parameters(self.buffer_layout, flat_buffers))

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """Output for the rows of x, and what `backward` needs.

        Parameters
        ----------
        params : Parameters
        x : (n, d) of the parameters' library, device and dtype
        train : bool
            Whether dropout drops and batch normalisation uses the batch's statistics.
        key : array, optional
            Random key for dropout, from `mlpx.random.key`; needed in training if there is dropout.

        Returns
        -------
        y : (n, k)
        residuals : nested tuples of arrays

        Raises
        ------
        InvalidInputError, InvalidTypeError, DeviceMismatchError
            If x does not fit the network or its parameters.
        """
        if isinstance(params, Parameters):
            self._check_input(params, x)
            if train and self.stochastic and key is None:
                raise InvalidInputError("this network draws random numbers in training: pass key=mlpx.random.key(seed)")
        return self._forward(params, x, train, key)

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array | None, Any]:
        """∂loss/∂x, and ∂loss/∂parameters in the layout of the parameters, given ∂loss/∂y.

        Parameters
        ----------
        params : Parameters
        residuals : from `forward`
        dy : (n, k)

        Returns
        -------
        dx : (n, d), or None where x holds categories
        grads : Parameters
        """
        self._check_residuals(residuals)
        dx, grads = self._backward(params, residuals, dy)
        return dx, self._gathered(params, grads)

    def parameter_gradients(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> Any:
        """∂loss/∂parameters alone: what training needs, without the cost of ∂loss/∂x."""
        self._check_residuals(residuals)
        return self._gathered(params, self._parameter_gradients(params, residuals, dy))

    def summary(self, input_shape: Shape | None = None) -> Any:
        """A table of layers, output shapes, parameters and memory; prints itself, also in a notebook."""
        from mlpx.summary import Summary  # the table library is loaded when a table is asked for

        return Summary(self, input_shape)

    # ------------------------------------------------------------------ what a composition writes

    def _forward(self, params: ParameterMapping, x: Array, train: bool, key: Array | None) -> tuple[Array, Residuals]:
        raise NotImplementedError

    def _backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array | None, dict[str, Array]]:
        raise NotImplementedError

    def _parameter_gradients(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> dict[str, Array]:
        return self._backward(params, residuals, dy)[1]

    def _numbered(self) -> Iterator[tuple[str, Layer]]:
        return zip(self._prefixes, self._blocks, strict=True)

    def _keys(self, train: bool, key: Array | None) -> Any:
        """One key a block: `random.split`, or None for every block where nothing is drawn."""
        if not train or key is None or not self.stochastic:
            return [None] * len(self._blocks)
        keys = random.split(key, len(self._blocks))
        return [keys[i, :] if block.stochastic else None for i, block in enumerate(self._blocks)]

    def _gathered(self, params: ParameterMapping, grads: dict[str, Array]) -> Any:
        if not isinstance(params, Parameters):
            return grads
        return Parameters(self.layout, self.layout.flatten(grads, params.flat))

    def _check_residuals(self, residuals: Residuals) -> None:
        if not isinstance(residuals, tuple) or len(residuals) != len(self._blocks):
            raise InvalidInputError("residuals must be what forward of this network returned: call forward first")

    def _check_input(self, params: Parameters, x: Array) -> None:
        namespace_of(params.flat, x)
        if params.layout is not self.layout and params.layout != self.layout:
            raise InvalidInputError(f"parameters of another network: {params!r} for {self!r}")
        if is_floating(x) and x.dtype != params.dtype:
            raise InvalidTypeError(f"x is {x.dtype}, the parameters are {params.dtype}: cast x, or init with that dtype")
        self.output_shape(tuple(x.shape))


def check_dtype(dtype: str, device: Device) -> None:
    """Raise ConfigError unless networks can be computed in `dtype` on that device."""
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    device.backend.check_dtype(dtype)


def check_memory(nbytes: int, device: Device, vectors: int = 1) -> None:
    """Raise ResourceLimitError unless the device has free memory for so many vectors of `nbytes` bytes."""
    memory = device.backend.memory(device.name)
    if memory is not None and vectors * nbytes > memory.free:
        gib = 2**30
        what = "the parameters need" if vectors == 1 else f"training needs {vectors} vectors of parameters,"
        raise ResourceLimitError(
            f"{what} {vectors * nbytes / gib:.1f} GiB, {device} has {memory.free / gib:.1f} GiB free: make the layers smaller"
        )


def _check_given(name: str, array: Array) -> None:
    if not hasattr(array, "dtype") or not hasattr(array, "shape"):
        raise InvalidTypeError(f"parameter {name!r} is a {type(array).__name__}: give an array")
    if not is_floating(array):
        raise InvalidTypeError(f"parameter {name!r} is {describe(array)}: give float32 or float64")
    of_torch: Any = getattr(array, "stride", None)  # a method there, the attribute `strides` elsewhere
    strides: Any = of_torch() if callable(of_torch) else getattr(array, "strides", None)
    if strides is not None and any(step == 0 and n > 1 for step, n in zip(strides, array.shape, strict=True)):
        raise InvalidInputError(f"parameter {name!r} overlaps itself (a broadcast view): it must own its memory; copy it first")
