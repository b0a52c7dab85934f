"""From tables to arrays: what the training rows taught, applied to others, kept in JSON."""

from __future__ import annotations

import json
import sys
import warnings
from fractions import Fraction

import numpy as np
import pytest
from tolerances import DATA_MOMENT_ULP, DATA_STANDARDISED_ULP

from mlpx.data import BUILTIN, Encoder, Table, builtin, read
from mlpx.errors import ConfigError, DataFileError, InvalidInputError, InvalidTypeError

EPS = Fraction(sys.float_info.epsilon)
TRAIN = "size,colour,weight,kind\n1,red,10,cat\n2,blue,10,dog\n3,red,10,cat\n4,green,10,eel\n"
SCALED_SIZES = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)  # mean 2.5, population variance 1.25


def table_of(tmp_path, text: str, name: str = "t.csv", **options) -> Table:
    path = tmp_path / name
    path.write_text(text)
    return read(path, **options)


def through_json(encoder: Encoder) -> Encoder:
    return Encoder.from_config(json.loads(json.dumps(encoder.config(), allow_nan=False)))


def test_inputs_worked_by_hand(tmp_path):
    table = table_of(tmp_path, TRAIN, target="kind")
    encoder = Encoder.fit(table)
    x = encoder.transform(table)
    assert encoder.feature_names == ("size", "colour=blue", "colour=green", "colour=red", "weight")
    assert x.dtype == np.float64
    assert x.shape == (4, encoder.n_inputs) == (4, 5)
    np.testing.assert_array_almost_equal_nulp(x[:, 0], SCALED_SIZES, nulp=4)
    assert x[:, 1:4].tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert x[:, 4].tolist() == [0.0] * 4  # a constant has scale 1


def test_classes(tmp_path):
    table = table_of(tmp_path, TRAIN, target="kind")
    encoder = Encoder.fit(table)
    y = encoder.transform_target(table)
    assert (encoder.task, encoder.class_names, encoder.n_outputs) == ("classification", ("cat", "dog", "eel"), 3)
    assert y.dtype == np.int32
    assert y.tolist() == [0, 1, 0, 2]
    labels = encoder.inverse_target(np.array([2, 0]))
    assert labels.dtype == object
    assert labels.tolist() == ["eel", "cat"]


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([3, 1, 1, 2], "classification", ("1", "2", "3")),
        ([-1, 1, 1, -1], "classification", ("-1", "1")),
        (list(range(20)), "classification", tuple(map(str, range(20)))),
        (list(range(21)), "regression", ()),
        ([0.5, 1, 2, 3], "regression", ()),
    ],
)
def test_task_of_a_numeric_target(tmp_path, values, task, classes):
    text = "a,y\n" + "".join(f"{row},{value}\n" for row, value in enumerate(values))
    encoder = Encoder.fit(table_of(tmp_path, text, target="y"))
    assert (encoder.task, encoder.class_names) == (task, classes)


def test_task_can_be_told(tmp_path):
    table = table_of(tmp_path, "a,y\n1,0.5\n2,1\n3,0.5\n", target="y")
    classes = Encoder.fit(table, task="classification")
    assert classes.class_names == ("0.5", "1")
    assert classes.inverse_target(classes.transform_target(table)).tolist() == [0.5, 1.0, 0.5]
    whole = table_of(tmp_path, "a,y\n1,7\n2,3\n", target="y")
    assert Encoder.fit(whole, task="regression").n_outputs == 1
    assert Encoder.fit(whole).inverse_target(np.array([1, 0])).dtype == np.int64
    with pytest.raises(ConfigError, match="task 'regresion'; did you mean 'regression'"):
        Encoder.fit(table, task="regresion")
    with pytest.raises(ConfigError, match="'cat' is text; task='regression'"):
        Encoder.fit(table_of(tmp_path, TRAIN, target="kind"), task="regression")


def test_regression_target_is_scaled_and_returned_to_its_unit(tmp_path):
    table = table_of(tmp_path, "a,y\n1,1.5\n2,2.5\n3,3.5\n4,4.5\n", target="y")
    encoder = Encoder.fit(table)
    y = encoder.transform_target(table)
    assert y.shape == (4, 1)
    assert y.dtype == np.float64
    np.testing.assert_array_almost_equal_nulp(y[:, 0], SCALED_SIZES, nulp=4)
    np.testing.assert_array_almost_equal_nulp(encoder.inverse_target(y), table.columns["y"], nulp=4)
    assert encoder.inverse_target(np.zeros(2, dtype=np.float32)).tolist() == [3.0, 3.0]


