"""The equation of every quantity in a trace: BP-1 … BP-4 for layers of neurons, an op's own docstring for all others.

These are words for the reader. What is computed is what the layers compute.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mlpx.ops.definition import OPS, Op

SUPERSCRIPT = str.maketrans("0123456789L+-()", "⁰¹²³⁴⁵⁶⁷⁸⁹ᴸ⁺⁻⁽⁾")
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SECTION = re.compile(r"^(Parameters|Returns|Raises|Notes|References|Examples)$")


class Equation(NamedTuple):
    """An equation as text and, where it is one of the lecture's, as LaTeX; `name` is the lecture's: "BP-1"."""

    text: str
    latex: str = ""
    name: str = ""


def upper(number: int | str) -> str:
    """⁽²⁾, the number of a layer."""
    return f"({number})".translate(SUPERSCRIPT)


def lower(*numbers: int) -> str:
    """₁₂, the place of an element, counted from 1; with a comma between places of more than one digit."""
    return ("," if any(number > 8 for number in numbers) else "").join(str(n + 1).translate(SUBSCRIPT) for n in numbers)


def net_input(number: int, before: str, before_latex: str) -> Equation:
    """The net input of a layer of neurons."""
    s = upper(number)
    return Equation(f"z{s} = W{s} {before} + b{s}", f"z^{{({number})}} = W^{{({number})}} {before_latex} + b^{{({number})}}")


def activation(number: int, name: str) -> Equation:
    """The activation of a layer."""
    s = upper(number)
    return Equation(
        f"a{s} = f(z{s}), f = {name}", rf"a^{{({number})}} = f(z^{{({number})}}),\quad f = \text{{{name}}}".replace("_", r"\_")
    )


def slope(number: int, op: Op | None) -> Equation:
    """The derivative of the activation, with the op's own equation."""
    own = backward_equations(op)[0] if op is not None else "f is the identity"
    return Equation(f"f′(z{upper(number)}), {own}", f"f'(z^{{({number})}})")


def output_delta(number: int, loss_name: str, rows: int) -> Equation:
    """BP-1, for the lecture's cost written out."""
    s, many = upper(number), rows > 1
    if loss_name == "half_squared_error":
        share, share_latex = ("1/n · ", r"\tfrac{1}{n} ") if many else ("", "")
        return Equation(
            f"δ{s} = −{share}(y − a{s}) ⊙ f′(z{s})",
            rf"\delta^{{({number})}} = -{share_latex}(y - a^{{({number})}}) \odot f'(z^{{({number})}})",
            "BP-1",
        )
    return Equation(
        f"δ{s} = ∂E/∂a{s} ⊙ f′(z{s})",
        rf"\delta^{{({number})}} = \frac{{\partial E}}{{\partial a^{{({number})}}}} \odot f'(z^{{({number})}})",
        "BP-1",
    )


def hidden_delta(number: int, following: int | None) -> Equation:
    """BP-2; `following` is the number of the layer of neurons that alone reads this one's output, if there is one."""
    s = upper(number)
    if following is None:
        return Equation(
            f"δ{s} = ∂E/∂a{s} ⊙ f′(z{s})",
            rf"\delta^{{({number})}} = \frac{{\partial E}}{{\partial a^{{({number})}}}} \odot f'(z^{{({number})}})",
            "BP-2",
        )
    n = upper(following)
    return Equation(
        f"δ{s} = (W{n}ᵀ δ{n}) ⊙ f′(z{s})",
        rf"\delta^{{({number})}} = \left((W^{{({following})}})^\top \delta^{{({following})}}\right) \odot f'(z^{{({number})}})",
        "BP-2",
    )


def weight_gradient(number: int, before: str, before_latex: str, rows: int) -> Equation:
    """BP-3."""
    s, over, over_latex = upper(number), *_over_rows(rows)
    return Equation(
        f"∂E/∂W{s} = {over}δ{s} {before}ᵀ",
        rf"\frac{{\partial E}}{{\partial W^{{({number})}}}} = {over_latex}\delta^{{({number})}} ({before_latex})^\top",
        "BP-3",
    )


def bias_gradient(number: int, rows: int) -> Equation:
    """BP-4."""
    s, over, over_latex = upper(number), *_over_rows(rows)
    return Equation(
        f"∂E/∂b{s} = {over}δ{s}",
        rf"\frac{{\partial E}}{{\partial b^{{({number})}}}} = {over_latex}\delta^{{({number})}}",
        "BP-4",
    )


def _over_rows(rows: int) -> tuple[str, str]:
    return ("Σ_rows ", r"\sum_{\text{rows}} ") if rows > 1 else ("", "")


# ---------------------------------------------------------------------- what ops say of themselves


def ops_behind(residuals: Any) -> Iterator[Op]:
    """The ops whose residuals these are, however deeply nested."""
    if isinstance(residuals, tuple):
        name, module = type(residuals).__name__, type(residuals).__module__
        for op in OPS.values():
            told = str(inspect.get_annotations(op.definition).get("return", ""))
            if op.definition.__module__ == module and re.search(rf"\b{name}\b", told):
                yield op
        for part in residuals:
            yield from ops_behind(part)


def forward_equations(op: Op) -> list[str]:
    """The indented equations at the top of an op's docstring."""
    return [line.strip() for line in _top(op) if line.startswith("    ")]


def backward_equations(op: Op) -> list[str]:
    """The equations "dx = …" of an op's backward pass."""
    return [line.strip() for line in _top(op.gradient) if re.match(r"^\s*d?\w+\s*=", line)]


def _top(op: Op) -> list[str]:
    """The lines of a docstring between its first line and its first section."""
    lines = inspect.cleandoc(op.definition.__doc__ or "").splitlines()[1:]
    end = next((place for place, line in enumerate(lines) if SECTION.match(line)), len(lines))
    return lines[:end]
