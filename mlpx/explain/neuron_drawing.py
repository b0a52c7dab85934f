"""A small network drawn neuron by neuron: what it computes in and beside the circles, weights and their gradients on the edges.

Ids for a page to light up and fill in: unit n2-0, its numbers z2-0, a2-0, d2-0 (δ), g2-0 (∂E/∂b); edge e2-0-1 from unit 1 of
the layer before, w2-0-1 its weight and v2-0-1 its gradient.
"""

from __future__ import annotations

from html import escape

from mlpx.explain.equations import lower
from mlpx.explain.number_text import number_text
from mlpx.explain.picture import BACKWARD, FONT, FORWARD, INK, LINE, PAPER
from mlpx.explain.quantities import LayerTrace, Trace

RADIUS, ROW, MARGIN, LABEL = 31, 138, 56, 62  # pixels: of a unit, from unit to unit, around all, of a number on an edge
MUTED = "#57606a"


def neuron_svg(trace: Trace) -> str:
    """The drawing, with all numbers."""
    widths = [trace.x.shape[1], *(layer["a"].shape[1] for layer in trace.layers)]
    columns = [float(MARGIN + RADIUS)]
    for width in widths[:-1]:
        columns.append(columns[-1] + LABEL * width + 160)
    tallest = max(widths)
    height = tallest * ROW + 2 * 12
    across = columns[-1] + 300
    places = [
        [(columns[k], 12 + ROW * (tallest - width) / 2 + ROW * (i + 0.5)) for i in range(width)]
        for k, width in enumerate(widths)
    ]
    edges, units = [], []
    for k, layer in enumerate(trace.layers, 1):
        edges += _edges(layer, places[k - 1], places[k])
        units += _units(layer, places[k])
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {across:.0f} {height:.0f}' width='{across:.0f}' "
            f"height='{height:.0f}' role='img' {FONT} font-size='13'>",
            f"<title>{escape(trace.title)}</title>",
            *_loss(trace, places[-1], across, height),
            *edges,
            *_inputs(trace, places[0]),
            *units,
            "</svg>",
        ]
    )


def _inputs(trace: Trace, places: list[tuple[float, float]]) -> list[str]:
    parts = []
    gradient = trace.input_gradient
    for i, (x, y) in enumerate(places):
        back = "" if gradient is None else number_text(gradient.values[0, i])
        parts.append(
            f"<g id='n1-{i}' class='box leaf'>{_circle(x, y)}{_text('', x, y - 8, f'x{lower(i)}', MUTED, 11)}</g>"
            + _text(f"a1-{i}", x, y + 10, number_text(trace.x[0, i]), FORWARD)
            + _text(f"d1-{i}", x, y + RADIUS + 16, f"∂E/∂x {back}" if back else "", BACKWARD, 11.5)
        )
    return parts


def _units(layer: LayerTrace, places: list[tuple[float, float]]) -> list[str]:
    parts = []
    n = layer.number
    bias, z, a, delta, back = (
        layer.parameters["bias"],
        layer["z"].values[0],
        layer["a"].values[0],
        layer["delta"].values[0],
        layer["dbias"].values,
    )
    for i, (x, y) in enumerate(places):
        parts.append(
            f"<g id='n{n}-{i}' class='box gate'>{_circle(x, y)}{_text('', x, y - 8, f'a{lower(i)}', MUTED, 11)}</g>"
            + _text("", x, y - RADIUS - 22, f"b {number_text(bias[i])}", MUTED, 11.5)
            + _text(f"z{n}-{i}", x, y - RADIUS - 7, f"z {number_text(z[i])}", FORWARD, 12)
            + _text(f"a{n}-{i}", x, y + 10, number_text(a[i]), FORWARD)
            + _text(f"d{n}-{i}", x, y + RADIUS + 16, f"δ {number_text(delta[i])}", BACKWARD, 12)
            + _text(f"g{n}-{i}", x, y + RADIUS + 31, f"∂E/∂b {number_text(back[i])}", BACKWARD, 11.5)
        )
    return parts


def _edges(layer: LayerTrace, before: list[tuple[float, float]], here: list[tuple[float, float]]) -> list[str]:
    """All edges into a layer; the numbers of one source stand in one column, so that those of different sources never meet."""
    weight, gradient, n = layer.parameters["weight"], layer["dweight"].values, layer.number
    lines, texts = [], []
    for i, (x2, y2) in enumerate(here):
        for j, (x1, y1) in enumerate(before):
            length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
            dx, dy = (x2 - x1) * RADIUS / length, (y2 - y1) * RADIUS / length
            lines.append(_line(f"e{n}-{i}-{j}", x1 + dx, y1 + dy, x2 - dx, y2 - dy))
            at = x1 + RADIUS + 64 + LABEL * j
            height = y1 + (y2 - y1) * (at - x1) / (x2 - x1)
            texts.append(_text(f"w{n}-{i}-{j}", at, height - 4, number_text(weight[i, j], 3), INK, 12, halo=True))
            texts.append(_text(f"v{n}-{i}-{j}", at, height + 13, number_text(gradient[i, j], 3), BACKWARD, 12, halo=True))
    return lines + texts


def _loss(trace: Trace, outputs: list[tuple[float, float]], across: float, height: float) -> list[str]:
    """The loss to the right, with the targets beside the outputs."""
    x, y = across - 78, height / 2
    targets = trace.targets[0] if trace.targets.ndim == 2 else [f"class {trace.targets[0]}"] + [""] * (len(outputs) - 1)
    parts = []
    for i, (ox, oy) in enumerate(outputs):
        parts.append(_line(f"e-loss-{i}", ox + RADIUS, oy, x - 62, y))
        target = targets[i] if isinstance(targets[i], str) else f"y{lower(i)} {number_text(targets[i])}"
        parts.append(_text("", ox + RADIUS + 8, oy - 10 if oy <= y else oy + 20, target, MUTED, 12, anchor="start", halo=True))
    parts.append(
        f"<g id='loss' class='box gate'><rect x='{x - 62:.1f}' y='{y - 26:.1f}' width='124' height='52' rx='10' fill='{PAPER}' "
        f"stroke='{INK}' stroke-width='1.5'/>{_text('', x, y - 6, trace.loss_name.replace('_', ' '), MUTED, 11)}</g>"
    )
    parts.append(_text("E", x, y + 14, f"E {number_text(trace.loss, 6)}", FORWARD))
    return parts


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> str:
    ends = f"x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
    return f"<line id='{name}' class='wire' {ends} stroke='{LINE}' stroke-width='1.4'/>"


def _circle(x: float, y: float) -> str:
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{RADIUS}' fill='{PAPER}' stroke='{INK}' stroke-width='1.5'/>"


def _text(
    name: str, x: float, y: float, text: str, colour: str, size: float = 13, *, anchor: str = "middle", halo: bool = False
) -> str:
    """A number or symbol; with a halo where a line may run behind it."""
    role = {FORWARD: "forward", BACKWARD: "backward", MUTED: "muted"}.get(colour, "ink")
    given = f" id='{name}'" if name else ""
    around = f" paint-order='stroke' stroke='{PAPER}' stroke-width='4' stroke-linejoin='round'" if halo else ""
    return (
        f"<text{given} class='{role}{' halo' if halo else ''}' x='{x:.1f}' y='{y:.1f}' font-size='{size}' "
        f"text-anchor='{anchor}' fill='{colour}'{around}>{escape(text)}</text>"
    )
