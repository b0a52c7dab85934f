"""Random arrays from a key: words, uniform and normal numbers, coin flips, permutations.

Word i of a draw of n words is, with h = ⌈n/2⌉ and (a, b) = threefry2x32(key, (0, j)) the two words of block j:

    word i = a of block i           for i < h
             b of block i - h       for i ≥ h

Every number needs one word. Up to the last, exact or singly rounded, operation all arithmetic is on integers, so the bits
are the same on every library and device, compiled or not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlpx import transfer
from mlpx.arguments import real_number, whole_number
from mlpx.errors import ConfigError, unknown_name
from mlpx.namespace import constant, namespace_of, placed_as
from mlpx.random.keys import Key, as_key, is_array
from mlpx.random.normal_table import GRID_BITS, normal_from_words
from mlpx.random.threefry import threefry2x32
from mlpx.registry import Device
from mlpx.typing import Array

MAX_WORDS = 1 << 32
UNIFORM_BITS = 24
DTYPES = ("float32", "float64")


def bits(key: Key, shape: int | Sequence[int], *, device: str | Device | None = None) -> Array:
    """Uniform random 32-bit words.

    Parameters
    ----------
    key : (2,) int32
        Of any library; may be traced.
    shape : int or sequence of int
        At most 2**32 elements.
    device : str or Device, optional
        Where the result goes; where the key is, if not given.

    Returns
    -------
    words : int32
        Of the given shape. `jax.random.bits(key, (n,))` is the xor of the two halves of `bits(key, 2 * n)`.

    Raises
    ------
    ConfigError
        If the shape is no shape, or too large for one key.
    InvalidInputError, InvalidTypeError
        If `key` is not a key.
    """
    words, sizes = _words(key, shape, device)
    return namespace_of(words).reshape(words, sizes)


def uniform(
    key: Key,
    shape: int | Sequence[int],
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: str = "float32",
    device: str | Device | None = None,
) -> Array:
    """Uniform random numbers in [low, high).

        u = m / 2**24,   m the upper 24 bits of a word
        x = low + (high - low) u

    Parameters
    ----------
    key, shape, device
        As in `bits`.
    low, high : float
        Finite, low < high; rounded to `dtype`.
    dtype : str
        "float32" or "float64". In [0, 1) both are exact, so the numbers are the same; elsewhere both are rounded from the
        same u.

    Returns
    -------
    x : floating
        Of the given shape.

    Raises
    ------
    ConfigError
        If the range is empty, the dtype is unknown or not to be had, or the shape is too large.
    InvalidInputError, InvalidTypeError
        If `key` is not a key.
    """
    low, high = real_number("low", low), real_number("high", high)
    dtype = _known(dtype)
    scalar = np.dtype(dtype).type
    with np.errstate(over="ignore"):
        first, last, width = scalar(low), np.nextafter(scalar(high), scalar(low)), scalar(high - low)
    if not (first < scalar(high) and math.isfinite(width)):
        raise ConfigError(f"low={low!r}, high={high!r}: expected low < high, a finite and not empty range of {dtype} numbers")
    words, sizes = _words(key, shape, device)
    xp = namespace_of(words)
    u = _floating(_upper_bits(words), dtype) * 2.0**-UNIFORM_BITS
    if (low, high) != (0.0, 1.0):
        # Never larger than the width: `minimum` only keeps compilers from fusing product and sum into one rounding.
        above = xp.minimum(u * constant(float(width), u), constant(float(width), u))
        u = xp.minimum(above + constant(low, u), constant(float(last), u))
    return xp.reshape(u, sizes)


def normal(key: Key, shape: int | Sequence[int], *, dtype: str = "float32", device: str | Device | None = None) -> Array:
    """Standard normal random numbers, on the grid of 2**-20.

    Good for initial weights, noise and augmentation, not for studies of tails: 31 bits go into a number, so |z| ≤ 6.24, and
    a table stands in for Φ⁻¹ with an error below 1e-5.

    Parameters
    ----------
    key, shape, device
        As in `bits`.
    dtype : str
        "float32" or "float64"; both are exact, so the numbers are the same.

    Returns
    -------
    z : floating
        Of the given shape.

    Raises
    ------
    ConfigError
        If the dtype is unknown or not to be had, or the shape is too large.
    InvalidInputError, InvalidTypeError
        If `key` is not a key.

    References
    ----------
    Devroye (1986), "Non-Uniform Random Variate Generation", section II.2: inversion by table.
    """
    dtype = _known(dtype)
    words, sizes = _words(key, shape, device)
    z = _floating(normal_from_words(words), dtype) * 2.0**-GRID_BITS
    return namespace_of(words).reshape(z, sizes)


def bernoulli(key: Key, p: float | Array, shape: int | Sequence[int], *, device: str | Device | None = None) -> Array:
    """Coin flips that are true with probability p: where `uniform(key, shape) < p`.

    Parameters
    ----------
    key, shape, device
        As in `bits`.
    p : float or floating array that broadcasts to `shape`
        Probability in [0, 1], rounded to float32. Realised exactly for 0, 1 and multiples of 2**-24, else to within 2**-24.
        An array is taken as it is: its values are not checked.

    Returns
    -------
    flips : bool
        Of the given shape.

    Raises
    ------
    ConfigError
        If a p that is no array lies outside [0, 1], or the shape is too large.
    InvalidInputError, InvalidTypeError
        If `key` is not a key.
    DeviceMismatchError
        If an array p is not of the result's library and device.
    """
    bound = 0 if is_array(p) else math.ceil(np.float32(real_number("p", p, 0, 1)) * 2**UNIFORM_BITS)
    words, sizes = _words(key, shape, device)
    m = namespace_of(words).reshape(_upper_bits(words), sizes)
    if is_array(p):
        xp = namespace_of(m, p)
        return xp.astype(m, xp.float32) < xp.astype(p, xp.float32) * 2.0**UNIFORM_BITS
    return m < bound


def permutation(key: Key, n: int, *, device: str | Device | None = None) -> Array:
    """The numbers 0 … n - 1 in random order.

    Sorts n random words; equal words, of which there are about n²/2**33, keep their order.

    Parameters
    ----------
    key, device
        As in `bits`.
    n : int
        At most 2**31 - 1.

    Returns
    -------
    order : (n,) int32

    Raises
    ------
    ConfigError
        If n is not a whole number in that range.
    InvalidInputError, InvalidTypeError
        If `key` is not a key.
    """
    n = whole_number("n", n, at_least=0)
    if n >= 1 << 31:
        raise ConfigError(f"n={n}: expected at most 2**31 - 1, what int32 indices can count")
    words, _ = _words(key, n, device)
    xp = namespace_of(words)
    return xp.astype(xp.argsort(words, stable=True), xp.int32)


def _words(key: Key, shape: int | Sequence[int], device: str | Device | None) -> tuple[Array, tuple[int, ...]]:
    """As many words as the shape holds, in one row, and the shape as a tuple."""
    key = as_key(key)
    sizes = tuple(whole_number("shape", size, at_least=0) for size in (shape if isinstance(shape, Sequence) else (shape,)))
    count = math.prod(sizes)
    if count > MAX_WORDS:
        raise ConfigError(
            f"shape={shape!r}: {count} numbers, one key gives at most 2**32; draw parts from keys of mlpx.random.split"
        )
    if device is not None:
        key = transfer.to_device(key, device)
    xp = namespace_of(key)
    blocks = xp.arange((count + 1) // 2, dtype=xp.int32, **placed_as(key))
    return xp.reshape(threefry2x32(key, 0, blocks), (-1,))[:count], sizes


def _upper_bits(words: Array) -> Array:
    """The upper 24 bits of every word as a number ≥ 0: all that float32 holds exactly."""
    return (words >> (32 - UNIFORM_BITS)) & ((1 << UNIFORM_BITS) - 1)


def _known(dtype: Any) -> str:
    """The name of a dtype, known to be one of those we draw."""
    name = str(dtype)
    if name not in DTYPES:
        raise unknown_name("dtype", name, DTYPES)
    return name


def _floating(whole: Array, dtype: str) -> Array:
    """Integers as numbers of a floating dtype; ConfigError where the library would quietly give another."""
    xp = namespace_of(whole)
    if dtype == "float64" and dtype not in xp.__array_namespace_info__().dtypes(kind="real floating"):
        raise ConfigError(f"dtype={dtype!r}: this array library has no float64 now; switch on its 64-bit mode, or take float32")
    return xp.astype(whole, getattr(xp, dtype))
