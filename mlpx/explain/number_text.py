"""Numbers and small arrays as short text, with a true minus sign and as many digits as the reader needs."""

from __future__ import annotations

from typing import Any

import numpy as np

SHOWN = 4  # numbers of an array written out; a longer one is described


def number_text(value: Any, digits: int = 4) -> str:
    """A number to so many significant digits: −0.0437, 1.5e−07, 12300."""
    return f"{float(value):.{digits}g}".replace("-", "−")


def two_decimals(value: float) -> str:
    """A number as the figures of lectures write it, −0.53; to two significant digits where it is smaller than 0.005."""
    value = float(value)
    text = f"{value:.2f}" if abs(value) >= 0.005 or value == 0 else f"{value:.1e}"
    return text.replace("-", "−")


def array_text(values: Any, digits: int = 4, shown: int = SHOWN) -> str:
    """A 0-d array as its number, a short one as all its numbers, a longer one as its range and Euclidean norm."""
    array = np.asarray(values)
    if array.ndim == 0:
        return number_text(array, digits)
    flat = array.ravel()
    if flat.size <= shown:
        return "[" + ", ".join(number_text(value, digits) for value in flat) + "]"
    low, high, norm = (number_text(value, 3) for value in (flat.min(), flat.max(), np.linalg.norm(flat.astype(np.float64))))
    return f"{low} … {high}, ‖·‖ {norm}"


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as 3 × 4; a single number is "1"."""
    return " × ".join(map(str, shape)) or "1"
