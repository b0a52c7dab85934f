"""A drawing and the steps through it, and the self-contained page that shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from string import Template
from typing import NamedTuple


class Image(NamedTuple):
    """A heat map in a step: what it shows, its data URI, rows and columns."""

    caption: str
    uri: str
    rows: int
    columns: int


@dataclass(frozen=True)
class Step:
    """One step of a walk through a drawing.

    Attributes
    ----------
    phase : str
        "forward" or "backward".
    title, equation : str
    lines : sequence of str
        The equation with numbers in it.
    show : dict of str to str
        Texts of the drawing that appear with this step, by id.
    light : sequence of str
        Ids that it lights up.
    images : sequence of Image
    """

    phase: str
    title: str
    equation: str = ""
    lines: Sequence[str] = ()
    show: dict[str, str] = field(default_factory=dict)
    light: Sequence[str] = ()
    images: Sequence[Image] = ()


@dataclass(frozen=True)
class Scene:
    """Everything a page shows.

    Attributes
    ----------
    title : str
    facts : sequence of str
        Said under the title.
    svg : str
        The drawing with all its numbers.
    steps : sequence of Step
    header : sequence of str
    rows : sequence of sequence of str
        The table of all values.
    """

    title: str
    facts: Sequence[str]
    svg: str
    steps: Sequence[Step]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_html(self) -> str:
        """One file that needs nothing else: style, script, drawing and pictures are inside, and the network is forbidden."""
        parts = {name: _asset(f"page.{name}") for name in ("css", "js")}
        data = [
            {
                "phase": step.phase,
                "title": step.title,
                "equation": step.equation,
                "lines": list(step.lines),
                "show": step.show,
                "light": list(step.light),
                "images": [image._asdict() for image in step.images],
            }
            for step in self.steps
        ]
        return Template(_asset("page.html")).substitute(
            parts,
            title=escape(self.title),
            facts="".join(f"<li>{escape(fact)}</li>" for fact in self.facts),
            svg=self.svg,
            table=self._table(),
            steps=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
        )

    def _table(self) -> str:
        head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in self.header)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _asset(name: str) -> str:
    return resources.files("mlpx.explain").joinpath("page", name).read_text(encoding="utf-8")
