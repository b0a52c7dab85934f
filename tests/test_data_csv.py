"""CSV files that are tables: every value, kind, line and gap as the text says."""

from __future__ import annotations

import csv
import gzip
import io
import math
import random

import numpy as np
import pytest

from mlpx.data import Table, read
from mlpx.errors import DataFileError


def table_of(tmp_path, text: str | bytes, name: str = "t.csv", **options) -> Table:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, **options)


def test_numbers_of_every_plain_form_are_exact(tmp_path):
    written = ["1", "-2", "+3", "0.1", ".5", "5.", "1e3", "-1.5E-3", "007", "1e-400", "9007199254740993", "-0"]
    expected = [1.0, -2.0, 3.0, 0.1, 0.5, 5.0, 1000.0, -0.0015, 7.0, 0.0, 9007199254740992.0, -0.0]
    table = table_of(tmp_path, "a,y\n" + "".join(f"{number},0\n" for number in written))
    assert table.columns["a"].dtype == np.float64
    assert table.columns["a"].tolist() == expected
    assert math.copysign(1, table.columns["a"][-1]) == -1


def test_columns_lines_and_source(tmp_path):
    table = table_of(tmp_path, "a,b,y\n1,u,0\n2,v,1\n", target="y")
    assert table.names == ("a", "b", "y")
    assert table.features == ("a", "b")
    assert table.target == "y"
    assert len(table) == 2
    assert table.columns["b"].dtype == object
    assert table.columns["b"].tolist() == ["u", "v"]
    assert (table.is_text("a"), table.is_text("b")) == (False, True)
    assert table.unit == "line"
    assert table.places.tolist() == [2, 3]
    assert table.place(1) == f"{tmp_path}/t.csv, line 3"
    assert table.take(np.array([1])).columns["b"].tolist() == ["v"]
    assert table.take(np.array([False, True])).places.tolist() == [3]


@pytest.mark.parametrize(
    "text",
    [
        "a,b,y\r\n1,u,0\r\n2,v,1\r\n",
        "\ufeffa,b,y\n1,u,0\n2,v,1\n",
        "a,b,y\n1,u,0\n2,v,1",
        "a,b,y\n\n1,u,0\n\n2,v,1\n\n\n",
        "a, b, y\n1 ,\tu,0\n 2, v ,1\n",
        '"a","b","y"\n"1","u","0"\n"2","v","1"\n',
        'a,b,y\n1, "u",0\n2,"v",1\n',
    ],
    ids=["CRLF", "BOM", "no last line end", "blank lines", "spaces", "quotes", "space before quote"],
)
def test_one_table_in_seven_dresses(tmp_path, text):
    plain = table_of(tmp_path, "a,b,y\n1,u,0\n2,v,1\n", name="plain.csv")
    assert table_of(tmp_path, text).fingerprint() == plain.fingerprint()


@pytest.mark.parametrize(
    ("name", "separator", "given"), [("t.csv", ";", ";"), ("t.tsv", "\t", None), ("t.txt", " ", " "), ("t.csv", "|", "|")]
)
def test_delimiters(tmp_path, name, separator, given):
    text = "a,b,y\n1,u,0\n2,v,1\n".replace(",", separator)
    assert table_of(tmp_path, text, name=name, delimiter=given).columns["b"].tolist() == ["u", "v"]


def test_quoted_delimiters_quotes_and_line_breaks_and_their_lines(tmp_path):
    table = table_of(tmp_path, 'text,y\n"u, v",1\n"say ""w""",2\n"two\nlines",3\nlast,4\n')
    assert table.columns["text"].tolist() == ["u, v", 'say "w"', "two\nlines", "last"]
    assert table.places.tolist() == [2, 3, 4, 6]


def test_unicode_headers_and_labels(tmp_path):
    table = table_of(tmp_path, "längd,färg 色,y\n1,röd,蓝\n2,grön,红\n", target="y")
    assert table.names == ("längd", "färg 色", "y")
    assert table.columns["y"].tolist() == ["蓝", "红"]


@pytest.mark.parametrize("header", ["0,1,2", "1,2,3", "2019,2020,2021"])
def test_headers_that_count_are_names(tmp_path, header):
    assert table_of(tmp_path, f"{header}\n5,6,7\n").names == tuple(header.split(","))


def test_column_of_mostly_words_is_text_also_where_some_cells_are_numbers(tmp_path):
    table = table_of(tmp_path, "ticket,y\nA1,0\n12,1\nB3,0\n1_000,0\nC,1\nD,1\n")
    assert table.columns["ticket"].tolist() == ["A1", "12", "B3", "1_000", "C", "D"]


def test_versions_and_addresses_are_words(tmp_path):
    table = table_of(tmp_path, "version,day,y\n1.2.3,2020-01-02,0\n4.5.6,2021-01-02,0\n")
    assert table.is_text("version")
    assert table.is_text("day")


