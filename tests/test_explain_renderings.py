"""What is made of traces: JSON, Markdown, pages, heat maps, tables; for every kind of network."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from io import BytesIO

import numpy as np
import pytest
from rich.console import Console

from mlpx import Parallel, Residual, Sequential, explain, layers
from mlpx.explain.heat_map import ABOVE, BELOW, LARGEST, ZERO, colours, heat_map_uri, png
from mlpx.explain.markdown import graph_markdown
from mlpx.explain.scenes import graph_scene, trace_scene

SVG = "{http://www.w3.org/2000/svg}"


def small() -> explain.Trace:
    return explain.perceptron_3_3_2()


def branched() -> explain.Trace:
    net = Sequential(
        Parallel(Sequential(layers.Columns(0, 1), layers.Embedding(4, 2), layers.Flatten()), layers.Columns(1, 5)),
        Residual(layers.LayerNorm(6), layers.Dense(6, 6, "gelu")),
        layers.Dropout(0.5),
        layers.Dense(6, 3),
    )
    x = np.random.default_rng(0).standard_normal((7, 5))
    x[:, 0] = np.arange(7) % 4
    return explain.trace(net, net.init(0, dtype="float64"), x, np.arange(7) % 3, "softmax_cross_entropy")


kinds = pytest.mark.parametrize("make", [small, branched])


@kinds
def test_the_record_survives_json_with_every_number(make) -> None:
    trace = make()
    record = json.loads(json.dumps(trace.to_dict(), allow_nan=False))
    assert record["check"]["agrees"] is True
    for stated, layer in zip(record["layers"], trace.layers, strict=True):
        for one in (*stated["forward"], *stated["backward"]):
            values = layer[one["key"]].values
            assert np.array_equal(np.asarray(one["values"]), values)
            assert one["shape"] == list(values.shape)
    assert trace.to_dict(numbers=3)["layers"][0]["forward"][0]["values"] in (None, trace.layers[0].forward[0].values.tolist())
    assert trace.to_dict(numbers=0)["output"] is None


def test_numbers_that_are_not_finite_become_null() -> None:
    net = Sequential(layers.Dense(2, 2))
    trace = explain.trace(net, net.init(0, dtype="float64"), np.asarray([[np.nan, 1.0]]), np.zeros((1, 2)), "mse", check=False)
    record = json.loads(json.dumps(trace.to_dict(), allow_nan=False))
    assert record["x"] == [[None, 1.0]]
    assert record["loss"]["value"] is None


@kinds
def test_the_page_is_whole_and_every_id_that_a_step_names_exists(make) -> None:
    scene = trace_scene(make())
    html = scene.to_html()
    outside = re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:|#)[^\"']*|url\((?!data:)|@import|https?://[^\s'\"<]*", html)
    assert set(outside) <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    known = {one.get("id") for one in ET.fromstring(scene.svg).iter() if one.get("id")}
    for step in scene.steps:
        assert set(step.show) <= known, step.title
        assert set(step.light) <= known, step.title
    embedded = re.search(r'<script type="application/json" id="steps">(.*?)</script>', html, re.S)
    assert embedded is not None
    assert len(json.loads(embedded[1])) == len(scene.steps)
    assert "$" not in re.sub(r"`[^`]*`", "", html)  # no placeholder is left


def test_a_title_cannot_break_out_of_the_page() -> None:
    from dataclasses import replace

    html = replace(small(), title="</script><script>alert(1)</script>").to_html()
    assert "<script>alert" not in html


@kinds
def test_markdown_holds_equations_and_checks(make) -> None:
    text = make().to_markdown()
    assert "every gradient agrees" in text
    assert text.count("$$") % 2 == 0
    assert text.count("```") % 2 == 0
    assert "(BP-1)" in text
    assert "(BP-3)" in text


def test_markdown_of_the_lectures_figure_is_its_derivation() -> None:
    text = small().to_markdown()
    assert r"\delta^{(2)} = \left((W^{(3)})^\top \delta^{(3)}\right) \odot f'(z^{(2)})" in text
    assert "z₁⁽²⁾ = 0.1 · 0.5 + 0.2 · (−1) + (−0.3) · 2 + 0.1 = −0.65" in text


def test_markdown_of_a_graph_has_a_row_for_every_gate() -> None:
    lines = graph_markdown(explain.sigmoid_graph()).splitlines()
    assert "| 12 | `1/x` | 11 | 0.73 | −0.53 | 1.00 |  |" in lines


def test_every_formula_is_latex_that_can_be_set() -> None:
    mathtext = pytest.importorskip("matplotlib.mathtext")
    parser = mathtext.MathTextParser("path")
    formulas = [one.equation.latex for _, one in small().quantities() if one.equation.latex]
    assert len(formulas) > 8
    for formula in formulas:
        plain = formula.replace(r"\top", "T").replace(r"\text", r"\mathrm").replace(r"\tfrac", r"\frac")
        parser.parse(f"${plain}$")


@kinds
def test_tables_for_wide_and_narrow_terminals(make) -> None:
    trace = make()
    for wide, width in ((True, 160), (False, 80)):
        console = Console(width=width, no_color=True)
        with console.capture() as capture:
            console.print(trace.table(wide=wide))
        assert "∂E/∂" in capture.get()
        assert ("equation" in capture.get()) == wide
    assert str(trace).count("\n") > len(trace.layers)


@kinds
def test_dot_names_every_station(make) -> None:
    trace = make()
    assert trace.to_dot().count("->") == len(set(trace.flow.ways))


def test_graph_scenes_name_only_what_is_drawn() -> None:
    scene = graph_scene(explain.sigmoid_graph())
    known = {one.get("id") for one in ET.fromstring(scene.svg).iter() if one.get("id")}
    assert all(set(step.show) | set(step.light) <= known for step in scene.steps)
    shown = [name for step in scene.steps for name in step.show]
    assert len(shown) == len(set(shown)) == 2 * 13  # every value and every gradient, once


def test_heat_maps_have_the_colours_that_they_claim() -> None:
    image = pytest.importorskip("matplotlib.image")
    table = np.asarray([[-2.0, 0.0, 2.0], [1.0, -1.0, np.nan]])
    pixels = (image.imread(BytesIO(png(colours(table))))[..., :3] * 255).round().astype(int)
    assert pixels.shape == (2, 3, 3)
    assert [tuple(map(int, one)) for one in pixels[0]] == [BELOW, ZERO, ABOVE]
    assert tuple(map(int, pixels[1, 2])) == (0, 0, 0)


def test_a_large_heat_map_is_reduced() -> None:
    image = pytest.importorskip("matplotlib.image")
    import base64

    uri = heat_map_uri(np.ones((3 * LARGEST, 2)))
    pixels = image.imread(BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert pixels.shape[:2] == (LARGEST, 2)


def test_the_how_to_page_and_the_docstrings_are_true() -> None:
    import doctest
    from pathlib import Path

    from mlpx.explain import graph

    page = Path(__file__).parents[1] / "docs" / "how-to" / "see-backpropagation.md"
    found = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert found.attempted > 10
    assert found.failed == 0
    assert doctest.testmod(graph).failed == 0
