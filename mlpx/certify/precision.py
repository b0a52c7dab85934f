"""Reduced precision where IEEE was asked for: products whose every bit is known.

A product with a matrix that has one power of two in each row and column, and zeros, only moves and scales numbers: it is
exact in IEEE arithmetic, in any order of summation, fused or not. A unit that rounds its inputs first, as TF32 units do to
10 bits of mantissa and bfloat16 units to 7, returns rounded numbers, and how many bits it kept can be read from them. Full
matrices beside that show sums that are kept in fewer bits than they should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mlpx.certify.measuring import CONDUCT, EAGER, Place, quiet, said, valued
from mlpx.certify.record import Check
from mlpx.certify.subject import Subject
from mlpx.certify.training import COMPILED
from mlpx.ops.affine import affine
from mlpx.testing import budgets
from mlpx.testing.trials import cast
from mlpx.typing import Array

ROWS, FEATURES, UNITS = 128, 256, 64
"""n, d and k: whole numbers of every tile that matrix units work in."""
KNOWN = {7: "as bfloat16", 10: "as TF32 and float16", 23: "as float32"}
LEFT, RIGHT, SUMS = "left operand", "right operand", "sums"


def products(a: Array, weight: Array, bias: Array, delta: Array) -> dict[str, Array]:
    """The three products of a layer, as operators and by the op that layers use."""
    z, residuals = affine(a, weight, bias)
    da, dweight, _ = affine.gradient(delta, residuals)
    plain = {"A Wᵀ": a @ weight.T, "δ W": delta @ weight, "δᵀ A": delta.T @ a}
    return plain | {"affine: A Wᵀ": z, "affine: δ W": da, "affine: δᵀ A": dweight}


def checks(subject: Subject) -> Iterator[Check]:
    """How many bits products keep in each operand, and how far sums are off: eager, traced and compiled."""
    for dtype in subject.floating:
        for way, run in _ways(subject).items():
            place = Place("precision", subject.eager, way, dtype)
            try:
                with quiet():
                    for operand, inputs, exact in _problems():
                        yield from _products_checked(place, operand, [cast(one, dtype) for one in inputs], exact, run)
            except Exception as error:
                yield place.check("products", CONDUCT, said(error))


Run = Callable[..., dict[str, Array]]
Problem = tuple[str, tuple[np.ndarray, ...], tuple[str, ...]]


def _ways(subject: Subject) -> dict[str, Run]:
    """The products as they are called, traced, and compiled as a training step is."""
    ways = {variant.trace or EAGER: variant.wrap(products) for variant in subject.ways}

    def step(state: tuple[Array, Array], batch: tuple[Array, Array]) -> tuple[Any, dict[str, Array]]:
        (weight, bias), (a, delta) = state, batch
        return (weight, bias), products(a, weight, bias, delta)

    def compiled(a: Array, weight: Array, bias: Array, delta: Array) -> dict[str, Array]:
        state, batch = (weight, bias), (a, delta)
        return subject.backend.compile(step, (state, batch))(state, batch)[1]

    return ways | {COMPILED: compiled}


def _problems() -> Iterator[Problem]:
    """A, W, b, δ, and which products of them are exact: those where one factor only moves and scales the other's numbers.

    In turn A, W and δ are full while what they meet is sparse; last, all are full.
    """
    draw = np.random.default_rng(19)
    sizes = (ROWS, FEATURES), (UNITS, FEATURES), (ROWS, UNITS)
    full_a, full_w, full_delta = (draw.standard_normal(size) for size in sizes)
    sparse_a, sparse_w, sparse_delta = (_moves(draw, *size) for size in sizes)
    bias = np.zeros(UNITS)
    yield LEFT, (full_a, sparse_w, bias, full_delta), ("A Wᵀ", "δ W")
    yield LEFT, (sparse_a, full_w, bias, full_delta), ("δᵀ A",)
    yield RIGHT, (sparse_a, full_w, bias, sparse_delta), ("A Wᵀ", "δ W")
    yield RIGHT, (full_a, full_w, bias, sparse_delta), ("δᵀ A",)
    yield SUMS, (full_a, full_w, bias, full_delta), ("A Wᵀ", "δ W", "δᵀ A")


def _moves(draw: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A matrix with at most one entry in each row and column, each plus or minus a small power of two."""
    matrix = np.zeros((rows, columns))
    count = min(rows, columns)
    places = draw.permutation(rows)[:count], draw.permutation(columns)[:count]
    matrix[places] = np.ldexp(draw.choice([-1.0, 1.0], count), draw.integers(-3, 4, count))
    return matrix


def _products_checked(
    place: Place, operand: str, inputs: list[np.ndarray], wanted: tuple[str, ...], run: Run
) -> Iterator[Check]:
    a, weight, _, delta = (one.astype(np.float64) for one in inputs)
    factors = {"A Wᵀ": (a, weight.T), "δ W": (delta, weight), "δᵀ A": (delta.T, a)}
    references = {name: factors[name][0] @ factors[name][1] for name in wanted}
    found = run(*(place.variant.put(one) for one in inputs))
    for name, result in found.items():
        product = name.removeprefix("affine: ")
        if product not in wanted:
            continue
        reference, terms = references[product], factors[product][0].shape[1]
        values = place.variant.get(result)
        if operand == SUMS:
            yield valued(place, name, SUMS, [(values, reference)], budgets.product(terms))
            continue
        kept, whole = bits_kept(values, reference), np.finfo(place.dtype).nmant
        fault = (
            "" if kept >= whole else f"rounded to {kept} of {whole} bits of mantissa{_likeness(kept)}, though IEEE was asked"
        )
        yield valued(place, name, operand, [(values, reference)], budgets.exact(), "", fault)


def bits_kept(values: np.ndarray, reference: np.ndarray) -> int:
    """Explicit bits of mantissa that numbers were rounded to, from the worst of them; 52 if none was rounded."""
    values, reference = np.asarray(values, dtype=np.float64), np.asarray(reference)
    there = reference != 0
    off = np.max(np.abs(values[there] / reference[there] - 1), initial=0.0)
    if not off:
        return np.finfo(np.float64).nmant
    return max(0, round(-math.log2(off))) - 1 if off < 1 else 0


def _likeness(kept: int) -> str:
    return f" ({KNOWN[kept]})" if kept in KNOWN else ""
