"""First values of weights and biases, drawn on the host from a key: the same numbers wherever they are moved.

A weight of shape (n_out, n_in) has fan_in = n_in and fan_out = n_out. Variances that keep activations, and gradients, of
the same size from layer to layer:

    glorot   2 / (fan_in + fan_out)     units that are linear near zero
    he       2 / fan_in                 units that pass only one half of their input
    lecun    1 / fan_in                 self-normalising units

`_normal` takes that variance as it is (nothing is truncated); `_uniform` is U[-a, a) with a = √(3 · variance).

References: Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks", eq. 12 and
16; He, Zhang, Ren & Sun (2015), "Delving deep into rectifiers", eq. 10; LeCun, Bottou, Orr & Müller (1998), "Efficient
BackProp", eq. 16.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import numpy as np

from mlpx import random
from mlpx.arguments import real_number
from mlpx.errors import ConfigError, InvalidTypeError, unknown_name
from mlpx.random import Key
from mlpx.typing import Shape

SMALL = 0.01
"""The lecture's "very small random value, close to zero"."""

_DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Initializer(ABC):
    """How first values are drawn. The dataclass fields are its settings."""

    name: ClassVar[str]

    def draw(self, key: Key, shape: Shape, dtype: str = "float32") -> np.ndarray:
        """First values, a function of key and shape alone.

        Parameters
        ----------
        key : (2,) int32
            From `mlpx.random.key`; each parameter needs its own.
        shape : tuple of int
        dtype : str
            "float32" or "float64". The numbers are made in float64; float32 ones are these, rounded.

        Returns
        -------
        values : NumPy array of that shape and dtype

        Raises
        ------
        ConfigError
            If the dtype is another.
        """
        if dtype not in _DTYPES:
            raise unknown_name("dtype", dtype, _DTYPES)
        return self._values(key, tuple(shape)).astype(dtype)

    @abstractmethod
    def variance(self, shape: Shape) -> float:
        """Variance of the distribution that values of this shape come from."""

    @property
    def breaks_symmetry(self) -> bool:
        """Whether the units of a layer may start with these weights and still come to differ."""
        return True

    def config(self) -> dict[str, Any]:
        """Name and settings as JSON values: `get` makes an equal initializer of them."""
        return {"name": self.name, **{field.name: getattr(self, field.name) for field in fields(self)}}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.config().items() if name != "name")
        return f"{self.name}({settings})"

    @abstractmethod
    def _values(self, key: Key, shape: Shape) -> Any:
        """The values in float64."""


@dataclass(frozen=True, repr=False)
class Normal(Initializer):
    """Values from N(0, scale²)."""

    name: ClassVar[str] = "normal"
    scale: float = SMALL

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", real_number("scale", self.scale, 0, open_low=True))

    def variance(self, shape: Shape) -> float:
        """scale²."""
        del shape
        return self.scale**2

    def _values(self, key: Key, shape: Shape) -> Any:
        return self.scale * random.normal(key, shape, dtype="float64")


@dataclass(frozen=True, repr=False)
class Uniform(Initializer):
    """Values from U[low, high)."""

    name: ClassVar[str] = "uniform"
    low: float = -SMALL
    high: float = SMALL

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", real_number("low", self.low))
        object.__setattr__(self, "high", real_number("high", self.high))
        if not self.low < self.high:
            raise ConfigError(f"low={self.low!r}, high={self.high!r}: expected low < high")

    def variance(self, shape: Shape) -> float:
        """(high - low)² / 12."""
        del shape
        return (self.high - self.low) ** 2 / 12

    def _values(self, key: Key, shape: Shape) -> Any:
        return random.uniform(key, shape, low=self.low, high=self.high, dtype="float64")


@dataclass(frozen=True, repr=False)
class Constant(Initializer):
    """All values the same.

    Parameters
    ----------
    value : float
    keep_symmetry : bool
        Whether these may be the weights of a layer although its units then stay equal, as an experiment may want to show.
    """

    name: ClassVar[str] = "constant"
    value: float = 0.0
    keep_symmetry: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", real_number("value", self.value))
        if not isinstance(self.keep_symmetry, bool):
            raise ConfigError(f"keep_symmetry={self.keep_symmetry!r}: expected True or False")

    def variance(self, shape: Shape) -> float:
        """0."""
        del shape
        return 0.0

    @property
    def breaks_symmetry(self) -> bool:
        """Never."""
        return False

    def _values(self, key: Key, shape: Shape) -> Any:
        del key
        return np.full(shape, self.value, dtype=np.float64)


