"""The page in a real browser: stepped through by clicks and keys, complaining of nothing, asking nobody."""

from __future__ import annotations

import numpy as np
import pytest
import webdriver

from mlpx import Residual, Sequential, explain, layers
from mlpx.explain.graph import sigmoid_graph
from mlpx.explain.scenes import graph_scene

pytestmark = pytest.mark.slow

ARROW_RIGHT, END, HOME = "\ue014", "\ue010", "\ue011"
STEPS_OF_PERCEPTRON = 17  # x; z, a of two layers; E; ∂E/∂a, f', δ, ∂E/∂W, ∂E/∂b of two layers; ∂E/∂x


@pytest.fixture(scope="module")
def browser():
    if webdriver.missing():
        pytest.skip(webdriver.missing())
    with webdriver.Browser() as opened:
        yield opened


@pytest.fixture
def perceptron(browser, tmp_path):
    page = tmp_path / "perceptron.html"
    explain.perceptron_3_3_2().write_html(page)
    browser.open(page)
    return browser


def test_numbers_appear_step_by_step(perceptron) -> None:
    assert perceptron.text("#count").startswith(f"step 1 of {STEPS_OF_PERCEPTRON}")
    assert perceptron.text("#a1-0") == "0.5"
    assert perceptron.text("#z2-0") == perceptron.text("#d3-0") == perceptron.text("#E") == ""
    perceptron.click("#next")
    assert perceptron.text("#z2-0") == "z −0.65"  # 0.1 · 0.5 − 0.2 · 1 − 0.3 · 2 + 0.1
    assert "0.1 · 0.5 + 0.2 · (−1) + (−0.3) · 2 + 0.1 = −0.65" in perceptron.text("#lines")
    assert perceptron.text("#a2-0") == ""
    for _ in range(STEPS_OF_PERCEPTRON):
        if perceptron.run("return document.getElementById('next').disabled"):
            break
        perceptron.click("#next")
    assert perceptron.text("#count").startswith(f"step {STEPS_OF_PERCEPTRON} of")
    empty = perceptron.run(
        "return [...document.querySelectorAll('svg text[id]')].filter((t) => !t.textContent).map((t) => t.id)"
    )
    assert empty == []


def test_back_slider_list_keys_and_anchor_lead_to_the_same_steps(perceptron, tmp_path) -> None:
    perceptron.press(END)
    assert perceptron.text("#g2-0") != ""
    perceptron.click("#back")
    perceptron.click("#back")
    assert perceptron.text("#g2-0") == ""
    assert perceptron.text("#title") == "∂E/∂W⁽²⁾  (BP-3)"
    perceptron.press(HOME)
    perceptron.press(ARROW_RIGHT)
    assert perceptron.text("#title") == "z⁽²⁾"
    perceptron.run("const s = document.getElementById('slider'); s.value = 8; s.dispatchEvent(new Event('input'))")
    assert perceptron.text("#title") == "δ⁽³⁾  (BP-1)"
    perceptron.click("#list li:nth-child(14) button")
    assert perceptron.text("#title") == "δ⁽²⁾  (BP-2)"
    assert perceptron.run("return location.hash") == "#14"
    perceptron.open(tmp_path / "perceptron.html", "#9")
    assert perceptron.text("#title") == "δ⁽³⁾  (BP-1)"


def test_bp_2_lights_the_units_and_the_edges_that_it_runs_along(perceptron) -> None:
    perceptron.click("#list li:nth-child(14) button")
    lit = set(perceptron.run("return [...document.querySelectorAll('.lit')].map((one) => one.id)"))
    assert lit == {f"n2-{i}" for i in range(3)} | {f"e3-{i}-{j}" for i in range(2) for j in range(3)}
    assert perceptron.run("return document.getElementById('panel').className") == "backward"


def test_play_runs_to_the_end_by_itself(perceptron) -> None:
    perceptron.run("window.setIntervalKept = window.setInterval; window.setInterval = (f) => window.setIntervalKept(f, 1)")
    perceptron.click("#play")
    perceptron.run("return 1")
    for _ in range(200):
        if perceptron.text("#count").startswith(f"step {STEPS_OF_PERCEPTRON} "):
            break
    assert perceptron.text("#count").startswith(f"step {STEPS_OF_PERCEPTRON} ")
    assert perceptron.text("#play") == "Play"


def test_the_console_is_silent_and_nothing_is_fetched(browser, tmp_path) -> None:
    browser.messages()  # those of pages before
    net = Sequential(layers.Dense(12, 9, "relu"), Residual(layers.Dense(9, 9, "tanh")), layers.Dense(9, 3))
    x = np.random.default_rng(0).standard_normal((20, 12))
    pages = {
        "network": explain.trace(net, net.init(0, dtype="float64"), x, np.arange(20) % 3, "softmax_cross_entropy").to_html(),
        "graph": graph_scene(sigmoid_graph()).to_html(),
    }
    for name, html in pages.items():
        page = tmp_path / f"{name}.html"
        page.write_text(html, encoding="utf-8")
        browser.open(page)
        browser.press(END)
        assert browser.text("#count").startswith("step")
        asked = browser.run("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert [one for one in asked if not one.startswith("data:")] == []
    assert browser.messages() == []


def test_the_graph_page_goes_forward_and_back_as_the_lecture_does(browser, tmp_path) -> None:
    page = tmp_path / "graph.html"
    page.write_text(graph_scene(sigmoid_graph()).to_html(), encoding="utf-8")
    browser.open(page, "#13")  # 13 gates forward
    assert [browser.text(f"#f{i}") for i in (8, 9, 10, 11, 12)] == ["1.00", "−1.00", "0.37", "1.37", "0.73"]
    assert browser.text("#b12") == ""
    backward = []
    for _ in range(5):
        browser.click("#next")
        backward.append([browser.text(f"#b{i}") for i in (12, 11, 10, 9, 8)])
    assert backward[0] == ["1.00", "", "", "", ""]
    assert backward[-1] == ["1.00", "−0.53", "−0.53", "−0.20", "0.20"]


def test_heat_maps_are_shown_for_large_networks(browser, tmp_path) -> None:
    net = Sequential(layers.Dense(12, 9, "relu"), layers.Dense(9, 3))
    x = np.random.default_rng(0).standard_normal((20, 12))
    page = tmp_path / "network.html"
    explain.trace(net, net.init(0, dtype="float64"), x, np.arange(20) % 3, "softmax_cross_entropy").write_html(page)
    browser.open(page, "#2")
    size = "const i = document.querySelector('#images img'); return [i.naturalWidth, i.naturalHeight, i.complete]"
    assert browser.run(size) == [9, 20, True]  # z of the first layer: 20 rows, 9 units


def test_a_screenshot_shows_the_colours_of_both_directions(perceptron) -> None:
    from io import BytesIO

    image = pytest.importorskip("matplotlib.image")
    perceptron.click("#last")
    pixels = (image.imread(BytesIO(perceptron.screenshot()))[..., :3] * 255).round().astype(int)
    found = {tuple(int(part) for part in colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0)}
    wanted = [
        perceptron.run(f"return getComputedStyle(document.querySelector('svg text.{role}')).fill")
        for role in ("forward", "backward")
    ]
    for text in wanted:
        colour = tuple(int(part) for part in text.removeprefix("rgb(").removesuffix(")").split(","))
        assert colour in found, f"{colour} is nowhere to be seen"
