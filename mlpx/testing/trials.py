"""One trial: a pure function of arrays run one way, held against its float64 reference. What all public checks are made of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.errors import InvalidInputError
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values, expect_kind
from mlpx.testing.variants import Variant
from mlpx.typing import Array

Results = Mapping[str, Any]
GRADIENT_OF = "gradient of "


@dataclass(frozen=True)
class Trial:
    """A pure function under test.

    Attributes
    ----------
    what : str
        What is tested, for messages: "affine", "Dense(5, 3)".
    inputs : dict of str to NumPy array
        In the order of the function's arguments; floating ones in float64.
    function : callable
        Arrays -> named arrays; a result "gradient of x" has the shape of input x.
    reference : callable
        The same on float64 NumPy arrays, by definitions only.
    budget : callable
        Name of a result -> units of eps it may be off.
    rows : tuple of str
        Inputs and results whose first axis is the batch; () where an empty batch means nothing.
    """

    what: str
    inputs: Mapping[str, np.ndarray]
    function: Callable[..., Results]
    reference: Callable[..., Results]
    budget: Callable[[str], float]
    rows: tuple[str, ...] = ()


def run(trial: Trial, variant: Variant, dtype: str) -> None:
    """Run a trial one way in one dtype.

    Raises
    ------
    AssertionError
        If the function raises or warns; if a result has another library, device, dtype or shape than it should, or is further
        from the reference than its budget; if an input was modified; if a second run gives other bits; if inputs that are not
        contiguous, or an empty batch, are not dealt with.
    """
    with faults_of(f"{trial.what} on {variant}, {dtype}"):
        rounded = {name: cast(array, dtype) for name, array in trial.inputs.items()}
        expected = trial.reference(*(cast(array, "float64") for array in rounded.values()))
        placed = [variant.put(array) for array in rounded.values()]
        call = variant.wrap(trial.function)
        results = call(*placed)
        _expect_names(results, expected)
        expect_kinds(results, expected, placed, variant, dtype)
        if not variant.materialises:
            return
        _check_values(results, expected, trial, variant, dtype)
        expect_unmodified(placed, rounded, variant)
        expect_repeats(call(*placed), results, variant)
        if variant.trace or dtype != variant.floating[-1]:
            return  # layout and emptiness do not depend on the dtype
        strided = [not_contiguous(variant, array) for array in rounded.values()]
        with faults_of("with inputs that are not contiguous"):
            _check_values(call(*strided), expected, trial, variant, dtype)
        if trial.rows:
            _check_empty(trial, rounded, expected, variant)


@contextmanager
def faults_of(where: str) -> Iterator[None]:
    """Turn whatever is raised inside, and NumPy's warnings, into an AssertionError that says where."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            yield
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from error
    except Exception as error:
        raise AssertionError(f"{where}: raised {type(error).__name__}: {error}") from error


def cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """A copy in `dtype` if floating, as it is if not."""
    array = np.asarray(array)
    return array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else array.copy()


def not_contiguous(variant: Variant, array: np.ndarray) -> Array:
    """The values of an array in every other place of a longer one."""
    return variant.put(np.repeat(array, 2, axis=-1))[..., ::2] if array.ndim else variant.put(array)


def emptied(array: np.ndarray) -> np.ndarray:
    """An array without its rows."""
    return array[:0]


def _expect_names(results: Results, expected: Results) -> None:
    if results.keys() != expected.keys():
        raise AssertionError(f"gave {', '.join(results)}; expected {', '.join(expected)}")


def expect_kinds(results: Results, expected: Results, placed: list[Array], variant: Variant, dtype: str) -> None:
    """Every result has the library, device, dtype and shape it should."""
    for name, result in results.items():
        wanted = expected[name]
        if wanted is None or result is None:
            if wanted is not result:
                raise AssertionError(f"{name}: got {type(result).__name__}, expected {type(wanted).__name__}")
            continue
        wanted = np.asarray(wanted)
        known = variant.dtype(dtype if np.issubdtype(wanted.dtype, np.floating) else str(wanted.dtype))
        expect_kind(result, type(placed[0]), variant.result_device, known, wanted.shape, name)


def _check_values(results: Results, expected: Results, trial: Trial, variant: Variant, dtype: str) -> None:
    for name, wanted in expected.items():
        if wanted is None:
            continue
        floating = np.issubdtype(np.asarray(wanted).dtype, np.floating)
        values = variant.get(results[name])
        assert_values(values, wanted, dtype=dtype if floating else None, budget=trial.budget(name), what=name)


def expect_unmodified(placed: list[Array], rounded: Mapping[str, np.ndarray], variant: Variant) -> None:
    """Every input still has the values it was made from."""
    for (name, before), after in zip(rounded.items(), placed, strict=True):
        if not np.array_equal(variant.get(after), before, equal_nan=np.issubdtype(before.dtype, np.floating)):
            raise AssertionError(f"input {name} was modified")


def expect_repeats(again: Results, results: Results, variant: Variant) -> None:
    """A second run gave the same bits."""
    for name, first in results.items():
        if first is not None and variant.get(first).tobytes() != variant.get(again[name]).tobytes():
            raise AssertionError(f"{name}: a second run on the same inputs gave other bits; the function is not pure")


def _check_empty(trial: Trial, rounded: Mapping[str, np.ndarray], expected: Results, variant: Variant) -> None:
    """An empty batch gives empty results, or is refused with InvalidInputError."""
    inputs = {name: emptied(array) if name in trial.rows else array for name, array in rounded.items()}
    with faults_of("with an empty batch"):
        try:
            results = trial.function(*(variant.put(array) for array in inputs.values()))
        except InvalidInputError:
            return
        for name, wanted in expected.items():
            if wanted is None:
                continue
            shape = np.shape(wanted)
            if name.startswith(GRADIENT_OF):
                shape = inputs[name.removeprefix(GRADIENT_OF)].shape
            elif name in trial.rows:
                shape = (0, *shape[1:])
            if tuple(results[name].shape) != shape:
                raise AssertionError(f"{name}: has shape {tuple(results[name].shape)}, expected {shape}")


def composite_budget(terms: int) -> float:
    """What a whole layer may be off: an affine map and a normalisation, forward and backward, sums over `terms` numbers."""
    return budgets.normalising(terms) + 2 * budgets.product(terms)
