"""The Python on the pages of the documentation runs as it stands, page by page, from the first block to the last."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from mlpx.ops.definition import OPS
from mlpx.testing import check_op

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
ELSEWHERE = {"write-a-backend.md": "its package is installed and used by test_registry"}
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
WITH_CODE = [
    page for page in PAGES if page.parent != ROOT and page.name not in ELSEWHERE and BLOCK.search(page.read_text("utf-8"))
]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_CODE, ids=named)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "page"}
    for block in BLOCK.finditer(text):
        first_line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * first_line + block[1], str(page), "exec"), names)


@pytest.mark.filterwarnings("ignore")  # a reader of the page would see a warning and go on
@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in page.read_text("utf-8")], ids=named)
def test_the_dialogue_of_a_page_is_what_python_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(str(page), module_relative=False, optionflags=flags, encoding="utf-8")
    assert tried
    assert not failed


def test_the_op_that_contributing_adds_passes_every_check():
    """Its two blocks are what would be appended to a file of ops, which has these imports."""
    names: dict = {}
    exec("from typing import NamedTuple\nfrom mlpx.namespace import namespace_of", names)
    exec("from mlpx.ops.definition import Example, op\nfrom mlpx.typing import Array", names)
    try:
        for block in BLOCK.finditer((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
            exec(block[1], names)
        check_op(names["softsign"])
    finally:
        OPS.pop("softsign", None)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    lost = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not lost


def test_the_pages_with_code_are_found():
    assert {"docs/tutorial.md", "docs/how-to/checkpoints.md", "docs/how-to/own-layer.md"} <= set(map(named, WITH_CODE))