@dataclass(frozen=True, repr=False)
class VarianceScaling(Initializer):
    """Values whose variance is set by the width of the layer; the name, such as "he_normal", says how."""

    rule: str
    distribution: str

    @property
    def name(self) -> str:
        """The rule and the distribution."""
        return f"{self.rule}_{self.distribution}"

    def variance(self, shape: Shape) -> float:
        """The rule's variance for the fans of the shape."""
        fan_in, fan_out = fans(shape)
        numerator, both = _RULES[self.rule]
        return numerator / (fan_in + fan_out if both else fan_in)

    def config(self) -> dict[str, Any]:
        """The name: there is nothing to set."""
        return {"name": self.name}

    def _values(self, key: Key, shape: Shape) -> Any:
        if self.distribution == "normal":
            return math.sqrt(self.variance(shape)) * random.normal(key, shape, dtype="float64")
        bound = math.sqrt(3 * self.variance(shape))
        return random.uniform(key, shape, low=-bound, high=bound, dtype="float64")


_RULES = {"glorot": (2, True), "he": (2, False), "lecun": (1, False)}
"""Variance times fan, and whether that fan is fan_in + fan_out."""

normal, uniform, constant = Normal, Uniform, Constant

INITIALIZERS: dict[str, Callable[..., Initializer]] = {
    **{f"{rule}_{law}": partial(VarianceScaling, rule, law) for rule in _RULES for law in ("uniform", "normal")},
    "normal": Normal,
    "uniform": Uniform,
    "constant": Constant,
    "zeros": partial(Constant, 0.0),
    "ones": partial(Constant, 1.0),
}

_HE = frozenset({"relu", "leaky_relu", "prelu", "elu", "softplus", "swish", "silu", "gelu"})


def fans(shape: Shape) -> tuple[int, int]:
    """fan_in and fan_out, at least 1: the last two sizes of (…, n_out, n_in); the only size of a vector is both."""
    n_out, n_in = (1, 1, *shape)[-2:] if len(shape) != 1 else (shape[0], shape[0])
    return max(1, n_in), max(1, n_out)


def get(spec: str | Mapping[str, Any] | Initializer) -> Initializer:
    """The initializer that a setting means.

    Parameters
    ----------
    spec : str, mapping or Initializer
        A name, `{"name": name, **settings}`, or an initializer, which is returned as it is.

    Raises
    ------
    ConfigError
        If the name or a setting is unknown, or a setting is out of range.
    InvalidTypeError
        If `spec` is none of these.
    """
    if isinstance(spec, Initializer):
        return spec
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        raise InvalidTypeError(f"initializer {spec!r}: expected a name, a mapping with a name, or an Initializer")
    settings = dict(spec)
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in INITIALIZERS:
        raise unknown_name("initializer", name, INITIALIZERS)
    make = INITIALIZERS[name]
    allowed = [field.name for field in fields(make)] if isinstance(make, type) else []  # a partial leaves nothing to set
    for setting in settings:
        if setting not in allowed:
            raise unknown_name(f"setting of initializer {name!r}", setting, allowed)
    return make(**settings)


def weight_initializer(spec: str | Mapping[str, Any] | Initializer) -> Initializer:
    """As `get`, for the weights of a layer, which must not all be equal.

    Raises
    ------
    ConfigError
        If all weights would be equal: then all units of the layer get the same gradient at every step and stay equal, as
        the lecture warns (initialisation of W and b). `constant(value, keep_symmetry=True)` asks for just that.
    """
    made = get(spec)
    if made.breaks_symmetry or getattr(made, "keep_symmetry", False):
        return made
    raise ConfigError(
        f"initializer {made!r} makes all weights equal: every unit of the layer would compute the same and get the same "
        "gradient, and training could never tell them apart. Take a random one such as 'glorot_uniform' or 'he_normal', or, "
        f"to show just that, initializers.constant({getattr(made, 'value', 0.0)!r}, keep_symmetry=True)"
    )


def default_for(activation: str) -> Initializer:
    """The initializer of the weights before an activation.

    he_normal before relu and its relatives, which pass about half of the variance on; lecun_normal before selu, whose
    constants assume it (Klambauer et al. 2017, "Self-normalizing neural networks"); glorot_uniform before all others,
    which are linear near zero or the output layer's.
    """
    if activation in _HE:
        return get("he_normal")
    return get("lecun_normal" if activation == "selu" else "glorot_uniform")
