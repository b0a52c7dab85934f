"""Random numbers: known answers, the same bits on every library, the distributions, and bad arguments."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tolerances import KS_P_VALUE, NORMAL_TABLE, STANDARD_ERRORS

from mlpx import random, to_device
from mlpx.certify.random_bits import DRAWS, PINNED, digest
from mlpx.errors import ConfigError, DeviceMismatchError, InvalidInputError, InvalidTypeError
from mlpx.random.normal_table import normal_from_words
from mlpx.random.threefry import threefry2x32
from mlpx.registry import kernel_for
from mlpx.testing.variants import variant

KNOWN_ANSWERS = [
    (int(line.split()[1]), *(int(word, 16) for word in line.split()[2:]))
    for line in (Path(__file__).parent / "data" / "random123_kat.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]

KEY = random.fold_in(random.key(2**40 + 7), 3)


def _words(*numbers):
    return np.array(numbers, dtype=np.uint32).view(np.int32)


def _standard_error(values):
    return np.std(values) / np.sqrt(np.size(values))


@pytest.mark.parametrize(("rounds", "c0", "c1", "k0", "k1", "w0", "w1"), KNOWN_ANSWERS)
def test_threefry_gives_the_known_answers(backend_variant, rounds, c0, c1, k0, k1, w0, w1):
    run = backend_variant.wrap(lambda key, high, low: threefry2x32(key, high, low, rounds))
    words = run(*(backend_variant.put(_words(*pair)) for pair in ((k0, k1), (c0,), (c1,))))
    assert tuple(words.shape) == (2, 1)
    assert words.dtype == backend_variant.dtype("int32")
    if backend_variant.materialises:
        np.testing.assert_array_equal(backend_variant.get(words).view(np.uint32), [[w0], [w1]])


def test_there_are_three_known_answers_for_each_number_of_rounds():
    assert sorted(rounds for rounds, *_ in KNOWN_ANSWERS) == [13] * 3 + [20] * 3 + [32] * 3


@pytest.mark.parametrize("name", DRAWS)
def test_draws_have_the_same_bits_everywhere(backend_variant, name):
    drawn = backend_variant.wrap(DRAWS[name])(backend_variant.put(KEY))
    reference = DRAWS[name](KEY)
    assert type(drawn) is type(backend_variant.wrap(lambda key: key + 0)(backend_variant.put(KEY)))
    assert drawn.dtype == backend_variant.dtype(reference.dtype.name)
    assert tuple(drawn.shape) == reference.shape
    assert getattr(drawn, "device", None) == backend_variant.result_device
    if backend_variant.materialises:
        assert digest(backend_variant.get(drawn)) == PINNED[name]


@pytest.mark.parametrize("draw", [random.uniform, random.normal])
def test_float64_draws_are_the_float32_ones(backend_variant, draw):
    if "float64" not in backend_variant.floating or not backend_variant.materialises:
        pytest.skip(f"{backend_variant} has no float64 values")
    drawn = backend_variant.wrap(lambda key: draw(key, 999, dtype="float64"))(backend_variant.put(KEY))
    assert drawn.dtype == backend_variant.dtype("float64")
    np.testing.assert_array_equal(backend_variant.get(drawn), draw(KEY, 999).astype(np.float64))


@pytest.mark.parametrize(
    ("low", "high"), [(-0.1, 0.1), (0.7, 0.9), (-1e-3, 1e3), (-5.0, -4.9), (0.0, 3.0), (1.0, 1.0 + 2**-22)]
)
def test_uniform_ranges_are_rounded_alike_and_open_above(backend_variant, low, high):
    if not backend_variant.materialises:
        pytest.skip("no values")
    run = backend_variant.wrap(lambda key: random.uniform(key, 20_001, low=low, high=high))
    drawn = backend_variant.get(run(backend_variant.put(KEY)))
    m = (random.bits(KEY, 20_001).view(np.uint32) >> 8).astype(np.float32)
    scaled = np.float32(high - low) * (m / np.float32(2**24))
    assert drawn.min() >= np.float32(low)
    assert drawn.max() < np.float32(high)
    below = np.nextafter(np.float32(high), np.float32(low))
    assert drawn.tobytes() == np.minimum(scaled + np.float32(low), below).tobytes()


def test_an_array_of_probabilities_is_a_probability_each(backend_variant):
    p = np.array([0.0, 0.25, 1.0, 0.9], dtype=np.float32)
    run = backend_variant.wrap(lambda key, p: random.bernoulli(key, p, (500, 4)))
    flips = run(backend_variant.put(KEY), backend_variant.put(p))
    assert tuple(flips.shape) == (500, 4)
    if backend_variant.materialises:
        expected = [random.bernoulli(KEY, one, (500, 4))[:, column] for column, one in enumerate(p.tolist())]
        np.testing.assert_array_equal(backend_variant.get(flips), np.stack(expected, axis=1))


def test_keys_may_be_folded_with_traced_numbers(backend_variant):
    data = np.array([[0, 1, 2], [3, 2**31 - 1, -1]], dtype=np.int32)
    keys = backend_variant.wrap(random.fold_in)(backend_variant.put(KEY), backend_variant.put(data))
    assert tuple(keys.shape) == (2, 3, 2)
    if backend_variant.materialises:
        expected = [random.fold_in(KEY, int(number) % 2**32) for number in data.reshape(-1)]
        np.testing.assert_array_equal(backend_variant.get(keys).reshape(-1, 2), expected)


def test_a_device_may_be_named(backend_variant):
    if backend_variant.trace:
        pytest.skip("a device is named outside of traced code")
    name = f"{backend_variant.backend.name}:{backend_variant.device}"
    drawn = random.uniform(KEY, (50, 41), device=name)
    assert drawn.device == backend_variant.put(KEY).device
    assert digest(backend_variant.get(drawn)) == PINNED["uniform"]
    assert digest(random.uniform(to_device(KEY, name), (50, 41), device="numpy")) == PINNED["uniform"]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 9, 10, 11, 1000, 65536, 100_001])
def test_the_numpy_kernels_equal_their_definitions(n):
    low = np.arange(n, dtype=np.int32) * 40_503 - 7
    for high in (0, -1, np.array([5], dtype=np.int32), low[::-1]):
        assert kernel_for("threefry2x32", KEY) is not None
        expected = threefry2x32.__wrapped__(KEY, high, low)
        made = threefry2x32(KEY, high, low)
        assert made.dtype == expected.dtype
        np.testing.assert_array_equal(made, expected)
    words = random.bits(KEY, n)
    assert kernel_for("normal_from_words", KEY) is not None
    np.testing.assert_array_equal(normal_from_words(words), normal_from_words.__wrapped__(words))


@pytest.mark.parametrize("shape", [0, 1, 7, (), (0,), (3, 0), [2, 3], (2, 1, 4), np.int64(5)])
def test_any_shape_takes_its_words_in_order(shape):
    sizes = (int(shape),) if np.ndim(shape) == 0 and not isinstance(shape, tuple) else tuple(shape)
    drawn = random.bits(KEY, shape)
    assert drawn.shape == sizes
    count = int(np.prod(sizes))
    pairs = threefry2x32(KEY, 0, np.arange((count + 1) // 2, dtype=np.int32))
    np.testing.assert_array_equal(drawn.reshape(-1), pairs.reshape(-1)[:count])
    for draw in (random.uniform, random.normal, lambda key, shape: random.bernoulli(key, 0.5, shape)):
        assert draw(KEY, shape).shape == sizes


def test_uniform_is_uniform():
    u = random.uniform(KEY, 1_000_000).astype(np.float64)
    assert u.min() >= 0
    assert u.max() < 1
    np.testing.assert_array_equal(u * 2**24, np.floor(u * 2**24))
    np.testing.assert_array_equal(u, random.uniform(KEY, 1_000_000, dtype=np.dtype("float64")))
    for power in (1, 2, 3):
        assert abs(np.mean(u**power) - 1 / (power + 1)) < STANDARD_ERRORS * _standard_error(u**power)
    assert pytest.importorskip("scipy.stats").kstest(u[:100_000], "uniform").pvalue > KS_P_VALUE


def test_normal_is_normal():
    z = random.normal(KEY, 1_000_000).astype(np.float64)
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        assert abs(np.mean(z**power) - moment) < STANDARD_ERRORS * _standard_error(z**power)
    assert pytest.importorskip("scipy.stats").kstest(z[:200_000], "norm").pvalue > KS_P_VALUE


def test_normal_is_the_inverse_distribution_function_of_its_word():
    stats = pytest.importorskip("scipy.stats")
    octaves = [(1 << bit) + offset for bit in range(1, 31) for offset in (-1, 0, 1, 1 << (bit - 1))]
    words = np.concatenate([random.bits(KEY, 100_000), _words(0, 1, 2**31 - 1, 2**31, 2**32 - 1, *octaves)])
    u = (words & 0x7FFFFFFF | 1).astype(np.float64)
    expected = np.where(words < 0, -1, 1) * stats.norm.isf(u / 2**32)
    assert np.max(np.abs(normal_from_words(words) / 2**20 - expected)) < NORMAL_TABLE


def test_bernoulli_is_a_uniform_below_p():
    for p in (0.0, 2**-24, 1e-3, 0.1, 0.5, 0.9, 1 - 2**-24, 1.0):
        flips = random.bernoulli(KEY, p, 200_000)
        assert flips.dtype == np.bool
        np.testing.assert_array_equal(flips, random.uniform(KEY, 200_000) < np.float32(p))
        assert abs(flips.mean() - p) <= STANDARD_ERRORS * np.sqrt(p * (1 - p) / flips.size) + 2**-24
    assert not random.bernoulli(KEY, 0.0, 200_000).any()
    assert random.bernoulli(KEY, 1.0, 200_000).all()


def test_bernoulli_compares_with_p_and_not_with_a_rounded_threshold():
    u = random.uniform(KEY, 1000)
    place = int(np.flatnonzero(u < 0.25)[0])  # below a quarter float32 has values between the multiples of 2**-24
    for p, flip in ((u[place], False), (u[place] + np.float32(2**-26), True)):
        assert random.bernoulli(KEY, float(p), 1000)[place] == flip
        assert random.bernoulli(KEY, np.full(1000, p), 1000)[place] == flip


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutation_is_one(n):
    order = random.permutation(KEY, n)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_every_permutation_is_equally_likely():
    keys = random.fold_in(KEY, np.arange(6000, dtype=np.int32))
    seen = [tuple(random.permutation(key, 3).tolist()) for key in keys]
    counts = np.array([seen.count(order) for order in {*seen}])
    assert counts.size == 6
    assert np.all(np.abs(counts - 1000) < STANDARD_ERRORS * np.sqrt(6000 * 1 / 6 * 5 / 6))


def test_streams_of_different_purposes_are_unrelated():
    drawn = [random.normal(random.fold_in(random.key(0), purpose), 100_000) for purpose in random.Purpose]
    for one, next_one in pairwise(drawn):
        assert abs(np.mean(one * next_one)) < STANDARD_ERRORS * _standard_error(one * next_one)
    assert len({*random.Purpose}) == len(random.Purpose.__members__)


@pytest.mark.parametrize("seed", ["abc", -1, 2**64, 2**200, True, 2.5, None, np.float64(1)])
def test_a_seed_out_of_range_names_the_range(seed):
    with pytest.raises(ConfigError, match=r"^seed=.*whole number in \[0, 2\*\*64\)"):
        random.key(seed)


@pytest.mark.parametrize("seed", [0, 1, np.int64(5), 2**32, 2**64 - 1])
def test_a_seed_is_its_two_words(seed):
    words = random.key(seed).view(np.uint32).tolist()
    assert words == [int(seed) >> 32, int(seed) % 2**32]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: random.bits(0, 3), InvalidTypeError, r"key=0: expected a key.*mlpx\.random\.key"),
        (lambda: random.bits(np.zeros(2), 3), InvalidTypeError, r"int32 words, got .*float64"),
        (lambda: random.bits(random.split(KEY, 3), 3), InvalidInputError, r"shape \(3, 2\); take one key"),
        (lambda: random.bits(KEY, -1), ConfigError, "shape=-1"),
        (lambda: random.bits(KEY, (2, 1.5)), ConfigError, r"shape=1\.5"),
        (lambda: random.bits(KEY, (2**20, 2**13)), ConfigError, r"8589934592 numbers, .* 2\*\*32"),
        (lambda: random.permutation(KEY, 2**31), ConfigError, "n=2147483648"),
        (lambda: random.bernoulli(KEY, 1.5, 3), ConfigError, r"p=1\.5: .*\[0, 1\]"),
        (lambda: random.bernoulli(KEY, float("nan"), 3), ConfigError, "p=nan"),
        (lambda: random.uniform(KEY, 3, low=1, high=1), ConfigError, "low < high"),
        (lambda: random.uniform(KEY, 3, low=1, high=1 + 1e-12), ConfigError, "range of float32"),
        (lambda: random.uniform(KEY, 3, low=-3e38, high=3e38), ConfigError, "range of float32"),
        (lambda: random.uniform(KEY, 3, dtype="float23"), ConfigError, "did you mean 'float32'"),
        (lambda: random.normal(KEY, 3, dtype="int32"), ConfigError, "unknown dtype"),
        (lambda: random.fold_in(KEY, -1), ConfigError, r"data=-1: .*2\*\*32"),
        (lambda: random.fold_in(KEY, np.ones(2)), InvalidTypeError, "expected integers"),
        (lambda: random.split(KEY, -1), ConfigError, "num=-1"),
        (lambda: random.bits(KEY, 3, device="nunpy"), ConfigError, "did you mean 'numpy'"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_key_and_data_must_be_on_one_device():
    elsewhere = variant("strict:device1")
    with pytest.raises(DeviceMismatchError):
        random.fold_in(KEY, elsewhere.put(np.array([1], dtype=np.int32)))
    with pytest.raises(DeviceMismatchError):
        random.bernoulli(KEY, elsewhere.put(np.array([0.5], dtype=np.float32)), 3)