def test_first_thousand_cells_decide(tmp_path):
    words = "a,y\n" + "w,1\n" * 501 + "7,1\n" * 3000
    assert table_of(tmp_path, words).is_text("a")
    with pytest.raises(DataFileError, match="line 502, column 'a': 'w' is text"):
        table_of(tmp_path, "a,y\n" + "7,1\n" * 500 + "w,1\n" * 3000)
    late = "a,y\n" + ",1\n" * 1000 + "w,1\n" * 501 + "7,1\n" * 3000
    assert table_of(tmp_path, late, missing="fill").is_text("a")


def test_kinds_can_be_told(tmp_path):
    text = "zip,n,y\n01234,,0\n99999,,1\n"
    table = table_of(tmp_path, text, categorical=["zip"], numeric="n", missing="fill")
    assert table.columns["zip"].tolist() == ["01234", "99999"]
    assert table.columns["n"].dtype == np.float64
    assert np.isnan(table.columns["n"]).all()


def test_ignored_column_is_not_looked_at(tmp_path):
    table = table_of(tmp_path, "id,a,y\n1_0,1,0\n,2,1\n", ignore=["id"])
    assert table.names == ("a", "y")
    assert table.ignored == ("id",)


MISSING = "a,b,y\n1,u,0\n?,v,1\n3,NA,0\n4,,1\n5,w,0\n"


def test_missing_rows_dropped(tmp_path):
    table = table_of(tmp_path, MISSING, missing="drop")
    assert table.columns["a"].tolist() == [1.0, 5.0]
    assert table.columns["b"].tolist() == ["u", "w"]
    assert table.places.tolist() == [2, 6]


def test_missing_cells_left_to_fill(tmp_path):
    table = table_of(tmp_path, MISSING, missing="fill")
    np.testing.assert_array_equal(table.columns["a"], [1.0, np.nan, 3.0, 4.0, 5.0])
    assert table.columns["b"].tolist() == ["u", "v", None, None, "w"]
    assert len(table) == 5


def test_class_named_na_survives_in_a_text_target(tmp_path):
    table = table_of(tmp_path, "a,y\n1,NA\n2,EU\n3,NA\n4,null\n5,EU\n", target="y")
    assert table.columns["y"].tolist() == ["NA", "EU", "NA", "null", "EU"]
    numbers = table_of(tmp_path, "a,y\n1,0\n2,NA\n3,1\n", target="y", missing="drop")
    assert numbers.columns["y"].tolist() == [0.0, 1.0]


def test_single_column(tmp_path):
    table = table_of(tmp_path, "a\n1\n\n2\n\n", missing="drop")
    assert table.columns["a"].tolist() == [1.0, 2.0]
    assert table.places.tolist() == [2, 4]


def test_compressed_file_of_two_members(tmp_path):
    content = gzip.compress(b"a,y\n1,2\n") + gzip.compress(b"3,4\n")
    assert table_of(tmp_path, content, name="t.csv.gz").columns["a"].tolist() == [1.0, 3.0]


def test_many_chunks_give_what_the_writer_wrote(tmp_path, monkeypatch):
    draw = random.Random(7)
    monkeypatch.setattr("mlpx.data.csv_file.CELLS_AT_ONCE", 4000)
    rows = 7500  # seven chunks and a half
    numbers = [draw.gauss(0, 1) * 10 ** draw.randint(-30, 30) for _ in range(rows)]
    words = [draw.choice(["red", "green", 'b"lue', "a,b"]) for _ in range(rows)]
    gaps = ["" if draw.random() < 0.1 else draw.randint(0, 9) for _ in range(rows)]
    stream = io.StringIO()
    csv.writer(stream).writerows([["n", "w", "g", "y"], *zip(numbers, words, gaps, range(rows), strict=True)])
    table = table_of(tmp_path, stream.getvalue(), missing="fill")
    assert table.columns["n"].tolist() == numbers
    assert table.columns["w"].tolist() == words
    assert ["" if math.isnan(gap) else int(gap) for gap in table.columns["g"].tolist()] == gaps
    assert table.columns["y"].tolist() == list(range(rows))
    assert table.places.tolist() == list(range(2, rows + 2))


def test_fingerprint_follows_values_names_and_kinds(tmp_path):
    prints = {
        table_of(tmp_path, text, **options).fingerprint()
        for text, options in [
            ("a,y\n1,2\n", {}),
            ("a,y\n1,3\n", {}),
            ("b,y\n1,2\n", {}),
            ("y,a\n1,2\n", {}),
            ("a,y\n1,2\n", {"categorical": ["a"]}),
        ]
    }
    assert len(prints) == 5
    assert table_of(tmp_path, "a,y\n1,2\n").fingerprint() == table_of(tmp_path, "a,y\r\n1.0,2e0\r\n").fingerprint()


def test_text_for_a_list_of_one_name(tmp_path):
    assert table_of(tmp_path, "ab,y\n1,2\n", categorical="ab").is_text("ab")
