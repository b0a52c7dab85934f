"""Random words and normal numbers in NumPy: the definitions' arithmetic, in blocks that stay in cache."""

from __future__ import annotations

import numpy as np

from mlpx.random.normal_table import normal_from_words as normal_definition
from mlpx.random.threefry import PARITY, ROTATIONS, ROUNDS

BLOCK = 32768
FEW = 10
_MASK = 0xFFFFFFFF
_SHIFTS = tuple(tuple((distance, 32 - distance) for distance in four) for four in ROTATIONS)


def threefry2x32(key: np.ndarray, high: np.ndarray | int, low: np.ndarray, rounds: int = ROUNDS) -> np.ndarray:
    """Two random words for every counter; few counters in Python integers, many in blocks."""
    k0, k1 = (word & _MASK for word in key.tolist())
    schedule = (k0, k1, k0 ^ k1 ^ PARITY)
    n = low.shape[0]
    if n <= FEW:
        highs = [high] * n if isinstance(high, int) else np.broadcast_to(high, (n,)).tolist()
        pairs = [_block(schedule, x0, x1, rounds) for x0, x1 in zip(highs, low.tolist(), strict=True)]
        return np.asarray(pairs, dtype=np.uint32).reshape(n, 2).T.view(np.int32)
    words = np.empty((2, n), np.uint32)
    counters = low.astype(np.int32, copy=False).view(np.uint32)
    highs = np.broadcast_to(np.asarray(high, dtype=np.int32), (n,)).view(np.uint32)
    spare = np.empty(min(n, BLOCK), np.uint32)
    for start in range(0, n, BLOCK):
        block = slice(start, min(start + BLOCK, n))
        x0, x1 = words[0, block], words[1, block]
        np.add(highs[block], np.uint32(k0), out=x0)
        np.add(counters[block], np.uint32(k1), out=x1)
        _mix(schedule, x0, x1, spare[: x0.shape[0]], rounds)
    return words.view(np.int32)


def normal_from_words(words: np.ndarray) -> np.ndarray:
    """Standard normal numbers in units of 2**-20: the definition, block by block."""
    definition = normal_definition.__wrapped__
    if words.shape[0] <= BLOCK:
        return definition(words)
    z = np.empty(words.shape, np.int32)
    for start in range(0, words.shape[0], BLOCK):
        z[start : start + BLOCK] = definition(words[start : start + BLOCK])
    return z


def _mix(schedule: tuple[int, int, int], x0: np.ndarray, x1: np.ndarray, spare: np.ndarray, rounds: int) -> None:
    """All rounds on one block, in place; unsigned, where >> needs no mask."""
    for done in range(rounds):
        distance = ROTATIONS[done // 4 % 2][done % 4]
        np.add(x0, x1, out=x0)
        np.right_shift(x1, np.uint32(32 - distance), out=spare)
        np.left_shift(x1, np.uint32(distance), out=x1)
        np.bitwise_or(x1, spare, out=x1)
        np.bitwise_xor(x1, x0, out=x1)
        if done % 4 == 3:
            injection = done // 4 + 1
            np.add(x0, np.uint32(schedule[injection % 3]), out=x0)
            np.add(x1, np.uint32((schedule[(injection + 1) % 3] + injection) & _MASK), out=x1)


def _block(schedule: tuple[int, int, int], x0: int, x1: int, rounds: int) -> tuple[int, int]:
    """All rounds on one counter: a NumPy call costs more than a round of Python integers."""
    x0, x1 = x0 + schedule[0] & _MASK, x1 + schedule[1] & _MASK
    for done in range(0, rounds, 4):
        for left, right in _SHIFTS[done // 4 % 2][: rounds - done]:
            x0 = x0 + x1 & _MASK
            x1 = (x1 << left | x1 >> right) & _MASK ^ x0
        if done + 4 <= rounds:
            injection = done // 4 + 1
            x0 = x0 + schedule[injection % 3] & _MASK
            x1 = x1 + schedule[(injection + 1) % 3] + injection & _MASK
    return x0, x1
