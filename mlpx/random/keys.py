"""Keys: made from a seed, and derived from one another as `jax.random` does (its partitionable Threefry)."""

from __future__ import annotations

import operator
from enum import IntEnum
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from mlpx.arguments import whole_number
from mlpx.errors import ConfigError, InvalidInputError, InvalidTypeError
from mlpx.namespace import describe, namespace_of, placed_as
from mlpx.random.threefry import threefry2x32
from mlpx.typing import Array

SEED_BITS, WORD_BITS = 64, 32

Key: TypeAlias = Any
"""Two int32 words, shape (2,), of any array library."""


class Purpose(IntEnum):
    """What a stream of random numbers is for: folded into the seed's key first, so that streams never meet.

    The numbers are part of what "the same seed" means, and are never reused.
    """

    INIT = 0
    SHUFFLE = 1
    DROPOUT = 2
    SPLIT = 3
    DATA = 4
    CHECK = 5


def key(seed: int) -> np.ndarray:
    """The key of a seed.

    Parameters
    ----------
    seed : int
        0 ≤ seed < 2**64.

    Returns
    -------
    key : (2,) int32 NumPy array
        The upper and the lower 32 bits of the seed: the words of `jax.random.key(seed)`, where JAX keeps 64-bit seeds.

    Raises
    ------
    ConfigError
        If the seed is not a whole number in that range.
    """
    number = _whole("seed", seed, SEED_BITS)
    return np.asarray([_signed(number >> WORD_BITS), _signed(number & 0xFFFFFFFF)], dtype=np.int32)


def fold_in(key: Key, data: int | Array) -> Key:
    """The key derived from a key and a number, or one key for each of many numbers.

    Parameters
    ----------
    key : (2,) int32
        Of any library; may be traced.
    data : int or (*n) integers of the key's library and device
        A Python int lies in [0, 2**32); array elements count modulo 2**32.

    Returns
    -------
    key : (*n, 2) int32
        Of the library and on the device of `key`. Equal to `jax.random.fold_in(key, data)`.

    Raises
    ------
    ConfigError
        If a Python int is out of range.
    InvalidInputError, InvalidTypeError
        If `key` is not a key, or `data` holds no integers.
    DeviceMismatchError
        If `key` and `data` come from different libraries or devices.
    """
    key = as_key(key)
    if is_array(data):
        xp = namespace_of(key, data)
        if not xp.isdtype(data.dtype, "integral"):
            raise InvalidTypeError(f"data: expected integers, got {describe(data)}")
        return _children(key, xp.reshape(xp.astype(data, xp.int32), (-1,)), tuple(data.shape))
    return _children(key, [_signed(_whole("data", data, WORD_BITS))], ())


def split(key: Key, num: int = 2) -> Key:
    """Several keys from one, which must not be used again.

    Parameters
    ----------
    key : (2,) int32
        Of any library; may be traced.
    num : int
        How many.

    Returns
    -------
    keys : (num, 2) int32
        Of the library and on the device of `key`. Equal to `jax.random.split(key, num)`.

    Raises
    ------
    ConfigError
        If `num` is not a whole number.
    InvalidInputError, InvalidTypeError
        If `key` is not a key.
    """
    key = as_key(key)
    num = whole_number("num", num, at_least=0)
    return _children(key, list(range(num)), (num,))


def as_key(given: Any) -> Key:
    """`given` as int32 words, known to be a key: an array of shape (2,) of int32 or uint32."""
    if not hasattr(given, "dtype") or not hasattr(given, "shape"):
        raise InvalidTypeError(
            f"key={given!r}: expected a key, an array of two int32 words; make one with mlpx.random.key(seed)"
        )
    xp = namespace_of(given)
    if tuple(given.shape) != (2,):
        raise InvalidInputError(
            f"key: expected two int32 words, got {describe(given)}; take one key of several with keys[i], "
            "or make one with mlpx.random.key(seed)"
        )
    if given.dtype == xp.int32:
        return given
    if given.dtype == xp.uint32:
        return xp.astype(given, xp.int32)
    raise InvalidTypeError(f"key: expected two int32 words, got {describe(given)}; make a key with mlpx.random.key(seed)")


def is_array(value: Any) -> TypeGuard[Array]:
    """Whether an argument that may be a Python or NumPy number is an array."""
    return hasattr(value, "dtype") and not isinstance(value, np.generic)


def _children(key: Key, numbers: list[int] | Array, shape: tuple[int, ...]) -> Array:
    """Block (0, number) of every number, as a key."""
    xp = namespace_of(key)
    if isinstance(numbers, list):
        numbers = xp.asarray(numbers, dtype=xp.int32, **placed_as(key))
    return xp.reshape(threefry2x32(key, 0, numbers).T, (*shape, 2))


def _whole(name: str, value: Any, bits: int) -> int:
    """`value` as an int in [0, 2**bits), or ConfigError."""
    if not isinstance(value, bool | np.bool):
        try:
            number = operator.index(value)
        except TypeError:
            pass
        else:
            if 0 <= number < 1 << bits:
                return number
    raise ConfigError(f"{name}={value!r}: expected a whole number in [0, 2**{bits})")


def _signed(word: int) -> int:
    """The int32 with the bits of an unsigned 32-bit word."""
    return word - (1 << WORD_BITS) if word >> (WORD_BITS - 1) else word
