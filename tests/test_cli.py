"""The command line as its user meets it: files, numbers, words and exit statuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tolerances import DIABETES_R2, DIGITS_ACCURACY, FLOAT32_TRAINING, STARTUP_SECONDS, TRAINING_SECONDS

import mlpx
from mlpx import errors
from mlpx.cli import main
from mlpx.cli.train_options import TrainOptions

PATIENCE_SECONDS = 60.0
FRUIT = ("apple", "pear", "plum")
COMMAND = (sys.executable, "-m", "mlpx")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def fruit(tmp_path) -> str:
    """A CSV file with numeric and categorical columns and a target of words."""
    write_fruit(tmp_path / "fruit.csv")
    return "fruit.csv"


def write_fruit(path: Path) -> None:
    draw = np.random.default_rng(0)
    lines = ["mass,colour,width,kind"]
    for number in range(90):
        kind = FRUIT[number % 3]
        mass = {"apple": 180, "pear": 120, "plum": 40}[kind] + 8 * draw.standard_normal()
        lines.append(f"{mass:.2f},{'blue' if kind == 'plum' else draw.choice(['red', 'green'])},{mass / 30:.3f},{kind}")
    path.write_text("\n".join(lines) + "\n")


def mlpx_json(capsys, *arguments: str) -> dict:
    """What a command prints with --json."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- train


@pytest.mark.parametrize(
    ("source", "metric", "least"), [("digits", "accuracy", DIGITS_ACCURACY), ("diabetes", "r2", DIABETES_R2)]
)
def test_defaults_reach_what_is_promised(capsys, source, metric, least):
    started = time.perf_counter()
    record = mlpx_json(capsys, "train", source, "--device", "numpy")
    assert record["test"][metric] >= least
    assert time.perf_counter() - started < TRAINING_SECONDS


