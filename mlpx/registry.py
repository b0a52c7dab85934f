"""The backends of this machine: how they are found, whether they work, which arrays and kernels are theirs.

A backend is a plug-in package found through the entry-point group `mlpx.backends`. Its entry point names a `Backend`
instance. Importing that package must not import its array library: `probe` says cheaply whether the library can work.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpx.backend import PRECISIONS, Backend, Device
from mlpx.errors import BackendMissingError, InvalidTypeError, unknown_name
from mlpx.machine import Availability, Memory

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "ENTRY_POINT_GROUP",
    "PRECISIONS",
    "Availability",
    "Backend",
    "Device",
    "Memory",
    "availability",
    "backend_of",
    "find",
    "kernel_for",
    "names",
    "register",
    "registered",
    "require",
    "unregister",
]

ENTRY_POINT_GROUP = "mlpx.backends"

_REGISTERED: dict[str, Backend] = {}
_OWNERS: dict[type, Backend | None] = {}
_IN_USE: set[str] = set()
_LOST_IN_FORK: set[str] = set()


def register(backend: Backend) -> None:
    """Make a backend known for the rest of this process, as its entry point would."""
    _REGISTERED[backend.name] = backend
    _forget()


def unregister(name: str) -> None:
    """Undo `register`: the entry point of that name, if there is one, counts again."""
    _REGISTERED.pop(name, None)
    _forget()


def registered() -> tuple[str, ...]:
    """Names of the backends that came by `register`, which other processes do not know of."""
    return tuple(_REGISTERED)


def _forget() -> None:
    _availability.cache_clear()
    _OWNERS.clear()


@cache
def _plugins() -> dict[str, EntryPoint]:
    """Entry points by backend name; what reads them is slow to import, so that is left until they are needed."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in (*_declared_in_source_tree(), *entry_points(group=ENTRY_POINT_GROUP))}


def _declared_in_source_tree() -> tuple[EntryPoint, ...]:
    """What pyproject.toml declares, where mlpx runs from a source tree that was not installed."""
    import tomllib
    from importlib.metadata import EntryPoint, PackageNotFoundError, distribution

    try:
        distribution("mlpx")
        return ()
    except PackageNotFoundError:
        project = Path(__file__).parents[1] / "pyproject.toml"
    try:
        declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["entry-points"][ENTRY_POINT_GROUP]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return ()
    return tuple(EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in declared.items())


def names() -> tuple[str, ...]:
    """Names of all known backends, working or not; NumPy first."""
    return tuple(sorted({*_plugins(), *_REGISTERED}, key=lambda name: (name != "numpy", name)))


@cache
def _load(name: str) -> Backend:
    backend = _plugins()[name].load()
    if not isinstance(backend, Backend) or backend.name != name:
        raise InvalidTypeError(
            f"the entry point {name!r} names {backend!r}, which is no mlpx.registry.Backend instance of that name"
        )
    return backend


def find(name: str) -> Backend:
    """The backend of that name, whether it works here or not.

    Raises
    ------
    ConfigError
        If no backend has that name.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in _plugins():
        raise unknown_name("backend", name, names())
    return _load(name)


@cache
def _availability(name: str) -> Availability:
    try:
        return find(name).probe()
    except Exception as error:  # a plug-in that breaks is an answer, never a traceback
        return Availability(False, f"its plug-in failed: {error!r}", f"reinstall or remove {_provider(name)}")


def _provider(name: str) -> str:
    """The package that a backend came with, in words."""
    entry = _plugins().get(name)
    owner = getattr(entry, "dist", None)
    return f"the package {owner.name!r}" if owner is not None else "the plug-in package that provides it"


def availability(name: str) -> Availability:
    """Whether the backend works here, asked once per process.

    Raises
    ------
    ConfigError
        If no backend has that name.
    """
    if name not in names():
        raise unknown_name("backend", name, names())
    return _availability(name)


def require(name: str) -> Backend:
    """The backend of that name, known to work here.

    Raises
    ------
    ConfigError
        If no backend has that name.
    BackendMissingError
        If it cannot work here: with the reason and the cure.
    """
    ok, reason, cure = availability(name)
    if not ok:
        raise BackendMissingError(f"backend {name!r} is not available: {reason}. Cure: {cure}")
    return _in_use(find(name))


def backend_of(array: Any) -> Backend:
    """The backend that owns an array.

    Raises
    ------
    InvalidTypeError
        If no known backend owns arrays of that type.
    """
    owner = _owner(type(array))
    if owner is None:
        kind = type(array)
        raise InvalidTypeError(
            f"no backend owns {kind.__module__}.{kind.__qualname__} (known: {', '.join(names())}); "
            "convert it to an array of one of these first"
        )
    return _in_use(owner)


def _owner(kind: type) -> Backend | None:
    """The backend whose library defines a type or one of its bases."""
    if kind in _OWNERS:
        return _OWNERS[kind]
    by_library: dict[str, Backend] = {}
    for name in names():
        try:
            backend = find(name)
        except Exception:  # noqa: S112 - a plug-in that breaks owns nothing; `availability` says why
            continue
        by_library |= dict.fromkeys(backend.libraries, backend)
    bases = (base.__module__.partition(".")[0] for base in kind.__mro__)
    owner = _OWNERS[kind] = next((by_library[library] for library in bases if library in by_library), None)
    return owner


def kernel_for(op_name: str, array: Any) -> Callable[..., Any] | None:
    """The kernel that stands in for an op's definition on arrays of this type, if there is one."""
    kind = type(array)
    try:
        owner = _OWNERS[kind]
    except KeyError:
        owner = _owner(kind)
    return None if owner is None else owner.kernels.get(op_name)


def _in_use(backend: Backend) -> Backend:
    """Note that a backend is used, unless it was lost in a fork."""
    if not backend.survives_fork:
        if backend.name in _LOST_IN_FORK:
            raise BackendMissingError(
                f"backend {backend.name!r} was in use when this process was forked, and does not survive that. Cure: start "
                "worker processes with multiprocessing.get_context('spawn')"
            )
        _IN_USE.add(backend.name)
    return backend


def _after_fork() -> None:
    _LOST_IN_FORK.update(_IN_USE)
    _availability.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
