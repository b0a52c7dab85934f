"""How far a result may be from the truth: derived for each kind of op, and nowhere else.

Error is measured in units of the last place of the result's scale,

    error = max|y − ref| / (eps · max|ref|),      eps = 2⁻²³ (float32) or 2⁻⁵² (float64),

where `ref` is the definition in float64 NumPy (or a higher precision) on the same rounded inputs. The unit makes one budget
serve float32, float64 and every library; u = eps/2 is the error of one rounded operation.

A budget follows from the arithmetic and is not fitted to what was seen. It covers every order of summation, fused
multiply-adds and the documented error of each library's functions; it does not cover a lower precision: TF32 products
(eps 2⁻¹⁰ = 8192 units) leave it by far.
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np

FUNCTION_ULP = 4.0
"""Error of one exp, log, tanh or erf: NumPy's SIMD loops, CUDA's, SLEEF's and XLA's functions promise 4 ulp or better."""

FUNCTIONS = 3
"""Library functions one after another in the longest element-wise op (softplus inside a product; gelu by tanh)."""

ROUNDINGS = 8
"""Rounded +, −, ·, / between them, half a unit each."""

SPREAD = 6.0
"""λ in the probabilistic bound on sums: a fair sum passes λ√m·u·Σ|aᵢbᵢ| once in 3·10⁷ results (2 exp(−λ²/2))."""

ROUNDED_INPUT = 8.0
"""An example's inputs rounded to float32 are half a unit off: a function with slope · |input| ≤ 16 |result| makes 8 of it."""

PRINTED_DIGITS = range(6, 15)
"""An example printed with so many digits is rounded; with fewer it is exact (0.5, 0.3775), with more as good as float64."""

GRADIENT = 1e-6
"""Relative error of ⟨dy, J u⟩ by central differences in float64.

With h = eps^(1/3) truncation h² and rounding eps/h are both 4e-11 times the derivatives' scale; curvature may raise it by
10⁴. A wrong sign, axis or factor, or a lost term, gives 9e-3 or more.
"""

COMPLEX_STEP = 1e-12
"""Relative error of Im f(x + i h u) / h: no subtraction, so only rounding is left, eps times some thousand operations."""


def exact(terms: int = 1) -> float:
    """Integers, comparisons, copies, products with 0 or 1: the bits are given."""
    del terms
    return 0.0


def elementwise(terms: int = 1) -> float:
    """A chain of FUNCTIONS functions and ROUNDINGS operations on each element.

    Each adds its own error and none amplifies an earlier one beyond the result's scale: the ops are written so that they
    do not subtract nearly equal numbers. 3 · 4 + 8 · ½ = 16.
    """
    del terms
    return FUNCTIONS * FUNCTION_ULP + ROUNDINGS / 2


def product(terms: int = 1) -> float:
    """A sum over m products, added in any order.

    Higham & Mary (2019, theorem 2.4): |error| ≤ λ √m u Σ|aᵢbᵢ| up to chance. For terms of either sign Σ|aᵢbᵢ| ≈ (2/π) m σ² and
    the largest of some results is at least 2 √m σ², so in our unit the error is λ √m · ½ · √m/π ≈ m with λ = 6. For terms
    of one sign Σ|aᵢbᵢ| is the result itself and the bound is 3√m: less, as soon as m ≥ 9; ROUNDINGS + 1 covers m < 9, and
    what is done to the sum afterwards.
    """
    return ROUNDINGS + 1 + SPREAD / (2 * math.pi) * terms


def normalising(terms: int = 1) -> float:
    """Means over m numbers, then each number less and over them: softmax, batch norm, layer norm, a mean loss.

    An element-wise chain behind a sum: both errors add. x − mean has the scale of x, one operation's error; the sum of squares
    has terms of one sign. The backward pass subtracts two such means again, which doubles the sum's part.
    """
    return elementwise() + 2 * product(terms)


def network(depth: int, terms: int = 1, outputs: int = 1) -> float:
    """Output or gradient of a network of `depth` layers with sums over `terms` numbers, and a loss over `outputs` of them.

    On the way there and back every layer adds the error of an affine map and of what normalises or activates its result:
    two products and a normalisation. Weights drawn to keep the variance pass on what came before at about its scale. The
    loss, a mean over all outputs of a batch, comes on top once.
    """
    return depth * (normalising(terms) + 2 * product(terms)) + normalising(outputs)


def trajectory(steps: int, terms: int = 1) -> float:
    """Parameters after `steps` steps of training in float64, each with sums over `terms` numbers, the loss's included.

    A step adds at most the error of one forward and backward pass, twice two products and a normalising loss; a stable
    iteration (learning rate · curvature ≤ 2) does not amplify what is there, so errors add up. In float32 there is no such
    bound: one relu gate flipped by rounding sends two right runs apart, so many steps are compared in float64 only.
    """
    return steps * (4 * product(terms) + normalising(terms))


def of(kind: str, terms: int = 1) -> float:
    """The budget of a kind, in units of eps of the result's scale.

    Parameters
    ----------
    kind : str
        "exact", "elementwise", "normalising" or "product".
    terms : int
        m, the number of terms in the longest sum.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    table = {"exact": exact, "elementwise": elementwise, "normalising": normalising, "product": product}
    if kind not in table:
        raise ValueError(f"unknown kind of op {kind!r} (allowed: {', '.join(table)})")
    return table[kind](terms)


def printed(values: object, dtype: str) -> float:
    """How far hand-worked values may be off because they are printed to some digits: half a unit of the last, in eps.

    Parameters
    ----------
    values : number or nested sequence of numbers
    dtype : floating dtype
        Of the computation.
    """
    array = np.asarray(values, dtype=np.float64)
    scale = float(np.max(np.abs(array), initial=0.0))
    off = 0.0
    for value in array.ravel():
        number = Decimal(repr(float(value)))
        if len(number.as_tuple().digits) in PRINTED_DIGITS:
            off = max(off, 0.5 * 10.0 ** int(number.as_tuple().exponent))
    return off / (scale * float(np.finfo(dtype).eps)) if scale else 0.0


def error_in_eps(y: np.ndarray, reference: np.ndarray, dtype: str | np.dtype) -> float:
    """max|y − ref| in units of eps(dtype) · max|ref|; infinite where one is NaN or infinite and the other is not the same.

    Parameters
    ----------
    y, reference : NumPy arrays of one shape
    dtype : floating dtype
        Whose eps is the unit: that of the computation, not of the reference.
    """
    y, reference = np.asarray(y, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    finite = np.isfinite(reference)
    if not np.array_equal(y[~finite], reference[~finite], equal_nan=True):
        return math.inf
    if not np.all(np.isfinite(y[finite])):
        return math.inf
    worst = float(np.max(np.abs(y[finite] - reference[finite]), initial=0.0))
    scale = float(np.max(np.abs(reference[finite]), initial=0.0))
    if worst == 0.0:
        return 0.0
    return math.inf if scale == 0.0 else worst / (float(np.finfo(dtype).eps) * scale)