def test_a_run_folder_holds_model_metrics_history_and_curves(capsys):
    record = mlpx_json(capsys, "train", "iris", "--epochs", "7", "--patience", "0", "--out", "run")
    assert set(files_in(Path("run"))) == {"model.safetensors", "metrics.json", "history.csv", "curves.png"}
    assert json.loads(Path("run/metrics.json").read_text()) == record
    assert {"train", "validation", "test", "device", "precision"} <= set(record)
    assert set(record["test"]) == {"loss", "accuracy"}
    with open("run/history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == record["epochs"] == 7
    assert float(rows[0]["loss"]) > float(rows[-1]["loss"])
    assert Path("run/curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
def test_the_picture_shows_every_epoch_of_losses_and_metrics():
    import matplotlib.image

    assert main(["train", "wine", "--epochs", "3", "--out", "run"]) == 0
    picture = matplotlib.image.imread("run/curves.png")
    assert picture.shape[0] > 300
    assert picture.shape[1] > 2 * picture.shape[0]  # two panels side by side
    colours = {tuple(np.rint(255 * colour).astype(int)) for colour in picture[:, :, :3].reshape(-1, 3)}
    assert {(0, 114, 178), (213, 94, 0)} <= colours


def test_without_matplotlib_everything_but_the_picture_is_written(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    from mlpx.cli.training_run import train

    with pytest.warns(UserWarning, match=r"mlpx\[plot\]"):
        result = train(TrainOptions("iris", epochs=1, out=Path("run")))
    assert set(result.record["files"]) == {"model", "metrics", "history"}
    assert not Path("run/curves.png").exists()


def test_what_people_read_ends_with_result_device_and_places(capsys):
    assert main(["train", "iris", "--epochs", "2"]) == 0
    said = capsys.readouterr()
    lines = said.out.strip().splitlines()
    assert lines[-1].startswith("test accuracy 0.")
    assert lines[-1].endswith(" on numpy")
    places = dict(line.split(maxsplit=1) for line in lines[-5:-1])
    assert set(places) == {"model", "metrics", "history", "curves"}
    assert all(Path(place).is_file() for place in places.values())
    assert said.err == ""


@pytest.mark.slow
def test_every_run_without_out_gets_its_own_folder(capsys):
    for number in (1, 2):
        record = mlpx_json(capsys, "train", "moons", "--epochs", "1")
        assert record["files"]["model"] == str(Path("runs") / f"moons-{number}" / "model.safetensors")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(capsys):
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        mlpx_json(capsys, "train", "moons", "--epochs", "2", "--dropout", "0.2", "--seed", seed, "--out", name)
    first, again, other = (Path(name, "model.safetensors").read_bytes() for name in "abc")
    assert first == again != other


@pytest.mark.parametrize("device", ["torch:cpu", "jax:cpu"])
def test_every_library_trains(capsys, request, device):
    name = device.partition(":")[0]
    there = mlpx.backends()[name]
    if not there.ok:
        required = name in request.config.getoption("--require-backends").split(",")
        (pytest.fail if required else pytest.skip)(f"{name}: {there.reason}; {there.cure}")
    options = ("train", "iris", "--epochs", "5", "--patience", "0")
    here = mlpx_json(capsys, *options, "--device", "numpy")
    found = mlpx_json(capsys, *options, "--device", device)
    assert found["device"] == device
    assert found["test"]["loss"] == pytest.approx(here["test"]["loss"], rel=FLOAT32_TRAINING)


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra",
    [
        ("--hidden", ""),
        ("--optimizer", "lbfgs"),
        ("--batch-size", "0"),
        ("--loss", "poisson"),
        ("--clip-norm", "1"),
        ("--no-scale",),
        ("--dtype", "float64"),
        ("--dropout", "0.3"),
    ],
    ids=lambda extra: "".join(extra),
)
def test_options_do_something(capsys, extra):
    plain = mlpx_json(capsys, "train", "friedman1", "--epochs", "2")
    changed = mlpx_json(capsys, "train", "friedman1", "--epochs", "2", *extra)
    assert changed["train"]["loss"] != plain["train"]["loss"]


# ---- predict


def test_a_csv_file_is_learned_and_predicted(capsys, fruit):
    trained = mlpx_json(capsys, "train", fruit, "--target", "kind", "--out", "run", "--epochs", "60")
    assert trained["network"].split("-")[0] == "5"  # two numbers, three colours
    assert main(["predict", "run", fruit, "--out", "found.csv"]) == 0
    assert "90 predictions in found.csv, loss 0." in capsys.readouterr().out
    with open("found.csv", newline="") as found, open(fruit, newline="") as given:
        predicted, true = list(csv.DictReader(found)), list(csv.DictReader(given))
    right = np.mean([row["kind"] == told["kind"] for row, told in zip(predicted, true, strict=True)])
    assert right >= DIGITS_ACCURACY
    for row in predicted:
        chances = {name: float(row[f"p({name})"]) for name in FRUIT}
        assert row["kind"] == max(chances, key=chances.get)


def test_the_columns_are_enough_to_predict_and_json_is_the_same(capsys, fruit):
    assert main(["train", fruit, "--target", "kind", "--out", "run", "--epochs", "3"]) == 0
    Path("blank.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in Path(fruit).read_text().splitlines()))
    capsys.readouterr()
    assert main(["predict", "run", "blank.csv"]) == 0
    printed = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    record = mlpx_json(capsys, "predict", "run", "blank.csv")
    assert record["n"] == len(printed) == 90
    assert record["results"] == {}
    assert [{name: str(value) for name, value in row.items()} for row in record["predictions"]] == printed


def test_a_regression_is_predicted_in_the_unit_of_the_target(capsys):
    trained = mlpx_json(capsys, "train", "diabetes", "--out", "run")
    record = mlpx_json(capsys, "predict", "run", "diabetes")
    values = [row["target"] for row in record["predictions"]]
    true = mlpx.data.builtin("diabetes").columns["target"]
    assert np.mean(np.abs(values - true)) == pytest.approx(record["results"]["mae"], rel=FLOAT32_TRAINING)
    assert trained["test"]["mae"] > 10  # of targets from 25 to 346
    with open("run/history.csv", newline="") as file:
        assert float(list(csv.DictReader(file))[-1]["validation_mae"]) > 10


def test_dropped_rows_are_told_by_the_lines_of_the_others(capsys, fruit):
    assert main(["train", fruit, "--target", "kind", "--out", "run", "--epochs", "1"]) == 0
    capsys.readouterr()
    Path("gap.csv").write_text("mass,colour,width\n180,red,6\n,red,6\n40,blue,1.3\n")
    record = mlpx_json(capsys, "predict", "run", "gap.csv", "--missing", "drop")
    assert [row["line"] for row in record["predictions"]] == [2, 4]


@pytest.mark.filterwarnings("default")
def test_a_category_never_seen_is_a_note_not_an_end(capsys, fruit):
    assert main(["train", fruit, "--target", "kind", "--out", "run", "--epochs", "1"]) == 0
    capsys.readouterr()
    Path("pink.csv").write_text("mass,colour,width\n180,pink,6\n")
    assert main(["predict", "run", "pink.csv"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("note: ")
    assert "'pink'" in said.err
    assert len(said.out.splitlines()) == 2


# ---- refusals


TRAIN_FRUIT = "train fruit.csv --target kind --epochs 1"
REFUSALS = [
    ("trian", 2, "'trian'", "'train'"),
    ("", 2),
    ("train", 2, "source"),
    ("train digits --epohcs 3", 2, "--epohcs", "--epochs"),
    ("train digits --epochs three", 2, "--epochs"),
    ("train digits --epochs 0", 2, "--epochs", "≥ 1"),
    ("train digits --batch-size -1", 2, "--batch-size"),
    ("train digits --checkpoint-every 0", 2, "--checkpoint-every"),
    ("train digits --dropout 1", 2, "--dropout", "[0, 1)"),
    ("train digits --learning-rate -1", 2, "learning_rate"),
    ("train digits --l2 nan", 2, "--l2"),
    ("train digits --hidden 3,a", 2, "number 2", "'a'"),
    ("train digits --activation rel", 2, "'rel'", "'relu'"),
    ("train digits --optimizer adm", 2, "'adm'", "'adam'"),
    ("train digits --loss mse", 2, "mse", "classification"),
    ("train digits --loss softmax_crossentropy", 2, "'softmax_cross_entropy'"),
    ("train digits --task clasification", 2, "'classification'"),
    ("train digits --dtype float16", 2, "float16", "float32"),
    ("train digits --precision fp8", 2, "fp8", "ieee"),
    ("train digits --device nmpy", 2, "nmpy", "numpy"),
    ("train digits --seed -1", 2, "--seed"),
    ("train digits --missing no", 2, "'no'", "drop"),
    ("train digit", 2, "'digit'", "'digits'"),
    ("train digits --resume", 2, "--out"),
    ("train digits --resume --out nothing", 4, "nothing", "no checkpoints"),
    ("train digits --resume --out full", 4, "full", "no checkpoints"),
    ("train digits --out full", 2, "full", "not empty", "--force"),
    ("train digits --out fruit.csv", 2, "fruit.csv", "is a file"),
    ("train digits --out fruit.csv/x --epochs 1", 2, "fruit.csv/x", "cannot be written"),
    ("train nowhere.csv", 3, "nowhere.csv", "No such file"),
    ("train fruit.csv", 2, "fruit.csv", "target", "mass, colour, width, kind"),
    ("train fruit.csv --target knd", 3, "'knd'", "'kind'"),
    ("train gap.csv --target kind", 3, "line 3", "'width'", "missing value"),
    ("train moons --optimizer sgd --learning-rate 1e30", 1, "not finite", "learning rate"),
    ("predict nothing fruit.csv", 4, "nothing"),
    ("predict full fruit.csv", 4, "full"),
    ("predict fruit.csv fruit.csv", 4, "fruit.csv"),
    ("predict run iris", 3, "iris", "5 input columns", "3 in training"),
    ("predict run gap.csv", 3, "line 3", "'width'", "missing value"),
    ("predict run fruit.csv --out full/precious.txt", 2, "precious.txt", "--force"),
    ("predict run fruit.csv --out full", 2, "is a folder"),
    ("predict run fruit.csv --out nowhere/x.csv", 2, "no folder nowhere"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run on the fruit, trained once."""
    folder = tmp_path_factory.mktemp("trained")
    write_fruit(folder / "fruit.csv")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main([*TRAIN_FRUIT.split(), "--out", "run"]) == 0
    finally:
        os.chdir(before)
    return folder / "run"


@pytest.fixture
def furnished(tmp_path, fruit, trained, capsys) -> Path:
    """A folder with a run, a folder that is not empty, and a file with a gap."""
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious.txt").write_text("do not touch")
    (tmp_path / "gap.csv").write_text("mass,colour,width,kind\n180,red,6,apple\n120,green,,pear\n40,blue,1.3,plum\n")
    capsys.readouterr()
    return tmp_path


@pytest.mark.parametrize(("line", "status", "words"), [(line, status, words) for line, status, *words in REFUSALS])
def test_refusals_name_the_cause_in_three_lines_and_touch_nothing(furnished, capsys, line, status, words):
    before = files_in(furnished), sorted(furnished.rglob("*"))
    assert main(line.split(" ") if line else []) == status
    said = capsys.readouterr()
    assert len(said.err.splitlines()) <= 3
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err
    assert (files_in(furnished), sorted(furnished.rglob("*"))) == before


def test_force_replaces_results_and_the_checkpoints_that_went_with_them(furnished, capsys):
    mlpx_json(capsys, *TRAIN_FRUIT.split(), "--out", "run", "--force", "--checkpoint-every", "1")
    assert any(Path("run/checkpoints").iterdir())
    record = mlpx_json(capsys, "train", "moons", "--epochs", "1", "--out", "run", "--force")
    assert json.loads(Path("run/metrics.json").read_text())["source"] == record["source"] == "moons"
    assert not Path("run/checkpoints").exists()


def test_debug_shows_where_an_error_comes_from():
    with pytest.raises(errors.ConfigError, match="did you mean 'digits'"):
        main(["train", "digit", "--debug"])


def test_an_error_nobody_foresaw_is_one_line_as_well(monkeypatch, capsys):
    monkeypatch.setattr("mlpx.data.read", lambda *_, **__: 1 / 0)
    assert main(["train", "digits"]) == 1
    assert capsys.readouterr().err.strip() == "error: ZeroDivisionError: division by zero (--debug shows where)"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ResourceLimitError("too large"), 5),
        (MemoryError(), 5),
        (errors.CheckpointCorruptError("damaged"), 4),
        (errors.InvalidInputError("NaN"), 3),
        (errors.DivergenceError("no"), 1),
        (errors.BackendMissingError("no"), 2),
        (PermissionError(13, "Permission denied", "secret.csv"), 3),
    ],
)
def test_each_kind_of_error_has_its_status(monkeypatch, capsys, error, status):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("mlpx.data.read", fails)
    assert main(["train", "digits"]) == status
    if isinstance(error, PermissionError):
        assert "secret.csv: Permission denied" in capsys.readouterr().err


# ---- signals, pipes, terminals


def started(*arguments: str, **settings) -> subprocess.Popen:
    return subprocess.Popen([*COMMAND, *arguments], text=True, **settings)


def wait_for(condition) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


LONG = ("train", "digits", "--patience", "0", "--checkpoint-every", "20", "--dropout", "0.1")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_interrupted_and_resumed_is_the_same_run(capsys):
    whole = mlpx_json(capsys, *LONG, "--epochs", "30", "--out", "whole")
    process = started(*LONG, "--epochs", "30", "--out", "part", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: any(Path("part/checkpoints").glob("step-*")))
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, said
    assert out == ""
    assert said.splitlines()[0] == "interrupted"
    assert "--resume" in said
    assert set(files_in(Path("part"))).isdisjoint({"model.safetensors", "metrics.json"})
    resumed = mlpx_json(capsys, *LONG, "--epochs", "30", "--out", "part", "--resume")
    assert [resumed[part] for part in ("train", "validation", "test")] == [
        whole[part] for part in ("train", "validation", "test")
    ]
    assert Path("part/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_terminated_without_checkpoints_leaves_nothing():
    process = started(
        *("train", "digits", "--patience", "0", "--epochs", "100000", "--out", "gone"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(Path("gone").is_dir)
    time.sleep(0.5)  # the folder is made just before training begins
    process.terminate()
    out, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, said) == (143, "", "terminated\n")
    assert not Path("gone").exists()


def test_resuming_another_run_is_refused(capsys):
    assert main(["train", "iris", "--epochs", "2", "--checkpoint-every", "2", "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["train", "iris", "--epochs", "4", "--hidden", "7", "--out", "run", "--resume"]) == 4
    assert "network" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("arguments", [("train", "iris", "--epochs", "1"), ("doctor", "--quick"), ("--help",)])
def test_a_closed_pipe_is_no_error_worth_a_word(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    process = started(*arguments, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, said) == (141, "")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_the_bar_is_live_on_a_terminal_and_absent_in_a_pipe():
    import pty

    master, terminal = pty.openpty()
    process = started(
        "train", "iris", "--epochs", "12", stdout=subprocess.PIPE, stderr=terminal, env={**os.environ, "COLUMNS": "80"}
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    text = shown.decode()
    assert "━" in text
    assert "12/12" in text
    assert "val loss 0." in text
    assert "12/12" not in out
    piped = subprocess.run([*COMMAND, "train", "iris", "--epochs", "2"], capture_output=True, text=True, check=True)
    assert piped.stderr == ""


# ---- help, version, startup


def test_help_says_everything_without_loading_a_numeric_library():
    code = (
        "import sys; from mlpx.cli import main; status = main(['--help']); "
        "heavy = {'torch', 'jax', 'cupy', 'matplotlib', 'sklearn', 'rich', 'pandas'}; "
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr); "
        "sys.exit(status)"
    )
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    for word in ("train", "predict", "doctor", "--version", "Exit status", "130"):
        assert word in told.stdout
    assert told.stderr.strip() in ("", "rich")  # rich: `Network.summary`'s, if it is loaded early
    assert min(seconds) < STARTUP_SECONDS


def test_every_option_has_a_help_text(capsys):
    assert main(["train", "--help"]) == 0
    told = capsys.readouterr().out
    for name in TrainOptions.__dataclass_fields__:
        assert name == "source" or f"--{'json' if name == 'as_json' else name.replace('_', '-')}" in told


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mlpx {mlpx.__version__}\n"


def test_doctor_prints_json(capsys):
    assert mlpx_json(capsys, "doctor", "--quick")["auto"]