def test_scaling_can_be_off(tmp_path):
    table = table_of(tmp_path, "a,y\n1,1.5\n2,2.5\n", target="y")
    encoder = Encoder.fit(table, scale_inputs=False, scale_target=False)
    assert encoder.transform(table).tolist() == [[1.0], [2.0]]
    assert encoder.transform_target(table).tolist() == [[1.5], [2.5]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer", "diabetes"])
def test_mean_and_deviation_agree_with_exact_arithmetic(name):
    table = builtin(name)
    for column in Encoder.fit(table).columns:
        values = [Fraction(value) for value in table.columns[column.name].tolist()]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        size = max(map(abs, values)) or 1
        assert abs(Fraction(column.scaling.mean) - mean) <= DATA_MOMENT_ULP * EPS * size
        if variance:
            assert abs(Fraction(column.scaling.scale) ** 2 / variance - 1) <= DATA_MOMENT_ULP * EPS
        else:
            assert column.scaling.scale == 1.0


@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer", "diabetes"])
def test_scaling_is_scikit_learns(name):
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="pip install 'mlpx[sklearn]'")
    table = builtin(name)
    raw = np.stack([table.columns[feature] for feature in table.features], axis=1)
    expected = preprocessing.StandardScaler().fit_transform(raw)
    difference = np.abs(Encoder.fit(table).transform(table) - expected)
    assert difference.max() <= DATA_STANDARDISED_ULP * float(EPS) * np.abs(expected).max()


def test_only_training_rows_teach(tmp_path):
    table = table_of(tmp_path, "a,y\n1,0.5\n3,1.5\n1000,900\n", target="y")
    encoder = Encoder.fit(table.take(np.array([0, 1])))
    assert encoder.transform(table).tolist() == [[-1.0], [1.0], [998.0]]
    assert encoder.transform_target(table).tolist() == [[-1.0], [1.0], [1798.0]]


@pytest.mark.parametrize("value", [0.1, 1e300, 5e-324, 1e9 + 0.1, -7.0])
def test_constant_columns_keep_scale_one(value):
    values = np.full(999, value)
    table = Table("made", {"a": values, "y": np.arange(999.0)}, np.arange(1, 1000), target="y")
    encoder = Encoder.fit(table)
    assert encoder.columns[0].scaling.scale == 1.0
    assert np.max(np.abs(encoder.transform(table))) <= DATA_MOMENT_ULP * float(EPS) * abs(value)


def test_extreme_values_do_not_overflow_while_learning():
    values = np.array([1e300, -1e300, 3e300, 2e300])
    table = Table("made", {"a": values, "y": np.arange(4.0)}, np.arange(1, 5), target="y")
    x = Encoder.fit(table).transform(table)
    assert abs(x.std() - 1) <= DATA_MOMENT_ULP * float(EPS)


def test_value_too_far_from_training_is_named(tmp_path):
    encoder = Encoder.fit(table_of(tmp_path, "a,y\n1e-9,0\n2e-9,1\n", target="y"))
    with pytest.raises(DataFileError, match=r"line 3, column 'a': 1e\+308 is too far"):
        encoder.transform(table_of(tmp_path, "a,y\n1,0\n1e308,1\n"))


def test_gaps_are_filled_from_training_rows(tmp_path):
    text = "a,b,y\n1,u,0\n2,v,0\n,v,1\n10,,1\n"
    encoder = Encoder.fit(table_of(tmp_path, text, target="y", missing="fill"), scale_inputs=False)
    new = table_of(tmp_path, "a,b,y\n,,0\n7,u,1\n", missing="fill", categorical=["b"])
    assert encoder.transform(new).tolist() == [[2.0, 0.0, 1.0], [7.0, 1.0, 0.0]]  # median 2, most frequent v


def test_most_frequent_of_equals_is_the_first_in_order(tmp_path):
    encoder = Encoder.fit(table_of(tmp_path, "b,y\nw,0\nv,0\n,1\n", target="y", missing="fill"))
    assert encoder.columns[0].fill == "v"


def test_column_without_a_value_cannot_be_learned(tmp_path):
    with pytest.raises(DataFileError, match="column 'a' has no value in any of the 2 training rows"):
        Encoder.fit(table_of(tmp_path, "a,b,y\n,1,0\n,2,1\n", target="y", missing="fill"))


