"""What an op is: one equation, its backward pass, and the cases that every check draws from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlpx import registry

OPS: dict[str, Op] = {}
UPDATES: dict[str, Op] = {}


class Op:
    """A definition under a name, replaced by a backend's kernel of that name where there is one.

    Calling an op with arrays returns `(result, residuals)`; calling its `gradient` with the gradient of the result and
    these residuals returns one gradient for each array argument (a bare array where there is one argument).

    Attributes
    ----------
    name : str
    definition : callable
        The equation, in Array API functions only.
    gradient : Op
        The backward pass, set by the `@op.backward` decorator; its name ends in ".backward".
    cases : list of Case
    """

    def __init__(self, definition: Callable[..., Any], name: str | None = None) -> None:
        self.name = name or definition.__name__
        self.definition = definition
        self.gradient: Op
        self.cases: list[Case] = []
        self.__name__ = definition.__name__
        self.__doc__ = definition.__doc__
        self.__module__ = definition.__module__
        self.__wrapped__ = definition

    def __call__(self, *arrays: Any, **attributes: Any) -> Any:
        """What the definition gives, computed by it or by the kernel of the first array's library."""
        kernel = registry.kernel_for(self.name, arrays[0])
        return (kernel or self.definition)(*arrays, **attributes)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> tuple[Callable[[str], Op], tuple[str]]:
        return _listed, (self.name,)

    def backward(self, definition: Callable[..., Any]) -> Op:
        """Decorator: make a function the backward pass of this op."""
        self.gradient = Op(definition, f"{self.name}.backward")
        return self.gradient

    def case(self, **record: Any) -> None:
        """Add the record that feeds this op's tests, certificate, benchmark and documentation."""
        self.cases.append(Case(op=self, **record))


def _listed(name: str) -> Op:
    """The op of that name, for pickles: an op is what its name means where the pickle is read."""
    forward, _, backward = name.partition(".")
    found = OPS[forward] if forward in OPS else UPDATES[forward]
    return found.gradient if backward else found


def op(definition: Callable[..., Any]) -> Op:
    """Decorator: make a function that returns `(result, residuals)` an op, listed under its name."""
    made = Op(definition)
    OPS[made.name] = made
    return made


def update_rule(name: str) -> Callable[[Callable[..., Any]], Op]:
    """Decorator: make an equation without a backward pass an op of that name, listed in `UPDATES`.

    Its kernel has the same arguments and results, and overwrites none of them: only a compiled step, which knows what
    it has been given away, may work in place.
    """

    def listed(definition: Callable[..., Any]) -> Op:
        made = UPDATES[name] = Op(definition, name)
        return made

    return listed


def which(op: Op, array: Any) -> str:
    """What would run if `op` were called with `array`: "definition", or the kernel's module and name."""
    kernel = registry.kernel_for(op.name, array)
    return "definition" if kernel is None else f"{kernel.__module__}.{kernel.__qualname__}"


class Draw:
    """Reproducible inputs for a case: NumPy arrays, float64 unless they are indices."""

    def __init__(self, seed: int = 0) -> None:
        self._generator = np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        """Standard normal numbers times `scale`."""
        return self._generator.standard_normal(shape) * scale

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform numbers between `low` and `high`."""
        return self._generator.uniform(low, high, shape)

    def away_from(self, *shape: int, kinks: tuple[float, ...] = (0.0,), gap: float = 0.05) -> np.ndarray:
        """Standard normal numbers kept at least `gap` from every kink, so that differences are sound."""
        x = self._generator.standard_normal(shape)
        for kink in kinks:
            x = np.where(np.abs(x - kink) < gap, kink + np.copysign(gap, x - kink), x)
        return x

    def integers(self, *shape: int, below: int) -> np.ndarray:
        """int32 numbers in [0, below)."""
        return self._generator.integers(0, below, shape).astype(np.int32)


@dataclass(frozen=True)
class Example:
    """Hand-worked values: what these inputs must give, and where that is written."""

    inputs: tuple[Any, ...]
    result: Any
    source: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BadInput:
    """Inputs that must be refused: with which error and which words."""

    inputs: Callable[[Draw], tuple[Any, ...]]
    error: type[Exception]
    match: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One record per op; feeds values, gradient check, backend matrix, bad inputs, certificate and docs.

    Attributes
    ----------
    op : Op
    kind : str
        Which error budget holds: "elementwise", "normalising", "product" (a sum over m terms) or "exact".
    inputs : callable
        Takes a `Draw`, returns the op's array arguments as NumPy arrays; floating ones are differentiated.
    attributes : mapping
        Keyword arguments that are not arrays.
    terms : int
        m, the number of terms in the longest sum.
    label : str
        Tells two cases of one op apart.
    examples : tuple of Example
    bad : tuple of BadInput
    smooth : bool
        Whether a complex step is allowed: no kink, no comparison.
    differentiable : tuple of int, optional
        Which array arguments get gradients; None: all floating ones. Backward returns gradients for these only (a bare
        array where it is one).
    """

    op: Op
    kind: str
    inputs: Callable[[Draw], tuple[np.ndarray, ...]]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    terms: int = 1
    label: str = ""
    examples: tuple[Example, ...] = ()
    bad: tuple[BadInput, ...] = ()
    smooth: bool = False
    differentiable: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """The op's name, and the label if there is one."""
        return f"{self.op.name}-{self.label}" if self.label else self.op.name
