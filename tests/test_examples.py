"""Every example runs, in a tiny form, and finds what its docstring says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tolerances import BACKENDS_AGREE, FRIEDMAN_R2, WAVE_R2, XOR_ERROR

import mlpx

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
LINES_OF_A_PAGE = 66


def example(name: str):
    """The module of an example, fresh."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits(capsys):
    accuracy = example("digits").main(epochs=3)
    assert accuracy > 0.8
    said = capsys.readouterr().out
    assert f"test accuracy {accuracy:.4f}" in said
    assert "confused most" in said


def test_four_backends(capsys):
    assert example("four_backends").main(epochs=2) <= BACKENDS_AGREE
    said = capsys.readouterr().out
    for name, there in mlpx.backends().items():
        if name in ("numpy", "torch", "jax", "cupy"):
            assert (name in said.split("epoch", 1)[1]) is there.ok
            assert there.ok or there.reason in said


def test_xor(capsys):
    assert example("xor").main() < XOR_ERROR
    said = capsys.readouterr().out
    assert "stopped: the loss changed by less than" in said
    trapped = float(said.rsplit("loss ", 1)[1].split()[0])
    assert trapped > XOR_ERROR


@pytest.mark.slow
def test_friedman1():
    found = example("friedman1").main()
    assert set(found) == {"Adam", "LBFGS"}
    assert min(found.values()) > FRIEDMAN_R2


@pytest.mark.slow
def test_own_layer_is_checked_and_learns(capsys):
    assert example("own_layer").main() > WAVE_R2
    said = capsys.readouterr().out
    assert "checked on numpy" in said
    assert float(said.rsplit("relu: R² ", 1)[1]) < 0.5


def test_the_checker_that_the_own_layer_uses_finds_a_wrong_gradient():
    module = example("own_layer")

    class Wrong(module.Sine):
        """Forgets the ω of the chain rule."""

        def backward(self, params, residuals, dy):
            dx, gradients = super().backward(params, residuals, dy)
            return dx / params["omega"], gradients

    with pytest.raises(AssertionError, match="x"):
        module.check_layer(Wrong(3, 1.5), input_shape=(7, 3), variants=("numpy",))


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_is_one_page_that_says_what_it_shows_and_prints(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert text.count("\n") <= LINES_OF_A_PAGE
    assert "Shows: " in text
    assert "Prints: " in text


def test_all_of_them_are_run_here():
    assert set(EXAMPLES) == {"digits", "four_backends", "friedman1", "own_layer", "xor"}
