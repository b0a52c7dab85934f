"""Budgets and assertions: what they let pass, what they do not, and what they look at first."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlpx.testing import assert_close, assert_matches_reference, assert_same_kind, budgets, variant
from mlpx.testing.assertions import assert_values

EPS32, EPS64 = float(np.finfo(np.float32).eps), float(np.finfo(np.float64).eps)


@pytest.mark.parametrize(("dtype", "eps"), [("float32", EPS32), ("float64", EPS64)])
def test_error_is_in_eps_of_the_largest_reference(dtype, eps):
    reference = np.array([4.0, 0.001])
    assert budgets.error_in_eps(reference + np.array([0.0, 8 * eps]), reference, dtype) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("y", "reference", "error"),
    [
        ([1.0, math.nan], [1.0, math.nan], 0.0),
        ([1.0, math.inf], [1.0, math.inf], 0.0),
        ([1.0, math.nan], [1.0, 2.0], math.inf),
        ([1.0, 2.0], [1.0, math.nan], math.inf),
        ([1.0, math.inf], [1.0, -math.inf], math.inf),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 1e-300], [0.0, 0.0], math.inf),
        ([], [], 0.0),
    ],
)
def test_error_where_a_value_is_not_finite_or_the_scale_is_zero(y, reference, error):
    assert budgets.error_in_eps(np.asarray(y), np.asarray(reference), "float64") == error


@pytest.mark.parametrize("terms", [1, 8, 64, 1024])
def test_the_product_budget_holds_for_every_order_of_summation_and_not_for_tf32(terms):
    generator = np.random.default_rng(terms)
    a, b = (generator.standard_normal((64, terms)).astype(np.float32) for _ in range(2))
    reference = np.sum(a.astype(np.float64) * b, axis=1)
    in_order = np.zeros(64, dtype=np.float32)
    for column in range(terms):
        in_order = in_order + a[:, column] * b[:, column]
    assert budgets.error_in_eps(in_order, reference, "float32") <= budgets.product(terms)
    assert budgets.error_in_eps(np.einsum("ij,ij->i", a, b), reference, "float32") <= budgets.product(terms)

    def tf32(x):
        return (x.view(np.int32) + 2**12 & -(2**13)).view(np.float32)

    rough = np.sum(tf32(a).astype(np.float64) * tf32(b), axis=1)
    assert budgets.error_in_eps(rough, reference, "float32") > budgets.product(terms)


def test_budgets_by_kind():
    assert budgets.of("exact", 100) == 0
    assert budgets.of("elementwise") == 16
    assert budgets.of("product", 7) < budgets.of("product", 700)
    assert budgets.of("normalising", 7) > budgets.of("product", 7)
    assert budgets.trajectory(100, 7) == 100 * budgets.trajectory(1, 7)
    with pytest.raises(ValueError, match="unknown kind of op 'convolution'"):
        budgets.of("convolution")


def test_printed_digits_tell_how_far_an_example_may_be_off():
    assert budgets.printed([0.5, 0.3775], "float64") == 0
    assert budgets.printed(math.tanh(0.5), "float64") == 0
    assert budgets.printed([0.298371109], "float64") * EPS64 * 0.298371109 == pytest.approx(0.5e-9)


def test_assert_close_passes_within_and_fails_beyond_the_budget():
    desired = np.array([1.0, 2.0], dtype=np.float32)
    assert_close(desired * np.float32(1 + 4 * EPS32), desired)
    with pytest.raises(
        AssertionError, match=r"loss: error .* eps of the largest value \(budget 16, float32\); at \(1,\) got 2"
    ):
        assert_close(desired * np.float32(1 + 40 * EPS32), desired, what="loss")
    assert_close(desired * np.float32(1 + 40 * EPS32), desired, budget=50)
    with pytest.raises(AssertionError, match="error"):
        assert_close(np.nextafter(desired, np.float32(9)), desired, kind="exact")


@pytest.mark.parametrize(
    ("actual", "desired", "said"),
    [
        (np.ones(3, np.float32), np.ones(3), "has dtype float32, expected float64"),
        (np.ones(3), np.ones((3, 1)), r"has shape \(3,\), expected \(3, 1\)"),
        (np.ones(3), np.ones(4), "has shape"),
        ([1.0], np.ones(1), "expected an array, got list"),
        (np.array([1, 2]), np.array([1, 3]), "1 of 2 values differ"),
    ],
)
def test_assert_close_looks_at_dtype_and_shape_before_values(actual, desired, said):
    with pytest.raises(AssertionError, match=said):
        assert_close(actual, desired)


def test_assert_close_finds_a_result_that_became_numpy_and_an_expectation_that_is(backend_variant):
    there = backend_variant.put(np.ones(3))
    assert_close(there, backend_variant.put(np.ones(3)))
    if backend_variant.backend.name == "numpy":
        return
    for actual, desired in ((there, np.ones(3)), (np.ones(3), there)):
        with pytest.raises(AssertionError, match="came from"):
            assert_close(actual, desired)


def test_two_devices_of_one_library_are_not_the_same():
    strict = variant("strict:device1")
    with pytest.raises(AssertionError, match=r"is on device .*device2.*, expected .*device1"):
        assert_same_kind(variant("strict:device2").put(np.ones(3)), strict.put(np.ones(3)))


def test_a_reference_is_numpy_in_float64_and_the_result_like_its_input(backend_variant):
    x = backend_variant.put(np.ones(3, dtype=np.float32))
    assert_matches_reference(x * 2, np.full(3, 2.0), like=x)
    with pytest.raises(AssertionError, match="error"):
        assert_matches_reference(x * 2, np.full(3, 2.001), like=x)
    with pytest.raises(AssertionError, match="has shape"):
        assert_matches_reference(x * 2, np.full(4, 2.0), like=x)


def test_values_of_another_shape_are_never_broadcast():
    with pytest.raises(AssertionError, match="has shape"):
        assert_values(np.ones(1), np.ones(3), dtype="float64", budget=1, what="y")
