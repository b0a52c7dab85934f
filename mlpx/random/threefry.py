"""The Threefry2x32 block function in int32 arithmetic: add, xor, shift.

int32 with arithmetic shifts and a mask, because it is the only 32-bit integer arithmetic that every library has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from mlpx import registry
from mlpx.namespace import namespace_of
from mlpx.typing import Array

ROUNDS = 20
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def replaceable(definition: Callable[..., Any]) -> Callable[..., Any]:
    """Let a backend's kernel of the function's name stand in for it; the definition stays as `__wrapped__`."""
    name = definition.__name__

    @wraps(definition)
    def run(array: Array, *others: Any) -> Any:
        return (registry.kernel_for(name, array) or definition)(array, *others)

    return run


@replaceable
def threefry2x32(key: Array, high: Array | int, low: Array, rounds: int = ROUNDS) -> Array:
    """Two random words for every counter: a bijection of 64-bit counters, chosen by the key.

    Parameters
    ----------
    key : (2,) int32
    high : (n,) or (1,) int32 of the key's library and device, or int
        First word of the counters.
    low : (n,) int32 of the key's library and device
        Second word of the counters.
    rounds : int
        20 is the recommended strength; 13 is known to pass all tests.

    Returns
    -------
    words : (2, n) int32
        First words of the blocks, then their second words.

    References
    ----------
    Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", section 4.1.
    """
    xp = namespace_of(key, low)
    # Keys and counters stay at least 1-d: NumPy warns when a 0-d integer wraps around.
    k0, k1 = key[0:1], key[1:2]
    schedule = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = k0 + high + 0 * low, low + k1
    for done in range(rounds):
        x0 = x0 + x1
        x1 = _rotated_left(x1, ROTATIONS[done // 4 % 2][done % 4]) ^ x0
        if done % 4 == 3:
            injection = done // 4 + 1
            x0 = x0 + schedule[injection % 3]
            x1 = x1 + (schedule[(injection + 1) % 3] + injection)
    return xp.stack([x0, x1])


def _rotated_left(x: Array, distance: int) -> Array:
    """The 32 bits of every word, rotated; the mask removes the copies of the sign bit that >> brings in."""
    return (x << distance) | ((x >> (32 - distance)) & ((1 << distance) - 1))
