"""Keys are those of `jax.random`, and its words follow from ours as documented."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import random
from mlpx.errors import ConfigError

jax = pytest.importorskip("jax")

SEEDS = [0, 1, 12345, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40 + 7, 2**63 - 1]


@pytest.fixture(autouse=True)
def _partitionable_threefry_with_64_bit_seeds():
    with jax.enable_x64(True), jax.threefry_partitionable(True), jax.default_prng_impl("threefry2x32"):
        yield


def _theirs(seed):
    return np.asarray(jax.random.key_data(jax.random.key(seed)))


def _same(ours, theirs):
    np.testing.assert_array_equal(np.asarray(ours).view(np.uint32), np.asarray(theirs))


@pytest.mark.parametrize("seed", SEEDS)
def test_key_fold_in_and_split_are_those_of_jax(seed):
    ours, theirs = random.key(seed), jax.random.PRNGKey(seed)
    _same(ours, theirs)
    for data in (0, 1, 77, 2**31, 2**32 - 1):
        _same(random.fold_in(ours, data), jax.random.fold_in(theirs, data))
    for num in (1, 2, 5, 20):
        _same(random.split(ours, num), jax.random.split(theirs, num))
    chained = random.fold_in(random.split(ours, 3)[2], 9)
    _same(chained, jax.random.fold_in(jax.random.split(theirs, 3)[2], 9))


def test_a_seed_above_two_to_the_63_is_that_of_jax():
    _same(random.key(2**64 - 3), jax.random.PRNGKey(np.uint64(2**64 - 3)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_bits_of_jax_are_the_two_halves_of_ours_combined(seed, n):
    ours = random.bits(random.key(seed), 2 * n)
    _same(ours[:n] ^ ours[n:], jax.random.bits(jax.random.PRNGKey(seed), (n,), dtype="uint32"))


def test_keys_of_jax_are_taken_as_they_are():
    key = jax.random.PRNGKey(2**40 + 7)
    drawn = random.bits(key, 100)
    assert isinstance(drawn, jax.Array)
    np.testing.assert_array_equal(np.asarray(drawn), random.bits(random.key(2**40 + 7), 100))


def test_a_compiled_draw_leaves_nothing_of_its_trace_behind():
    key = jax.numpy.asarray(random.key(3))
    compiled = jax.jit(lambda key: random.normal(key, 100))(key)
    np.testing.assert_array_equal(np.asarray(random.normal(key, 100)), np.asarray(compiled))
    closed = jax.jit(lambda x: x + random.normal(key, 100))(jax.numpy.zeros(100, "float32"))
    np.testing.assert_array_equal(np.asarray(closed), np.asarray(compiled))


def test_keys_can_be_mapped_over():
    keys = jax.numpy.asarray(random.split(random.key(3), 4))
    mapped = jax.vmap(lambda key: random.uniform(key, 5))(keys)
    np.testing.assert_array_equal(np.asarray(mapped), [random.uniform(key, 5) for key in random.split(random.key(3), 4)])


def test_float64_is_refused_while_jax_has_none():
    with jax.enable_x64(False):
        key = jax.numpy.asarray(random.key(0))
        for draw in (random.uniform, random.normal):
            with pytest.raises(ConfigError, match="64-bit mode"):
                draw(key, 3, dtype="float64")
        np.testing.assert_array_equal(np.asarray(random.bits(key, 50)), random.bits(random.key(0), 50))
        np.testing.assert_array_equal(np.asarray(random.normal(key, 50)), random.normal(random.key(0), 50))
