"""What a setting may be: checks of constructor and call arguments that name the setting, the value and the range."""

from __future__ import annotations

import math
import operator
from typing import Any

from mlpx.errors import ConfigError


def whole_number(name: str, value: Any, at_least: int = 1) -> int:
    """`value` as an int; ConfigError unless it is a whole number of at least `at_least`."""
    if not isinstance(value, bool):
        try:
            number = operator.index(value)
        except TypeError:
            pass
        else:
            if number >= at_least:
                return number
    raise ConfigError(f"{name}={value!r}: expected a whole number ≥ {at_least}")


def real_number(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> float:
    """`value` as a finite float; ConfigError unless it lies between `low` and `high` (open ends exclude the bound)."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if math.isfinite(number) and above and below:
        return number
    left, right = "(" if open_low or low == -math.inf else "[", ")" if open_high or high == math.inf else "]"
    bounds = f" in {left}{low:g}, {high:g}{right}" if (low, high) != (-math.inf, math.inf) else ""
    raise ConfigError(f"{name}={value!r}: expected a finite number{bounds}")
