"""Dividing rows into parts, such as those to train on and those to test on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlpx import random
from mlpx.arguments import real_number, whole_number
from mlpx.errors import ConfigError, InvalidInputError

SUM_ROUNDING = 1e-9


def split(
    n: int, fractions: Sequence[float] = (0.8, 0.2), seed: int = 0, labels: np.ndarray | Sequence[object] | None = None
) -> tuple[np.ndarray, ...]:
    """Indices of the rows of each part, drawn at random: the same for the same arguments, everywhere.

    Parameters
    ----------
    n : int
        Number of rows.
    fractions : sequence of float
        Share of each part; they sum to 1. The first part is the one to train on. No part stays empty.
    seed : int
    labels : (n,) array or sequence, optional
        Class of each row. Every part then holds about its share of every class, and the first part at least one row of
        each, even where that makes it larger than its share.

    Returns
    -------
    parts : tuple of (m,) int64 arrays
        As many as fractions. Each row is in exactly one part; rows stand in random order.

    Raises
    ------
    ConfigError
        If the fractions are not positive with sum 1, or there are fewer rows than parts.
    InvalidInputError
        If there are not n labels, or the classes are so small that the first part would need every row.
    """
    n = whole_number("n", n)
    shares = [real_number("fractions", share, 0, 1, open_low=True) for share in fractions]
    if not shares or abs(sum(shares) - 1) > SUM_ROUNDING:
        raise ConfigError(f"fractions={tuple(fractions)!r}: expected positive numbers that sum to 1, such as (0.8, 0.2)")
    if n < len(shares):
        raise ConfigError(f"{n} rows cannot be divided into {len(shares)} parts: each needs at least one")
    root: Any = random.key(seed)
    key = random.fold_in(root, random.Purpose.SPLIT)
    order = np.asarray(random.permutation(key, n)).astype(np.int64)
    counts = _counts(n, shares)
    if labels is None:
        return tuple(np.split(order, np.cumsum(counts)[:-1]))
    return _stratified(order, counts, _codes(labels, n))


def _counts(n: int, shares: Sequence[float]) -> list[int]:
    """Rows of each part: largest remainders get what rounding down left over, and no part stays empty."""
    counts = [math.floor(n * share + SUM_ROUNDING) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda part: counts[part] - n * shares[part])
    for part in by_remainder[: n - sum(counts)]:
        counts[part] += 1
    for part, count in enumerate(counts):
        if count == 0:
            counts[counts.index(max(counts))] -= 1
            counts[part] = 1
    return counts


def _codes(labels: np.ndarray | Sequence[object], n: int) -> np.ndarray:
    if len(labels) != n:
        raise InvalidInputError(f"labels has {len(labels)} entries, there are {n} rows")
    known: dict[object, int] = {}
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    return np.fromiter((known.setdefault(label, len(known)) for label in values), dtype=np.int64, count=n)


def _stratified(order: np.ndarray, counts: Sequence[int], codes: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows sorted by class, dealt out in a fixed rhythm in which every stretch holds about its share of each part."""
    moments = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    rhythm = np.repeat(np.arange(len(counts)), counts)[np.argsort(moments, kind="stable")]
    part_of = np.empty(len(order), dtype=np.int64)
    part_of[order[np.argsort(codes[order], kind="stable")]] = rhythm
    taught = np.bincount(codes[part_of == 0], minlength=int(codes.max()) + 1)
    for untaught in np.flatnonzero(taught == 0):
        part_of[order[np.argmax(codes[order] == untaught)]] = 0
    parts = tuple(order[part_of[order] == part] for part in range(len(counts)))
    if not all(map(len, parts)):
        raise InvalidInputError(
            f"{len(order)} rows of {len(taught)} classes cannot be divided into {len(parts)} parts with every class in the "
            "first one; give more rows a class, or no labels"
        )
    return parts