def test_column_that_identifies_rows_is_refused(tmp_path):
    text = "name,y\n" + "".join(f"person {row},{row % 2}\n" for row in range(1200))
    with pytest.raises(DataFileError, match=r"column 'name': 1200 different texts in 1200 rows.*ignore it"):
        Encoder.fit(table_of(tmp_path, text, target="y"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("size,colour,kind\n1,red,cat\n", "missing: weight"),
        ("size,colour,weight,age,kind\n1,red,1,9,cat\n", "not there in training: age"),
        ("size,color,weight,kind\n1,red,1,cat\n", "missing: colour; not there in training: color"),
        ("colour,size,weight,kind\nred,1,1,cat\n", "input 1 is 'colour', was 'size'"),
        ("size,colour,weight\nbig,red,1\n", "'size': 'big' is text"),
        (
            "size,colour,weight\n1,red,1\n2,pink,3\n",
            "line 3, column 'colour': category 'pink' was never seen.*blue, green, red",
        ),
    ],
    ids=["missing", "extra", "renamed", "order", "text for number", "category"],
)
def test_other_columns_than_in_training(tmp_path, text, says):
    encoder = through_json(Encoder.fit(table_of(tmp_path, TRAIN, target="kind")))
    path = tmp_path / "new.csv"
    path.write_text(text)
    with pytest.raises(DataFileError, match=says) as caught:
        encoder.transform(encoder.read(path))
    assert "new.csv" in str(caught.value)


def test_kind_that_changed_is_named(tmp_path):
    encoder = Encoder.fit(table_of(tmp_path, TRAIN, target="kind"))
    with pytest.raises(DataFileError, match=r"line 2, column 'colour': is numeric \('7.0'\), was text in training"):
        encoder.transform(table_of(tmp_path, "size,colour,weight\n1,7,1\n"))
    with pytest.raises(DataFileError, match="column 'kind': is numeric"):
        encoder.transform_target(table_of(tmp_path, TRAIN.replace("cat", "1").replace("dog", "2").replace("eel", "3")))


def test_unseen_category_as_zeros_with_one_warning(tmp_path):
    encoder = through_json(Encoder.fit(table_of(tmp_path, TRAIN, target="kind"), unseen="zero"))
    new = table_of(tmp_path, "size,colour,weight\n1,pink,1\n2,red,1\n3,pink,1\n")
    with pytest.warns(UserWarning, match=r"column 'colour': 'pink' in 2 rows") as caught:
        x = encoder.transform(new)
    assert len(caught) == 1
    assert x[:, 1:4].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.transform(new.take(np.array([1])))


def test_unseen_label_is_named(tmp_path):
    encoder = Encoder.fit(table_of(tmp_path, TRAIN, target="kind"))
    new = table_of(tmp_path, "size,colour,weight,kind\n1,red,1,cat\n2,red,1,cow\n", target="kind")
    with pytest.raises(DataFileError, match=r"line 3, column 'kind': label 'cow' was never seen.*cat, dog, eel"):
        encoder.transform_target(new)
    numbers = Encoder.fit(table_of(tmp_path, "a,y\n1,0\n2,1\n", target="y"))
    with pytest.raises(DataFileError, match=r"line 2, column 'y': label 7 was never seen.*0, 1"):
        numbers.transform_target(table_of(tmp_path, "a,y\n1,7\n"))


def test_prediction_reads_as_training_read(tmp_path):
    train = table_of(
        tmp_path, "id,zip,a,y\nu,01,1,yes\nv,02,2,NA\nw,01,3,yes\n", target="y", categorical=["zip"], ignore=["id"]
    )
    encoder = through_json(Encoder.fit(train))
    path = tmp_path / "new.csv"
    for text in ("id,zip,a\nx,02,2\n", "zip,a\n02,2\n", "id,zip,a,y\nx,02,2,\n"):
        path.write_text(text)
        new = encoder.read(path, with_target=False)
        assert new.names == ("zip", "a")
        np.testing.assert_array_equal(encoder.transform(new), encoder.transform(train)[[1]])
    path.write_text("id,zip,a,y\nx,02,2,NA\n")
    assert encoder.transform_target(encoder.read(path)).tolist() == [0]


def test_target_column_need_not_be_there_to_transform(tmp_path):
    encoder = Encoder.fit(table_of(tmp_path, TRAIN, target="kind"))
    new = table_of(tmp_path, "size,colour,weight\n1,red,10\n")
    assert encoder.transform(new).shape == (1, 5)
    with pytest.raises(DataFileError, match="no target column 'kind'"):
        encoder.transform_target(new)


def test_target_of_choice_and_without_one(tmp_path):
    table = table_of(tmp_path, TRAIN)
    with pytest.raises(ConfigError, match=r"which column is the target\? \(columns: size, colour, weight, kind\)"):
        Encoder.fit(table)
    assert Encoder.fit(table, target="colour").class_names == ("blue", "green", "red")
    with pytest.raises(DataFileError, match="no target column 'kin'; did you mean 'kind'"):
        Encoder.fit(table, target="kin")
    with pytest.raises(DataFileError, match="0 input columns"):
        Encoder.fit(table_of(tmp_path, "y\n1\n2\n", target="y"))


