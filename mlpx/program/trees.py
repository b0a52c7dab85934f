"""Nested tuples, named tuples, lists and dicts of arrays, and the name of every array in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def mapped(tree: Any, leaf: Callable[[str, Any], Any], path: str = "") -> Any:
    """The tree with `leaf(path, value)` in the place of every value; the path of x in a batch is "batch.x".

    Tuples, lists and dicts are branches, and None is an empty one; everything else is a value.
    """
    prefix = f"{path}." if path else ""
    if tree is None:
        return None
    fields = getattr(tree, "_fields", None)
    if isinstance(tree, tuple) and fields is not None:
        return type(tree)(*(mapped(part, leaf, prefix + name) for name, part in zip(fields, tree, strict=True)))
    if isinstance(tree, tuple | list):
        return type(tree)(mapped(part, leaf, f"{prefix}{i}") for i, part in enumerate(tree))
    if isinstance(tree, dict):
        return {key: mapped(part, leaf, f"{prefix}{key}") for key, part in tree.items()}
    return leaf(path, tree)


def flattened(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """All values of a tree with their paths, in order."""
    found: list[tuple[str, Any]] = []
    mapped(tree, lambda name, value: found.append((name, value)), path)
    return found


def structure(tree: Any) -> Any:
    """What two trees must have in common to hold values in the same places: comparable, without the values."""
    if isinstance(tree, dict):
        return dict, tuple((key, structure(part)) for key, part in tree.items())
    if isinstance(tree, tuple | list):
        return type(tree), tuple(structure(part) for part in tree)
    return None if tree is None else "value"
