"""Settings that are written as JSON and read back: what optimizers and schedules have in common."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from mlpx.errors import InvalidTypeError, unknown_name


class Configured:
    """An object that is its constructor arguments, each kept in the attribute of the same name.

    Attributes
    ----------
    name : str
        What it is called in a configuration.
    """

    name: ClassVar[str] = ""

    def config(self) -> dict[str, Any]:
        """The constructor arguments as JSON values, and "name": `get(config)` makes an equal object."""
        return {"name": self.name} | {key: _as_json(value) for key, value in self._settings().items()}

    def _settings(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in _arguments(type(self))}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self._settings().items())})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash((type(self), tuple(self._settings().values())))


C = TypeVar("C", bound=Configured)


def build(kind: str, given: str | Mapping[str, Any], table: Mapping[str, type[C]]) -> C:
    """The object that a name, or a configuration with "name" in it, stands for."""
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping):
        raise InvalidTypeError(f"{kind}: expected a name, a configuration or an instance, got {type(given).__name__}")
    settings = dict(given)
    name = settings.pop("name", None)
    if name not in table:
        raise unknown_name(kind, name, table)
    made = table[name]
    required = [p.name for p in _arguments(made).values() if p.default is p.empty]
    if missing := [key for key in required if key not in settings]:
        raise InvalidTypeError(f"{kind} {name!r} needs {', '.join(missing)}")
    return made(**settings)


def _arguments(made: type) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(made).parameters


def _as_json(value: Any) -> Any:
    return value.config() if isinstance(value, Configured) else value
