"""JSON as data and nothing else: what is written reads back the same, what is read is bounded and unambiguous.

Python's `json` alone writes NaN, turns the key 1 into "1", reads `1e999` as infinity, and lets the last of two equal keys win.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

from mlpx.errors import InvalidInputError, InvalidTypeError

MAX_DEPTH = 64
MAX_DIGITS = 400  # of one number: more than any float or counter has

_TOO_LONG = 10**MAX_DIGITS
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{}\]]', re.DOTALL)  # possessive and never failing: linear on any text


def encode(value: Any, name: str) -> str:
    """ASCII text of `value`; `name` is what errors call it.

    Raises
    ------
    InvalidTypeError
        Something in it is no str, int, float, bool, None, list, tuple or mapping with str keys.
    InvalidInputError
        A number is not finite or has more than 400 digits, or lists lie deeper than 64.
    """
    _check(value, name, 0)
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def decode(text: bytes | str) -> Any:
    """The value that JSON text stands for; ValueError with the reason if the text is not strict JSON."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    _check_depth(text)
    return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole)


def _check(value: Any, name: str, depth: int) -> None:
    """Raise for what would not come back as it went in."""
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"{name[:80]}…: nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidTypeError(f"{name}: key {key!r} is of type {type(key).__name__}; JSON keys are str")
            _check(item, f"{name}[{key!r}]", depth + 1)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _check(item, f"{name}[{position}]", depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInputError(f"{name} is {value}; JSON has no such number, use None or a string")
    elif isinstance(value, int):
        if abs(value) >= _TOO_LONG:
            raise InvalidInputError(f"{name} has more than {MAX_DIGITS} digits; store it as a string")
    elif not isinstance(value, str | None):
        kinds = "str, int, float, bool, None, list, tuple and dict (arrays go with the arrays)"
        raise InvalidTypeError(f"{name} is of type {type(value).__name__}; stored are {kinds}")


def _check_depth(text: str) -> None:
    """Refuse JSON text whose brackets nest too deep, before a parser recurses into them."""
    depth = 0
    for token in _TOKEN.finditer(text):
        bracket = token[0]
        if bracket in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH}")
        elif bracket in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of the pairs, refusing a key given twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {repeated!r:.80} is given twice")
    return found


def _refuse_constant(text: str) -> NoReturn:
    """Refuse NaN and the infinities, which JSON does not have."""
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    """The float that text stands for, if a float can hold it."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"number {text[:20]} is beyond float64")
    return number


def _whole(text: str) -> int:
    """The int that text stands for, if it is of sane length."""
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)
