"""What losses refuse: shapes and types at every call, values once before training, with words that say where and what next."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import losses
from mlpx.errors import DeviceMismatchError, InvalidInputError, InvalidTypeError
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values
from mlpx.testing.variants import available_variants

BUDGET = budgets.of("normalising", 8)
EAGER = [one for one in available_variants() if one.materialises and not one.trace]
places = pytest.mark.parametrize("place", EAGER, ids=str)
OUTPUT = np.asarray([[0.5, -1.0, 2.0], [0.0, 0.25, -0.5]])
COLUMN = OUTPUT[:, :1]
VALUE_LOSSES = [name for name in losses.LOSSES if losses.get(name).target_kind == "values"]


@places
@pytest.mark.parametrize("name", VALUE_LOSSES)
def test_a_vector_is_never_broadcast_against_a_column(name, place):
    with pytest.raises(InvalidInputError, match=r"shape \(2,\).*shape \(2, 1\).*targets\[:, None\]"):
        losses.get(name)(place.put(COLUMN), place.put(np.ones(2)))


@places
@pytest.mark.parametrize("name", losses.LOSSES)
def test_other_numbers_of_rows_are_refused(name, place):
    targets = np.zeros(5, dtype=np.int32) if name == "softmax_cross_entropy" else np.zeros((5, 3))
    for call in (losses.get(name), losses.get(name).value):
        with pytest.raises(InvalidInputError, match=r"targets of shape \(5.*output of shape \(2, 3\).*2 rows of output"):
            call(place.put(OUTPUT), place.put(targets))


@pytest.mark.parametrize(
    ("name", "output", "targets", "error", "match"),
    [
        ("mse", OUTPUT, np.ones((2, 1)), InvalidInputError, "give 3 values a row"),
        ("mse", OUTPUT, np.ones(2), InvalidInputError, "give 3 values a row"),
        ("mse", OUTPUT[0], np.ones(3), InvalidInputError, r"batch of rows \(n, k\), got shape \(3,\)"),
        ("mse", OUTPUT, np.asarray(1.0), InvalidInputError, r"targets of shape \(\)"),
        ("mse", OUTPUT, OUTPUT.astype(complex), InvalidTypeError, "complex128; real numbers"),
        ("mse", OUTPUT.astype(int), OUTPUT, InvalidTypeError, "real floating, got int64"),
        ("mse", OUTPUT, OUTPUT.tolist(), InvalidTypeError, "expected an array, got list"),
        ("softmax_cross_entropy", OUTPUT, np.asarray([0.0, 2.0]), InvalidTypeError, "float64; integers or one-hot rows"),
        ("softmax_cross_entropy", OUTPUT, np.asarray([True, False]), InvalidTypeError, r"bool; convert.*astype\(int32\)"),
        ("softmax_cross_entropy", OUTPUT, np.zeros((2, 1), dtype=int), InvalidInputError, r"targets\[:, 0\]"),
        ("softmax_cross_entropy", OUTPUT, np.zeros((2, 4)), InvalidInputError, "rows of 3 probabilities"),
    ],
    ids=str,
)
def test_shapes_and_types_are_looked_at_in_every_call(name, output, targets, error, match):
    with pytest.raises(error, match=match):
        losses.get(name)(output, targets)


@places
def test_arrays_of_two_libraries_are_refused(place):
    other = next(one for one in EAGER if one.namespace is not place.namespace)
    for targets, weights in ((other.put(OUTPUT), place.put(np.ones(2))), (place.put(OUTPUT), other.put(np.ones(2)))):
        with pytest.raises(DeviceMismatchError, match=r"mlpx\.to_device"):
            losses.get("mse")(place.put(OUTPUT), targets, weights)


@pytest.mark.parametrize("weights", [np.ones(3), np.ones((2, 1)), np.asarray(1.0)], ids=str)
def test_weights_are_one_a_row(weights):
    with pytest.raises(InvalidInputError, match=r"weights of shape .*\(2,\), is needed"):
        losses.get("mse")(OUTPUT, OUTPUT, weights)


@places
@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "uint8", "bool", "float32", "float64"])
def test_numbers_of_another_dtype_are_converted_to_the_outputs(place, dtype):
    if not hasattr(place.namespace, dtype) or (dtype == "float64" and "float64" not in place.floating):
        pytest.skip(f"no {dtype} there")
    bits = np.asarray([[1, 0, 1], [0, 0, 1]], dtype=dtype)
    output = place.put(OUTPUT.astype(np.float32))
    value, delta = losses.get("sigmoid_cross_entropy")(output, place.put(bits), place.put(np.asarray([2, 1])))
    assert value.dtype == delta.dtype == output.dtype
    o = OUTPUT.astype(np.float32).astype(np.float64)
    rows = np.mean(np.log1p(np.exp(o)) - o * bits, axis=1)
    assert_values(place.get(value), np.asarray((2 * rows[0] + rows[1]) / 3), dtype="float32", budget=BUDGET, what="value")


@places
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_labels_of_every_integer_dtype_mean_the_same(place, dtype):
    if not hasattr(place.namespace, dtype):
        pytest.skip(f"no {dtype} there")
    output = place.put(np.tile(np.linspace(-1, 1, 300), (2, 1)))
    value = losses.get("softmax_cross_entropy").value(output, place.put(np.asarray([3, 100], dtype=dtype)))
    logits = np.linspace(-1, 1, 300)
    expected = np.log(np.exp(logits).sum()) - (logits[3] + logits[100]) / 2
    assert_values(place.get(value), np.asarray(expected), dtype="float64", budget=BUDGET, what="value")


def test_a_label_outside_reads_nothing_and_matches_no_class():
    inside, outside = (losses.get("softmax_cross_entropy")(OUTPUT, np.asarray([0, label])) for label in (1, 3))
    assert np.array_equal(inside[1][0], outside[1][0])
    assert np.all(outside[1][1] > 0)  # ŷ − 0: no class is the right one


LABELS, RANGE = "softmax_cross_entropy", "sigmoid_cross_entropy"
ONE_HOT = np.eye(3)[[0, 2, 1, 1]]


@places
@pytest.mark.parametrize(
    ("name", "targets", "n_outputs", "error", "match"),
    [
        (LABELS, np.asarray([0, 2, -1, 3, -1]), 3, InvalidInputError, "label -1, allowed 0…2 .*first index 2"),
        (LABELS, np.asarray([0, 2, 3, -1]), 3, InvalidInputError, "label 3, allowed 0…2 .*first index 2"),
        (LABELS, np.asarray([0, 1, 2, 3], dtype=np.int32), 3, InvalidInputError, "label 3, allowed 0…2 .*first index 3"),
        (LABELS, np.asarray([0, 7], dtype=np.uint8), 3, InvalidInputError, "label 7, .*first index 1"),
        (LABELS, np.asarray([0.0, 1.0]), 3, InvalidTypeError, "float64; integers or one-hot rows"),
        (LABELS, np.asarray([True, False]), 3, InvalidTypeError, r"astype\(int32\)"),
        (LABELS, np.asarray([[0], [1]]), 3, InvalidInputError, r"targets\[:, 0\] are labels"),
        (LABELS, np.zeros((2, 2, 2)), 2, InvalidInputError, r"shape \(2, 2, 2\)"),
        (LABELS, ONE_HOT * [[1.0], [1.0], [0.9], [1.0]], 3, InvalidInputError, "row 2 sums to 0.9"),
        (LABELS, (2 * ONE_HOT).astype(np.int32), 3, InvalidInputError, "value 2 at row 0, column 0"),
        (LABELS, np.asarray([[0.5, 0.5, 0.0], [1.5, -0.5, 0.0]]), 3, InvalidInputError, "value 1.5 at row 1, column 0"),
        (LABELS, np.asarray([[0.5, 0.5, 0.0], [0.5, np.nan, 0.5]]), 3, InvalidInputError, "value nan at row 1, column 1"),
        (LABELS, np.ones((2, 3), dtype=bool), 3, InvalidInputError, "row 0 sums to 3"),
        (RANGE, np.asarray([[0.0], [0.5], [1.25]]), 1, InvalidInputError, r"value 1.25 at row 2.*\[0, 1\]"),
        (RANGE, np.asarray([[0, 1], [1, -1]]), 2, InvalidInputError, r"value -1 at row 1, column 1.*\[0, 1\]"),
        (RANGE, np.asarray([0.0, 1.0]), 1, InvalidInputError, r"targets\[:, None\]"),
        ("poisson", np.asarray([[3.0, 0.0], [2.0, -1.0]]), 2, InvalidInputError, "value -1 at row 1, column 1; numbers ≥ 0"),
        ("poisson", np.asarray([[3.0], [np.inf]]), 1, InvalidInputError, "value inf at row 1"),
        ("mse", np.asarray([[1.0, np.nan]]), 2, InvalidInputError, "value nan at row 0, column 1; finite"),
        ("huber", np.asarray([[1.0, 2.0], [-np.inf, np.nan]]), 2, InvalidInputError, "value -inf at row 1, column 0"),
        ("mae", np.zeros((3, 2)), 3, InvalidInputError, r"shape \(3, 2\).*3 values a row"),
    ],
    ids=str,
)
def test_values_are_checked_once_on_the_whole_array(name, targets, n_outputs, error, match, place):
    if targets.dtype == np.float64 and "float64" not in place.floating:
        targets = targets.astype(np.float32)
        match = match.replace("float64", "float32")
    with pytest.raises(error, match=match):
        losses.get(name).check_targets(place.put(targets), n_outputs)


@places
@pytest.mark.parametrize(
    ("name", "targets", "n_outputs"),
    [
        (LABELS, np.asarray([0, 2, 1]), 3),
        (LABELS, np.asarray([0, 2, 1], dtype=np.uint8), 300),
        (LABELS, np.zeros(0, dtype=np.int32), 3),
        (LABELS, ONE_HOT, 3),
        (LABELS, ONE_HOT.astype(bool), 3),
        (LABELS, np.full((5, 7), 1 / 7, dtype=np.float32), 7),
        (RANGE, np.asarray([[True], [False]]), 1),
        (RANGE, np.asarray([[0.0, 0.3], [1.0, 0.9]]), 2),
        ("poisson", np.asarray([[0], [1000000]]), 1),
        ("mse", np.asarray([[-1e300, 1e300]]), 2),
        ("mse", np.zeros((0, 2)), 2),
    ],
    ids=str,
)
def test_good_targets_pass(name, targets, n_outputs, place):
    losses.get(name).check_targets(place.put(targets), n_outputs)


def test_complex_targets_are_refused_before_training():
    with pytest.raises(InvalidTypeError, match="complex128; real numbers"):
        losses.get("mse").check_targets(np.ones((2, 1), dtype=complex), 1)


def test_targets_are_not_changed():
    targets = ONE_HOT.copy()
    targets.flags.writeable = False
    losses.get(LABELS).check_targets(targets, 3)
    losses.get(LABELS)(np.zeros((4, 3), dtype=np.float32), targets)
    assert np.array_equal(targets, ONE_HOT)
