"""`mlpx explain`: lessons, a trained run, files, and what it refuses."""

from __future__ import annotations

import json

import pytest

from mlpx.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained") / "run"
    arguments = ["train", "iris", "--out", str(folder), "--hidden", "4", "--epochs", "2", "--device", "numpy", "--json"]
    assert main(arguments) == 0
    return folder


@pytest.mark.parametrize(
    ("subject", "said"), [("sigmoid-graph", "0.73"), ("perceptron-3-3-2", "BP-2"), ("mazur", "0.298371109")]
)
def test_lessons(subject, said, capsys) -> None:
    assert main(["explain", subject]) == 0
    assert said in capsys.readouterr().out


def test_json_is_one_object(capsys) -> None:
    assert main(["explain", "mazur", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["loss"]["name"] == "half_squared_error"
    assert record["check"]["agrees"] is True


@pytest.mark.parametrize("subject", ["sigmoid-graph", "perceptron-3-3-2"])
def test_all_files(subject, tmp_path, capsys) -> None:
    begins = {"markdown": "# ", "html": "<!DOCTYPE html>", "dot": "digraph", "svg": "<svg"}
    files = {form: tmp_path / f"out.{form}" for form in begins}
    options = [word for form, path in files.items() for word in (f"--{form}", str(path))]
    assert main(["explain", subject, *options]) == 0
    for form, path in files.items():
        assert path.read_text(encoding="utf-8").startswith(begins[form])
        assert str(path) in capsys.readouterr().out or form != "markdown"
    assert main(["explain", subject, *options]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["explain", subject, *options, "--force"]) == 0


def test_a_row_of_a_trained_run(run, capsys) -> None:
    assert main(["explain", str(run), "--row", "17", "--device", "numpy", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert "row 17 of iris, class setosa" in record["title"]  # the first fifty rows of iris are setosa
    assert record["rows"] == 1
    assert record["check"]["agrees"] is True
    assert [layer["path"] for layer in record["layers"]] == ["0", "1"]


def test_a_model_file_with_its_data_named(run, capsys) -> None:
    model = str(run / "model.safetensors")
    assert main(["explain", model, "--data", "iris", "--row", "149", "--device", "numpy"]) == 0
    assert "row 149 of iris, class virginica" in " ".join(capsys.readouterr().out.split())


def test_a_regression_is_told_in_the_targets_unit(tmp_path, capsys) -> None:
    folder = tmp_path / "run"
    main(["train", "diabetes", "--out", str(folder), "--hidden", "3", "--epochs", "2", "--device", "numpy", "--json"])
    capsys.readouterr()
    assert main(["explain", str(folder), "--device", "numpy", "--no-check", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert "target 151, predicted" in record["title"]  # the first row of diabetes
    assert record["check"]["worst_error"] is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["{run}", "--row", "150"], "rows 0 to 149"),
        (["{run}", "--row", "-1"], "rows 0 to 149"),
        (["nowhere"], "neither a lesson"),
        (["mazur", "--html", "{run}"], "is a folder"),
        (["mazur", "--svg", "{run}/no/where.svg"], "there is no folder"),
    ],
)
def test_what_is_refused_says_what_to_do(options, said, run, capsys) -> None:
    assert main(["explain", *(one.format(run=run) for one in options)]) == 2
    assert said in capsys.readouterr().err


def test_a_run_that_does_not_say_its_data(run, tmp_path, capsys) -> None:
    alone = tmp_path / "model.safetensors"
    alone.write_bytes((run / "model.safetensors").read_bytes())
    assert main(["explain", str(alone)]) == 2
    assert "--data SOURCE" in capsys.readouterr().err
