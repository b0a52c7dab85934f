"""Is a backward pass the derivative of its forward pass? Two evaluations per argument, whatever its size.

A random direction u in the argument and a random dy: ⟨dy, J u⟩ by central differences against ⟨backward(dy), u⟩.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlpx.layers.base import Layer
from mlpx.ops.definition import Op
from mlpx.testing.differences import compare
from mlpx.testing.drawing import draw_parameters


def check_gradients(
    target: Any,
    *inputs: Any,
    backward: Callable[..., Any] | None = None,
    params: Mapping[str, Any] | None = None,
    differentiable: Sequence[int] | None = None,
    train: bool = False,
    key: Any = None,
    seed: int = 0,
    **attributes: Any,
) -> dict[str, float]:
    """Check a backward pass against central differences, in float64 on NumPy.

    Parameters
    ----------
    target : Op, Layer, network or callable
        An op; a layer or network, whose parameters are checked as well; with `backward`, a function of arrays that returns
        `(y, residuals)`; else a function that returns `(y, gradient)` as a loss does, or `(y, (gradient, …))`.
    *inputs : arrays or nested lists
        Arguments at which to check; floating ones become float64. Keep them off kinks such as relu's 0.
    backward : callable, optional
        `(dy, residuals) -> gradients`.
    params : mapping of str to array, optional
        Of a layer or network; drawn by its initializers if not given.
    differentiable : sequence of int, optional
        Which inputs have gradients, in the order of the gradients; by default the floating ones.
    train, key : bool, array
        Passed on to the forward pass of a layer or network.
    seed : int
        Of dy and of the directions.
    **attributes
        Keyword arguments of an op or function.

    Returns
    -------
    errors : dict of str to float
        Relative error for each argument and parameter.

    Raises
    ------
    AssertionError
        If one is larger than `budgets.GRADIENT`, or a gradient has another shape than its argument.

    Examples
    --------
    >>> import numpy as np
    >>> from mlpx.testing import check_gradients
    >>> errors = check_gradients(lambda x: (np.sin(x), x), [0.3, 0.4], backward=lambda dy, x: dy * np.cos(x))
    >>> check_gradients(lambda x: (np.sin(x), x), [0.3, 0.4], backward=lambda dy, x: dy * np.sin(x))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: gradient of argument 0: relative error ... against central differences (budget 1e-06)
    """
    arrays = [_as_float64(one) for one in inputs]
    if isinstance(target, Layer):
        return _check_layer_gradients(target, arrays[0], params, train, key, seed)
    if isinstance(target, Op):
        backward, definition = target.gradient.definition, target.definition
    else:
        definition = target
    y, rest = definition(*arrays, **attributes)
    dy = np.ones(()) if backward is None else np.random.default_rng(seed + 1).standard_normal(np.shape(y))
    gradients = rest if backward is None else backward(dy, rest)
    gradients = gradients if isinstance(gradients, tuple | list) else (gradients,)
    if differentiable is None:
        floating = [index for index, one in enumerate(arrays) if np.issubdtype(one.dtype, np.floating)]
        differentiable = floating[: len(gradients)] if backward is None else floating
    return compare(
        lambda *moved: definition(*moved, **attributes)[0],
        arrays,
        {f"argument {index}": (index, gradient) for index, gradient in zip(differentiable, gradients, strict=True)},
        dy,
        seed,
    )


def _check_layer_gradients(layer: Any, x: np.ndarray, params: Any, train: bool, key: Any, seed: int) -> dict[str, float]:
    """The same for a layer or network: its input, if floating, and every parameter."""
    drawn = {name: _as_float64(one) for name, one in (params or draw_parameters(layer, seed)).items()}
    buffers = {
        name: _as_float64(one) for name, one in draw_parameters(layer, seed, layer.buffer_specs()).items() if name not in drawn
    }
    names = list(layer.specs())

    def forward(x: np.ndarray, *values: np.ndarray) -> np.ndarray:
        return layer.forward({**drawn, **buffers, **dict(zip(names, values, strict=True))}, x, train=train, key=key)[0]

    y, residuals = layer.forward({**drawn, **buffers}, x, train=train, key=key)
    dy = np.random.default_rng(seed + 1).standard_normal(np.shape(y))
    dx, gradients = layer.backward({**drawn, **buffers}, residuals, dy)
    if gradients.keys() != set(names):
        raise AssertionError(f"backward gave gradients of {', '.join(gradients)}; specs are {', '.join(names)}")
    stated = {name: (index + 1, gradients[name]) for index, name in enumerate(names)}
    if np.issubdtype(x.dtype, np.floating):
        stated = {"x": (0, dx), **stated}
    return compare(forward, [x, *(drawn[name] for name in names)], stated, dy, seed)


def _as_float64(array: Any) -> np.ndarray:
    """A NumPy array, in float64 if it is floating."""
    if type(array).__module__.partition(".")[0] not in {"numpy", "builtins"}:
        from mlpx.transfer import to_numpy

        array = to_numpy(array)
    array = np.asarray(array)
    return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array
