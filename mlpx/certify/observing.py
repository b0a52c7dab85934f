"""What really ran, and what was read on the host meanwhile: calls counted while others compute."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import chain
from typing import Any
from unittest.mock import patch

from mlpx import registry
from mlpx.ops.definition import OPS, UPDATES, Op
from mlpx.registry import Backend

HOST_ROUTES = (
    *("__array__", "__dlpack__", "__bool__", "__int__", "__float__", "__index__", "__complex__"),
    *("numpy", "cpu", "get", "item", "tolist"),
)
"""Methods through which array libraries hand values to the host."""
BACKEND_ROUTES = ("from_numpy", "to_numpy", "move")


class Calls:
    """How often a backend's kernels, and definitions, were called.

    Attributes
    ----------
    backend : Backend
    kernels : Counter of str
        Calls of the kernel that stands in for an op, by the op's name.
    fell_back : Counter of str
        Those of them that called the definition they stand in for with the very arrays they were given. On parts of them
        it may be called: so a kernel works block by block.
    definitions : Counter of str
        Calls of definitions, by the op's name.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.kernels: Counter[str] = Counter()
        self.fell_back: Counter[str] = Counter()
        self.definitions: Counter[str] = Counter()
        self._running: list[tuple[str, tuple[Any, ...]]] = []
        self._handed_back: Counter[str] = Counter()

    def counted_kernel(self, name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """The kernel, counting its calls and whether it hands them back to the definition."""

        @wraps(kernel)
        def run(*arrays: Any, **attributes: Any) -> Any:
            before = self._handed_back[name]
            self.kernels[name] += 1
            self._running.append((name, arrays))
            try:
                return kernel(*arrays, **attributes)
            finally:
                self._running.pop()
                self.fell_back[name] += self._handed_back[name] > before

        return run

    def counted_definition(self, name: str, definition: Callable[..., Any]) -> Callable[..., Any]:
        """The definition, counting its calls."""

        @wraps(definition)
        def run(*arrays: Any, **attributes: Any) -> Any:
            self.definitions[name] += 1
            for running, given in self._running:
                if running == name and len(given) == len(arrays) and all(map(operator.is_, given, arrays)):
                    self._handed_back[name] += 1
            return definition(*arrays, **attributes)

        return run

    def verdict(self, name: str) -> tuple[str, str]:
        """What ran of an op, and what is wrong with that: a kernel that the backend registers must have run."""
        kernel = self.backend.kernels.get(name)
        if kernel is None:
            return ("definition", "") if self.definitions[name] else ("", f"the definition of {name!r} was not called")
        title = kernel_title(kernel)
        if not self.kernels[name]:
            return "definition", f"{title} is registered for {name!r} and did not run"
        if self.fell_back[name] == self.kernels[name]:
            return "definition", f"{title} was called for {name!r} and handed every call back to the definition"
        return title, ""


def kernel_title(kernel: Callable[..., Any]) -> str:
    """A kernel's module and name."""
    return f"{getattr(kernel, '__module__', '')}.{getattr(kernel, '__qualname__', type(kernel).__qualname__)}".lstrip(".")


def all_ops() -> Iterator[Op]:
    """Every op, its backward pass, and every update rule."""
    for op in chain(OPS.values(), UPDATES.values()):
        yield op
        if hasattr(op, "gradient"):
            yield op.gradient


@contextmanager
def observed(backend: Backend) -> Iterator[Calls]:
    """Count calls of a backend's kernels, and of definitions."""
    calls = Calls(backend)
    look_up = registry.kernel_for

    def counted_look_up(name: str, array: Any) -> Callable[..., Any] | None:
        kernel = look_up(name, array)
        if kernel is None or registry.backend_of(array) is not backend:
            return kernel
        return calls.counted_kernel(name, kernel)

    with ExitStack() as stack:
        stack.enter_context(patch.object(registry, "kernel_for", counted_look_up))
        for op in all_ops():
            counted = calls.counted_definition(op.name, op.definition)
            stack.enter_context(patch.multiple(op, definition=counted, __wrapped__=counted))
        yield calls


@contextmanager
def definitions_only() -> Iterator[None]:
    """No kernel stands in for any definition."""
    with patch.object(registry, "kernel_for", lambda *_: None):
        yield


@contextmanager
def host_reads(backend: Backend, array: Any) -> Iterator[Counter[str]]:
    """Count moves and reads of values by the host, on arrays of `array`'s type.

    Types written in C cannot be watched; the libraries that have them refuse such reads themselves, or are run traced too.
    """
    counted: Counter[str] = Counter()

    def counting(route: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def run(*arguments: Any, **keywords: Any) -> Any:
            counted[route] += 1
            return method(*arguments, **keywords)

        return run

    with ExitStack() as stack:
        for name in BACKEND_ROUTES:
            stack.enter_context(patch.object(backend, name, counting(f"{backend.name}.{name}", getattr(backend, name))))
        kind = type(array)
        for name in HOST_ROUTES:
            if callable(getattr(kind, name, None)):
                try:
                    stack.enter_context(patch.object(kind, name, counting(f"{kind.__name__}.{name}", getattr(kind, name))))
                except (TypeError, AttributeError):
                    continue
        yield counted
