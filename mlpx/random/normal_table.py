"""Standard normal numbers from random words by integer arithmetic alone: a table of the inverse distribution function.

Any transform in floating point differs between libraries (logarithms, fused multiply-adds); this one cannot.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from statistics import NormalDist
from typing import Any

from mlpx.namespace import device_of, namespace_of, placed_as
from mlpx.random.threefry import replaceable
from mlpx.typing import Array

OCTAVES = 31
CELL_BITS = 7
CELLS = 1 << CELL_BITS
GRID_BITS = 20
POSITION_BITS = 16
_CHUNK = 11

_tables: dict[Any, tuple[Array, Array, Array]] = {}


@replaceable
def normal_from_words(words: Array) -> Array:
    """Standard normal numbers, in units of 2**-20.

    One bit of a word is the sign; the others give an odd u in [1, 2**31) and so the tail probability p = u / 2**32:

        z = ± Φ⁻¹(1 - p)

    Φ⁻¹ is linear in u within each of 128 cells an octave of u; the error of z is below 1e-5, and |z| ≤ 6.24.

    Parameters
    ----------
    words : (n,) int32
        Uniform random words.

    Returns
    -------
    z : (n,) int32
    """
    xp = namespace_of(words)
    leading_zeros, values, steps = _tables_for(words)
    u = (words & 0x7FFFFFFF) | 1
    # Shift the leading one up to bit 30: by whole chunks where the upper chunk is empty, then by a table of 2**11 entries.
    bound = 1 << (OCTAVES - _CHUNK)
    far = xp.astype(u < bound, xp.int32) * _CHUNK
    u = u << far
    farther = xp.astype(u < bound, xp.int32) * _CHUNK
    u = u << farther
    near = xp.take(leading_zeros, u >> (OCTAVES - _CHUNK), axis=0)
    u = u << near
    octave = far + farther + near
    cell = ((u >> (OCTAVES - 1 - CELL_BITS)) & (CELLS - 1)) | (octave << CELL_BITS)
    position = (u >> (OCTAVES - 1 - CELL_BITS - POSITION_BITS)) & ((1 << POSITION_BITS) - 1)
    z = xp.take(values, cell, axis=0) - ((xp.take(steps, cell, axis=0) * position) >> POSITION_BITS)
    sign = words >> 31
    return (z ^ sign) - sign


@cache
def table() -> tuple[list[int], list[int]]:
    """Values z at the start of every cell and how far it falls within the cell, in units of 2**-20.

    Cell c of octave s starts at u = (128 + c) 2**(23 - s), which is p = (128 + c) 2**(-9 - s).
    """
    standard = NormalDist()

    def z(edge: int, octave: int) -> int:
        return round(-standard.inv_cdf(edge * 2.0 ** (-2 - CELL_BITS - octave)) * 2**GRID_BITS)

    values, steps = [], []
    for octave in range(OCTAVES):
        edges = [z(CELLS + cell, octave) for cell in range(CELLS + 1)]
        values += edges[:-1]
        steps += [left - right for left, right in pairwise(edges)]
    return values, steps


def _tables_for(words: Array) -> tuple[Array, Array, Array]:
    """The tables where `words` are, made once for every library and device."""
    xp, device = namespace_of(words), device_of(words)
    found = _tables.get((xp, type(words), device))
    if found is not None:
        return found
    leading_zeros = [_CHUNK - index.bit_length() for index in range(1 << _CHUNK)]
    made = tuple(xp.asarray(column, dtype=xp.int32, **placed_as(words)) for column in (leading_zeros, *table()))
    if device_of(made[0]) is not None:  # an array that belongs to a trace must not outlive it
        _tables[xp, type(words), device] = made
    return made