@pytest.mark.parametrize("name", BUILTIN)
def test_config_survives_json_exactly(name):
    table = builtin(name)
    encoder = Encoder.fit(table)
    again = through_json(encoder)
    assert again == encoder
    np.testing.assert_array_equal(again.transform(table), encoder.transform(table))
    np.testing.assert_array_equal(again.transform_target(table), encoder.transform_target(table))


def test_config_survives_with_every_field_set(tmp_path):
    table = table_of(tmp_path, "i," + TRAIN.replace("\n", "\n9,")[:-2], target="kind", ignore=["i"])
    encoder = Encoder.fit(table, unseen="zero")
    assert through_json(encoder) == encoder
    assert encoder.ignored == ("i",)


def edited(config: dict, path: list, value) -> dict:
    """A copy of a configuration with one value replaced."""
    copy = json.loads(json.dumps(config))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["format"], 2, "format 2"),
        (["columns"], [], "columns are missing"),
        (["columns"], {}, "expected a list"),
        (["columns", 0], "size", "a column is str"),
        (["columns", 0, "name"], 7, "expected a text"),
        (["columns", 0, "name"], "weight", "two have one name"),
        (["columns", 0, "name"], "kind", "two have one name"),
        (["columns", 0, "kind"], "datetime", "'datetime'"),
        (["columns", 0, "mean"], "1", "'mean' of 'size'"),
        (["columns", 0, "mean"], True, "'mean' of 'size'"),
        (["columns", 0, "mean"], float("nan"), "'mean' of 'size'"),
        (["columns", 0, "mean"], 10**400, "'mean' of 'size'"),
        (["columns", 0, "scale"], 0.0, "above 0"),
        (["columns", 0, "fill"], None, "'fill' of 'size'"),
        (["columns", 1, "categories"], ["red", "red"], "different texts"),
        (["columns", 1, "categories"], ["red", 3], "different texts"),
        (["columns", 1, "fill"], "pink", "none of its categories"),
        (["target"], None, "the target is NoneType"),
        (["target", "task"], "ranking", "'ranking'"),
        (["target", "classes"], [], "missing or repeated"),
        (["target", "classes"], ["a", "a"], "different texts"),
        (["target", "classes"], [1, 1.0], "missing or repeated"),
        (["target", "classes"], ["a", 1], "a class"),
        (["unseen"], "guess", "'guess'"),
        (["ignored"], [1], "different texts"),
    ],
)
def test_damaged_config_is_named(tmp_path, path, value, says):
    config = Encoder.fit(table_of(tmp_path, TRAIN, target="kind")).config()
    assert Encoder.from_config(config)
    with pytest.raises(ConfigError, match=says):
        Encoder.from_config(edited(config, path, value))


def test_config_that_is_no_mapping():
    with pytest.raises(ConfigError, match="the configuration is list"):
        Encoder.from_config([])


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (np.array([0.0, 1.0]), InvalidTypeError, "argmax"),
        (np.zeros((2, 3)), InvalidTypeError, "argmax"),
        (np.array([0, 3]), InvalidInputError, r"0 … 2, got 0 … 3"),
        (np.array([-1]), InvalidInputError, "got -1"),
    ],
)
def test_codes_that_are_none(tmp_path, given, error, says):
    with pytest.raises(error, match=says):
        Encoder.fit(table_of(tmp_path, TRAIN, target="kind")).inverse_target(given)


def test_regression_outputs_that_are_none(tmp_path):
    encoder = Encoder.fit(table_of(tmp_path, "a,y\n1,1.5\n2,2.5\n", target="y"))
    for given in (np.array([1, 2]), np.zeros((2, 2))):
        with pytest.raises(InvalidTypeError, match=r"expected \(n, 1\) floating outputs"):
            encoder.inverse_target(given)


def test_unknown_policy_for_the_unseen(tmp_path):
    with pytest.raises(ConfigError, match="'zeros'; did you mean 'zero'"):
        Encoder.fit(table_of(tmp_path, TRAIN, target="kind"), unseen="zeros")


def test_tables_are_left_as_they_were(tmp_path):
    table = table_of(tmp_path, "a,b,y\n1,u,0\n,v,1\n4,,1\n", target="y", missing="fill")
    before = table.fingerprint()
    encoder = Encoder.fit(table)
    encoder.transform(table)[:] = 7
    encoder.transform_target(table)[:] = 7
    assert table.fingerprint() == before
