"""Boxes and wires as a picture: Graphviz DOT text, and an SVG of our own layout that needs no Graphviz."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mlpx.explain.layered_layout import arrange

FORWARD, BACKWARD, INK, PAPER, LINE = "#1a7f37", "#c0262d", "#1f2328", "#ffffff", "#8c959f"
FONT = "font-family='Helvetica, Arial, sans-serif'"
HEIGHT, GAP, MARGIN, LETTER, BEND = 40, 76, 24, 8.2, 44  # pixels: a box, row to row, around all, a letter, for wires to bend


@dataclass(frozen=True)
class Box:
    """A node of a picture.

    Attributes
    ----------
    label : str
    forward, backward : str
        What is written on the wire behind it: above its value, below its gradient.
    leaf : bool
        Whether it is given rather than computed.
    note : str
        Shown when the pointer rests on it.
    """

    label: str
    forward: str = ""
    backward: str = ""
    leaf: bool = False
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A directed acyclic graph to draw; boxes in an order in which sources come before targets."""

    boxes: Sequence[Box]
    wires: Sequence[tuple[int, int]]
    title: str = ""

    def to_dot(self) -> str:
        """Text for Graphviz' `dot`."""
        lines = ["digraph {", "  rankdir=LR;", '  node [fontname="Helvetica"]; edge [fontname="Helvetica", fontsize=10];']
        if self.title:
            lines.append(f'  label="{_quoted(self.title)}"; labelloc=t; fontname="Helvetica";')
        for number, box in enumerate(self.boxes):
            shape = "box, style=rounded" if box.leaf else "ellipse"
            parts = [box.label, *([box.forward] if box.forward else []), *([box.backward] if box.backward else [])]
            text = "\\n".join(map(_quoted, parts))
            lines.append(f'  n{number} [shape={shape}, label="{text}"];')
        for source, target in self.wires:
            lines.append(f"  n{source} -> n{target};")
        return "\n".join([*lines, "}"]) + "\n"

    def to_svg(self) -> str:
        """A standalone SVG drawing; every box, wire and number has an id (n3, w3-5, f3, b3), so that a page can light it up."""
        plan = arrange(len(self.boxes), self.wires)
        widths = [max(HEIGHT, LETTER * len(box.label) + 18) for box in self.boxes]
        left = self._column_edges([column for column, _ in plan.places], widths, plan.columns)
        across = [left[column] for column, _ in plan.places]
        down = [MARGIN + HEIGHT + row * GAP for _, row in plan.places]
        width = (
            max((x + w + self._wire_room(i) for i, (x, w) in enumerate(zip(across, widths, strict=True))), default=0) + MARGIN
        )
        height = plan.rows * GAP + 2 * MARGIN
        parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' "
            f"height='{height:.0f}' role='img' {FONT} font-size='14'>",
            f"<title>{escape(self.title)}</title>",
        ]
        for (source, target), joints in zip(self.wires, plan.joints, strict=True):
            start = across[source] + widths[source]
            points = [(start, down[source]), (start + self._wire_room(source), down[source])]
            points += [(left[column], MARGIN + HEIGHT + row * GAP) for column, row in joints]
            points.append((across[target], down[target]))
            parts.append(_wire(f"w{source}-{target}", points))
        parts += [_drawn(number, box, across[number], down[number], widths[number]) for number, box in enumerate(self.boxes)]
        return "\n".join([*parts, "</svg>"])

    def _column_edges(self, columns: list[int], widths: list[float], count: int) -> list[float]:
        """Left edge of every column: wide enough for its boxes and for what is written on the wires behind them."""
        edges = [float(MARGIN)]
        for column in range(count - 1):
            here = [widths[i] + self._wire_room(i) for i, at in enumerate(columns) if at == column]
            edges.append(edges[-1] + max(here, default=0.0) + BEND)
        return edges

    def _wire_room(self, number: int) -> float:
        """Length of the straight wire behind a box, along which its numbers are written."""
        box = self.boxes[number]
        return LETTER * max(len(box.forward), len(box.backward))


def _wire(name: str, points: list[tuple[float, float]]) -> str:
    """A straight piece from the first point to the second, a smooth curve through the others, and an arrow head."""
    start, (x, y), *rest = points
    path = [f"M{start[0]:.1f},{start[1]:.1f}H{x:.1f}"]
    for nx, ny in rest:
        bend = (nx - x) / 2
        path.append(f"C{x + bend:.1f},{y:.1f} {nx - bend:.1f},{ny:.1f} {nx:.1f},{ny:.1f}")
        x, y = nx, ny
    head = f"M{x:.1f},{y:.1f}l-8,-4v8z"
    return (
        f"<g id='{name}' class='wire'><path d='{''.join(path)}' fill='none' stroke='{LINE}' stroke-width='1.5'/>"
        f"<path d='{head}' fill='{LINE}'/></g>"
    )


def _drawn(number: int, box: Box, x: float, y: float, width: float) -> str:
    """A box and what is written behind it."""
    corner = 6 if box.leaf else HEIGHT / 2
    behind = x + width + 6
    note = f"<title>{escape(box.note)}</title>" if box.note else ""
    written = (("f", "forward", y - 7, FORWARD, box.forward), ("b", "backward", y + 18, BACKWARD, box.backward))
    return (
        f"<g id='n{number}' class='box {'leaf' if box.leaf else 'gate'}'>{note}"
        f"<rect x='{x:.1f}' y='{y - HEIGHT / 2:.1f}' width='{width:.1f}' height='{HEIGHT}' rx='{corner}' "
        f"fill='{PAPER}' stroke='{INK}' stroke-width='1.5'/>"
        f"<text x='{x + width / 2:.1f}' y='{y + 5:.1f}' text-anchor='middle' fill='{INK}'>{escape(box.label)}</text></g>"
    ) + "".join(
        f"<text id='{letter}{number}' class='{role}' x='{behind:.1f}' y='{line:.1f}' fill='{colour}'>{escape(text)}</text>"
        for letter, role, line, colour, text in written
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
