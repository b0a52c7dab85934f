"""Kernels of random bits against their definitions: the same bits, from arrays that cannot be written."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import random
from mlpx.random.normal_table import normal_from_words
from mlpx.random.threefry import threefry2x32
from mlpx.registry import kernel_for
from mlpx_numpy.threefry import BLOCK, FEW

SIZES = (1, FEW, FEW + 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5)  # in Python integers, in one block, over the edges of blocks


def locked(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rounds", [13, 20])
def test_threefry_kernel_gives_the_bits_of_the_definition(n, rounds):
    key = locked(random.key(2**63 + 12345))
    counters = locked(np.arange(n, dtype=np.int32) * 7919 - 5)
    kernel = kernel_for("threefry2x32", key)
    assert kernel is not None
    for high in (3, locked(np.arange(n, dtype=np.int32) - 2)):
        np.testing.assert_array_equal(
            kernel(key, high, counters, rounds), threefry2x32.__wrapped__(key, high, counters, rounds)
        )


@pytest.mark.parametrize("n", SIZES)
def test_normal_kernel_gives_the_bits_of_the_definition(n):
    words = locked(random.bits(random.key(4), n))
    kernel = kernel_for("normal_from_words", words)
    assert kernel is not None
    np.testing.assert_array_equal(kernel(words), normal_from_words.__wrapped__(words))
