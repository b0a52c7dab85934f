"""Gradient clipping: hand-worked values, extremes of the dtype, every library."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import optim
from mlpx.errors import ConfigError
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values, expect_kind
from mlpx.testing.variants import available_variants

variants = pytest.mark.parametrize("place", available_variants(), ids=str)
BUDGET = budgets.of("elementwise")


@variants
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("grads", "norm", "clipped"),
    [
        ([3.0, -4.0], 5.0, [0.6, -0.8]),  # 3² + 4² = 5²
        ([0.0, 0.0], 0.0, [0.0, 0.0]),
        ([0.0, 0.5], 0.5, [0.0, 0.5]),
        ([2.0, 4.0, 5.0, 6.0], 9.0, [2 / 9, 4 / 9, 5 / 9, 6 / 9]),  # 4 + 16 + 25 + 36 = 81
        ([3e30, 4e30], 5e30, [0.6, 0.8]),  # squares overflow in float32
        ([3e-30, 4e-30], 5e-30, [3e-30, 4e-30]),  # squares vanish in float32
    ],
)
def test_global_norm(grads, norm, clipped, dtype, place):
    if dtype not in place.floating:
        pytest.skip(f"{place} does not compute in {dtype}")
    given = np.asarray(grads, dtype=dtype)
    g = place.put(given)
    got, found = place.wrap(lambda g: optim.clip_by_global_norm(g, 1.0))(g)
    expect_kind(got, type(g), place.result_device, g.dtype, given.shape, "clipped")
    expect_kind(found, type(g), place.result_device, g.dtype, (), "norm")
    assert np.array_equal(place.get(g), given)
    if place.materialises:
        assert_values(place.get(got), np.asarray(clipped), dtype=dtype, budget=BUDGET, what="clipped")
        assert_values(place.get(found), np.asarray(norm), dtype=dtype, budget=BUDGET, what="norm")


def test_a_short_gradient_keeps_its_bits():
    g = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    clipped, norm = optim.clip_by_global_norm(g, 1.001 * float(np.linalg.norm(g)))
    assert np.array_equal(clipped, g)
    assert norm < 1.001 * np.linalg.norm(g)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_divergence_stays_visible(bad):
    with np.errstate(invalid="ignore"):
        clipped, norm = optim.clip_by_global_norm(np.asarray([1.0, bad]), 1.0)
    assert not np.isfinite(norm)
    assert not np.any(np.isfinite(clipped))


@variants
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_by_value(dtype, place):
    if dtype not in place.floating:
        pytest.skip(f"{place} does not compute in {dtype}")
    given = np.asarray([-3.0, -0.5, 0.0, 0.25, 7.0], dtype=dtype)
    g = place.put(given)
    got = place.wrap(lambda g: optim.clip_by_value(g, 0.5))(g)
    expect_kind(got, type(g), place.result_device, g.dtype, given.shape, "clipped")
    assert np.array_equal(place.get(g), given)
    if place.materialises:
        assert np.array_equal(place.get(got), np.asarray([-0.5, -0.5, 0.0, 0.25, 0.5], dtype=dtype))


@pytest.mark.parametrize("limit", [0.0, -1.0, np.nan, np.inf, "1", True])
def test_limits_that_are_none(limit):
    with pytest.raises(ConfigError, match=r"max_norm=.*finite number in"):
        optim.clip_by_global_norm(np.ones(2), limit)
    with pytest.raises(ConfigError, match=r"limit=.*finite number in"):
        optim.clip_by_value(np.ones(2), limit)
