"""A network whose every layer notes what goes through it, forward and backward, while its own code runs.

The layers and compositions compute as they always do; a `Watched` stands around each and looks on. So nothing that a layer or a
composition computes is written here a second time, and a user's own are seen like ours.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlpx.layers.activation import Activation
from mlpx.layers.base import Layer, Spec
from mlpx.namespace import namespace_of
from mlpx.network import Network
from mlpx.typing import Array, ParameterMapping, Residuals, Shape

INPUT = "input"  # where the network's own input comes from


@dataclass
class Pass:
    """What one layer, part of a layer, or composition saw.

    Attributes
    ----------
    path : str
        "0", "2.1"; of a part "0/activation".
    layer : Layer
        As it stands in the network.
    parameters : dict of str to array
    source : str
        Path of the one whose output came in, or `INPUT`.
    x, y, residuals : arrays
        Forward.
    dy, dx, gradients : arrays
        Backward; dx is None where whole numbers came in.
    """

    path: str
    layer: Layer
    parameters: dict[str, Array]
    source: str
    x: Array
    y: Any = None
    residuals: Residuals = ()
    dy: Any = None
    dx: Any = None
    gradients: dict[str, Array] = field(default_factory=dict)

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a layer, such as the activation of a Dense."""
        return "/" in self.path

    @property
    def is_composition(self) -> bool:
        """Whether it is made of blocks."""
        return isinstance(self.layer, Network)


class Recording:
    """What all layers of a network saw in one forward and backward pass.

    Attributes
    ----------
    passes : dict of str to Pass
        In the order in which the forward pass entered them.
    replaced : dict of (path, "x" or "y") to array
        Values to put in the place of what enters or leaves a layer, to see what would follow.
    """

    def __init__(self) -> None:
        self.passes: dict[str, Pass] = {}
        self.replaced: dict[tuple[str, str], Array] = {}
        self._producer: dict[int, str] = {}

    def entering(self, path: str, layer: Layer, params: ParameterMapping, x: Array) -> Array:
        """Note what comes into a layer."""
        source = self._producer.get(id(x), INPUT)
        x = self.replaced.get((path, "x"), x)
        own = {name: params[name] for name in layer.specs()}
        self.passes[path] = Pass(path, layer, own, source, x)
        return x

    def leaving(self, path: str, y: Array, residuals: Residuals) -> Array:
        """Note what goes out of a layer; an array of its own, so that one knows later where it came from."""
        seen = self.passes[path]
        y = self.replaced.get((path, "y"), y)
        if y is seen.x:
            y = namespace_of(y).asarray(y, copy=True)
        seen.y, seen.residuals = y, residuals
        self._producer[id(y)] = path
        return y

    def going_back(self, path: str, dy: Array, dx: Array | None, gradients: Mapping[str, Array]) -> None:
        """Note what the backward pass of a layer was given and what it gave."""
        seen = self.passes[path]
        seen.dy, seen.dx, seen.gradients = dy, dx, dict(gradients)


class Watched(Layer):
    """A layer with an onlooker; everything else is the layer's."""

    def __init__(self, layer: Layer, path: str, recording: Recording, original: Layer) -> None:
        self._layer = layer
        self._path = path
        self._recording = recording
        self._original = original
        self.stochastic = layer.stochastic

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._layer, name)

    def specs(self) -> dict[str, Spec]:
        """The layer's."""
        return self._layer.specs()

    def buffer_specs(self) -> dict[str, Spec]:
        """The layer's."""
        return self._layer.buffer_specs()

    def output_shape(self, input_shape: Shape) -> Shape:
        """The layer's."""
        return self._layer.output_shape(input_shape)

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """The layer's, noting input, output and residuals."""
        x = self._recording.entering(self._path, self._original, params, x)
        y, residuals = self._layer.forward(params, x, train=train, key=key)
        return self._recording.leaving(self._path, y, residuals), residuals

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[Array | None, Mapping[str, Array]]:
        """The layer's, noting all gradients."""
        dx, gradients = self._layer.backward(params, residuals, dy)
        self._recording.going_back(self._path, dy, dx, gradients)
        return dx, gradients

    def updated_buffers(self, params: ParameterMapping, residuals: Residuals) -> dict[str, Array]:
        """The layer's."""
        return self._layer.updated_buffers(params, residuals)

    def config(self) -> dict[str, Any]:
        """The layer's."""
        return self._layer.config()


def activation_pass(passes: Mapping[str, Pass], path: str) -> Pass | None:
    """The pass in which a layer's net input became its activation: that of its part, or its own; None for a layer without."""
    seen = passes[path]
    return seen if isinstance(seen.layer, Activation) else passes.get(f"{path}/activation")


def watched_network(net: Network, recording: Recording, prefix: str = "") -> Network:
    """The same network with an onlooker around every block, however deep."""
    blocks = [_watched(block, f"{prefix}{number}", recording) for number, block in enumerate(net.children())]
    settings = {name: value for name, value in net.config().items() if name != "blocks"}
    return type(net)(*blocks, **settings)


def _watched(block: Layer, path: str, recording: Recording) -> Watched:
    if isinstance(block, Network):
        return Watched(watched_network(block, recording, f"{path}."), path, recording, block)
    looked_into = copy.copy(block)
    for name, part in vars(block).items():
        if isinstance(part, Layer):  # such as the activation of a Dense
            setattr(looked_into, name, Watched(part, f"{path}/{name}", recording, part))
    return Watched(looked_into, path, recording, block)
