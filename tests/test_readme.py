"""README's example runs as it stands and learns digits; its commands are where `.ci/run` looks for them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from tolerances import README_ACCURACY

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ORDER = ("Multilayer perceptrons", "## Install", "## Ten lines", "## What it gives", "## What it is not for", "## More")


def test_the_example_is_ten_lines_and_learns(tmp_path, monkeypatch):
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(example.replace("\n\n", "\n").splitlines()) == 10
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["results"]["accuracy"] >= README_ACCURACY
    assert names["model"].evaluate(names["x"][1500:] / 16, names["y"][1500:]) == names["results"]


def test_the_order_is_claim_install_example_what_for_what_not_for():
    places = [README.index(heading) for heading in ORDER]
    assert places == sorted(places)


@pytest.mark.parametrize(("marker", "needed"), [("train", "mlpx train digits"), ("tests", "-m pytest")])
def test_a_marked_command_is_one_line_that_makes_its_own_environment(marker, needed):
    (command,) = re.findall(rf"^<!-- ci: {marker} -->\n```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert command.count("\n") == 1
    assert command.startswith("python3 -m venv .venv && ")
    assert needed in command
    extras = set(re.findall(r"\[([\w,]+)\]", command)[0].split(","))
    assert extras <= set(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    )
