"""Reading the JSON records of an Encoder back: every value is checked, since model files come from anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mlpx.errors import ConfigError


def number(record: Mapping[str, Any], key: str, *, positive: bool = False) -> float:
    """The finite float under a key."""
    value = record.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
        if math.isfinite(value) and (value > 0 or not positive):
            return value
    raise _unfit(record, key, "a finite number above 0" if positive else "a finite number")


def text(record: Mapping[str, Any], key: str) -> str:
    """The string under a key."""
    value = record.get(key)
    if isinstance(value, str):
        return value
    raise _unfit(record, key, "a text")


def texts(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The different strings under a key."""
    values = items(record, key)
    if all(isinstance(value, str) for value in values) and len(set(values)) == len(values):
        return tuple(values)
    raise _unfit(record, key, "a list of different texts")


def items(record: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key."""
    value = record.get(key)
    if isinstance(value, list):
        return value
    raise _unfit(record, key, "a list")


def mapping(value: Any, role: str) -> Mapping[str, Any]:
    """`value`, known to be a mapping."""
    if isinstance(value, Mapping):
        return value
    raise ConfigError(f"encoder: {role} is {type(value).__name__}, expected an object of named values")


def _unfit(record: Mapping[str, Any], key: str, expected: str) -> ConfigError:
    found = repr(record.get(key, "nothing"))[:60]
    return ConfigError(f"encoder: {key!r} of {str(record.get('name', 'the record'))[:60]!r} is {found}, expected {expected}")
