"""Built-in data sets, and the division of rows into parts."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mlpx.data import BUILTIN, builtin, read, split
from mlpx.errors import ConfigError, InvalidInputError

SHAPES = {
    "digits": (1797, 64),
    "iris": (150, 4),
    "wine": (178, 13),
    "breast_cancer": (569, 30),
    "diabetes": (442, 10),
    "moons": (1000, 2),
    "spirals": (194, 2),
    "friedman1": (1000, 10),
}
SKLEARN = ("digits", "iris", "wine", "breast_cancer", "diabetes")


def features(table) -> np.ndarray:
    return np.stack([table.columns[name] for name in table.features], axis=1)


def test_names():
    assert set(BUILTIN) == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_size_target_and_source(name):
    table = read(name)
    assert (len(table), len(table.features)) == SHAPES[name]
    assert table.target == "target"
    assert table.source == name
    assert np.isfinite(features(table)).all()
    assert table.fingerprint() == builtin(name).fingerprint()


@pytest.mark.parametrize("name", SKLEARN)
def test_real_sets_are_scikit_learns(name):
    datasets = pytest.importorskip("sklearn.datasets", reason="pip install 'mlpx[sklearn]'")
    bunch = getattr(datasets, f"load_{name}")()
    table = builtin(name)
    np.testing.assert_array_equal(features(table), bunch.data)
    labels = bunch.target if not table.is_text("target") else np.asarray(bunch.target_names)[bunch.target]
    assert table.columns["target"].tolist() == labels.tolist()
    assert table.features == tuple(map(str, bunch.feature_names))


def test_fewer_rows_are_drawn_by_the_seed():
    whole, some, others = builtin("iris"), builtin("iris", seed=3, n=30), builtin("iris", seed=4, n=30)
    rows = {tuple(row) for row in features(whole).tolist()}
    assert len(some) == 30
    assert {tuple(row) for row in features(some).tolist()} <= rows
    assert set(some.columns["target"]) == {"setosa", "versicolor", "virginica"}
    assert some.fingerprint() == builtin("iris", seed=3, n=30).fingerprint() != others.fingerprint()


def test_spirals_follow_the_published_formula():
    table = builtin("spirals")
    x, y = features(table), table.columns["target"]
    # radius 6.5 at angle 0; after 16 points half a turn with radius 6.5 * 88 / 104 = 5.5; after 96 three turns, 6.5 * 8 / 104
    expected = {0: (0.0, 6.5), 16: (0.0, -5.5), 96: (0.0, 0.5)}
    one = x[y == 1]
    for point, place in expected.items():
        np.testing.assert_array_almost_equal_nulp(np.round(one[point], 12), np.array(place))
    np.testing.assert_array_equal(x[y == 0], -one)
    assert len(one) == 97
    assert builtin("spirals", n=500).columns["target"].sum() == 250


def test_moons_lie_around_their_half_circles():
    table = builtin("moons", seed=1, n=4000)
    x, y = features(table), table.columns["target"]
    assert (y == 0).sum() == (y == 1).sum() == 2000
    for label, centre, side in ((0, (0.0, 0.0), 1), (1, (1.0, 0.5), -1)):
        points = (x[y == label] - centre) * side
        radius = np.hypot(points[:, 0], points[:, 1])
        assert 0.15 < np.std(radius) < 0.25  # noise of 0.2 across the circle
        assert 0.97 < np.median(radius) < 1.06
        assert np.mean(points[:, 1] > -0.5) > 0.97  # the upper half only
    assert 0.4 < y[:2000].mean() < 0.6  # in random order


def test_friedman1_is_its_formula_with_unit_noise():
    table = builtin("friedman1", seed=2, n=5000)
    x, y = features(table), table.columns["target"]
    assert x.min() >= 0
    assert x.max() < 1
    assert np.all(np.abs(x.mean(axis=0) - 0.5) < 0.02)
    signal = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    noise = y - signal
    assert 0.95 < noise.std() < 1.05
    assert abs(noise.mean()) < 0.05
    assert abs(np.corrcoef(noise, signal)[0, 1]) < 0.05


@pytest.mark.parametrize("name", ["moons", "friedman1"])
def test_seed_draws_the_points(name):
    assert builtin(name, seed=5).fingerprint() == builtin(name, seed=5).fingerprint()
    assert builtin(name, seed=5).fingerprint() != builtin(name, seed=6).fingerprint()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "irirs"}, "did you mean 'iris'"),
        ({"name": "iris", "n": 151}, "iris has 150 rows"),
        ({"name": "moons", "n": 1}, "n=1"),
        ({"name": "moons", "n": 2.5}, "n=2.5"),
        ({"name": "spirals", "n": 195}, "even number"),
        ({"name": "moons", "seed": -1}, "seed=-1"),
    ],
)
def test_bad_arguments(arguments, says):
    with pytest.raises(ConfigError, match=says):
        builtin(**arguments)


def test_missing_scikit_learn_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'mlpx\[sklearn\]'"):
        builtin("iris")
    assert len(builtin("moons")) == 1000


@pytest.mark.parametrize("fractions", [(0.8, 0.2), (0.5, 0.25, 0.25), (0.6, 0.2, 0.2), (1.0,), (0.98, 0.01, 0.01)])
@pytest.mark.parametrize("n", [5, 10, 97, 1000])
@pytest.mark.parametrize("classes", [None, 1, 2])
def test_split_is_a_partition_of_the_asked_sizes(n, fractions, classes):
    labels = None if classes is None else [row % classes for row in range(n)]
    parts = split(n, fractions, seed=11, labels=labels)
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert all(part.dtype == np.int64 for part in parts)
    for part, fraction in zip(parts, fractions, strict=True):
        assert len(part) >= 1
        assert abs(len(part) - n * fraction) < len(fractions)


def test_split_is_random_and_the_same_for_the_same_seed():
    first, again, other = split(100, seed=1), split(100, seed=1), split(100, seed=2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first[1].tolist() != other[1].tolist()
    assert first[0].tolist() != sorted(first[0].tolist())


def test_split_is_the_permutation_of_its_stream():
    jax = pytest.importorskip("jax", reason="pip install 'mlpx[jax]'")
    key = jax.random.fold_in(jax.random.key(9), 3)
    from mlpx import random

    order = random.permutation(np.asarray(jax.random.key_data(key)), 10)
    train, test = split(10, seed=9)
    assert np.concatenate([train, test]).tolist() == np.asarray(order).tolist()


@pytest.mark.parametrize("kind", ["text", "numbers", "list"])
def test_stratified_parts_hold_their_share_of_every_class(kind):
    counts = {"a": 700, "b": 200, "c": 90, "d": 10}
    labels = np.random.default_rng(0).permutation(np.repeat(list(counts), list(counts.values())))
    given = {"text": labels.astype(object), "numbers": np.array([ord(label) for label in labels]), "list": labels.tolist()}[
        kind
    ]
    parts = split(1000, (0.7, 0.2, 0.1), seed=5, labels=given)
    assert [len(part) for part in parts] == [700, 200, 100]
    for part, fraction in zip(parts, (0.7, 0.2, 0.1), strict=True):
        for label, count in counts.items():
            assert abs(np.sum(labels[part] == label) - count * fraction) <= 1.5


def test_every_class_is_taught_even_the_rare():
    labels = ["common"] * 95 + ["rare 1", "rare 2", "rare 3", "rare 4", "rare 5"]
    for seed in range(20):
        train, test = split(100, (0.5, 0.5), seed=seed, labels=labels)
        assert {labels[row] for row in train} == set(labels)
        assert len(test) >= 45


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"n": 0}, ConfigError, "n=0"),
        ({"n": 1}, ConfigError, "1 rows cannot be divided into 2 parts"),
        ({"n": 10, "fractions": (0.8, 0.1)}, ConfigError, "sum to 1"),
        ({"n": 10, "fractions": ()}, ConfigError, "sum to 1"),
        ({"n": 10, "fractions": (1.0, 0.0)}, ConfigError, "fractions=0.0"),
        ({"n": 10, "fractions": (1.5, -0.5)}, ConfigError, "fractions=1.5"),
        ({"n": 10, "seed": "a"}, ConfigError, "seed='a'"),
        ({"n": 3, "labels": [1, 2]}, InvalidInputError, "2 entries, there are 3 rows"),
        ({"n": 3, "labels": [1, 2, 3]}, InvalidInputError, "3 rows of 3 classes"),
    ],
)
def test_split_that_cannot_be(arguments, error, says):
    with pytest.raises(error, match=says):
        split(**arguments)
