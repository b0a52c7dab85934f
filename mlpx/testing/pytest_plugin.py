"""pytest plug-in: fixtures for backend, device and dtype, and a report line that names what did not run and why.

Fixtures: `backend_variant` (a `Variant`; one test a variant, traced ones included where a test asks for it by name), `xp`,
`device`, `dtype`. Options: `--backends`, `--require-backends`. Marks: `mlpx_skip_backend(name, reason=)`,
`mlpx_xfail_backend(name, reason=)`.
mlpx itself is imported when a test first needs it, not when pytest starts.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from mlpx.testing.variants import Variant

SKIP, XFAIL = "mlpx_skip_backend", "mlpx_xfail_backend"
PROPERTY = "mlpx_backend"


class Missing(NamedTuple):
    """A backend that was asked for and cannot run here."""

    name: str
    reason: str
    cure: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason} (cure: {self.cure})"


def pytest_addoption(parser: pytest.Parser) -> None:
    """--backends, --require-backends."""
    group = parser.getgroup("mlpx", "mlpx array backends")
    group.addoption(
        "--backends",
        default="",
        metavar="NAMES",
        help="backends or variants to test on, such as numpy,torch or torch:meta; by default all that are known",
    )
    group.addoption(
        "--require-backends",
        default="",
        metavar="NAMES",
        help="backends that must work here: where one does not, its tests fail instead of being skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks."""
    config.addinivalue_line("markers", f"{SKIP}(name, reason): do not run on this backend or variant")
    config.addinivalue_line("markers", f"{XFAIL}(name, reason): known to fail on this backend or variant; strict")


def _names(config: pytest.Config, option: str) -> list[str]:
    return [name.strip() for name in str(config.getoption(option) or "").split(",") if name.strip()]


def selected(config: pytest.Config) -> list[Variant | Missing]:
    """The variants to test on, and the backends that were asked for and cannot run."""
    from mlpx import registry
    from mlpx.errors import MlpxError
    from mlpx.testing.variants import available_variants

    required = _names(config, "--require-backends")
    names = [*_names(config, "--backends"), *required] if config.getoption("--backends") else [*registry.names(), *required]
    chosen: dict[str, Variant | Missing] = {}
    for name in names:
        backend = name.partition(":")[0]
        try:
            ok, reason, cure = registry.availability(backend)
            if not ok:
                chosen[backend] = Missing(backend, reason, cure)
                continue
            chosen |= {one.name: one for one in available_variants((name,))}
        except MlpxError as error:
            raise pytest.UsageError(str(error)) from error
    return list(chosen.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each variant, where the fixture is ours and asked for."""
    if "backend_variant" not in metafunc.fixturenames:
        return
    if any("backend_variant" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize") if mark.args):
        return
    by_name = "backend_variant" in inspect.signature(metafunc.function).parameters
    variants = [one for one in selected(metafunc.config) if by_name or not getattr(one, "trace", "")]
    metafunc.parametrize(
        "backend_variant", [pytest.param(one, id=one.name, marks=_marks(metafunc, one)) for one in variants], indirect=True
    )


def _marks(metafunc: pytest.Metafunc, one: Variant | Missing) -> list[Any]:
    """What the skip and xfail marks of a test mean for one variant."""
    marks: list[Any] = []
    for kind in (SKIP, XFAIL):
        for mark in metafunc.definition.iter_markers(kind):
            reason = mark.kwargs.get("reason", "")
            if not mark.args or not reason:
                raise pytest.UsageError(f"{metafunc.definition.nodeid}: {kind} takes a backend's name and reason=")
            if mark.args[0] in (one.name, one.name.partition(":")[0]):
                why = f"{one.name}: {reason}"
                marks.append(pytest.mark.skip(reason=why) if kind == SKIP else pytest.mark.xfail(reason=why, strict=True))
    return marks


@pytest.fixture
def backend_variant(request: pytest.FixtureRequest) -> Variant:
    """The way in which code under test is run: library, device, read-only, traced."""
    one = request.param
    if isinstance(one, Missing):
        request.node.user_properties.append((PROPERTY, f"-{one}"))
        if one.name in (name.partition(":")[0] for name in _names(request.config, "--require-backends")):
            pytest.fail(f"required backend {one}", pytrace=False)
        pytest.skip(str(one))
    request.node.user_properties.append((PROPERTY, f"+{one.backend.name}"))
    return one


@pytest.fixture
def xp(backend_variant: Variant) -> Any:
    """The Array API namespace of the library under test."""
    return backend_variant.namespace


@pytest.fixture
def device(backend_variant: Variant) -> Any:
    """The device under test, the library's own object."""
    return backend_variant.backend.native_device(backend_variant.device)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest, backend_variant: Variant) -> Any:
    """The floating dtype under test, the library's own object."""
    if request.param not in backend_variant.floating:
        pytest.skip(f"{backend_variant} does not compute in {request.param}")
    return backend_variant.dtype(request.param)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Iterator[None]:
    """The last line, after pytest's own summary: which backends ran, which did not, and why."""
    yield
    said: dict[str, None] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    said[value] = None
    if said:
        terminalreporter.write_line(report_line(said))


def report_line(said: Iterable[str]) -> str:
    """One line from marks "+name" (ran) and "-name: reason (cure: …)" (did not)."""
    from mlpx import registry

    order = {name: place for place, name in enumerate(registry.names())}
    ran = sorted((one[1:] for one in said if one[0] == "+"), key=lambda name: order.get(name, len(order)))
    missing = sorted(one[1:] for one in said if one[0] == "-")
    line = f"mlpx backends: ran {', '.join(ran) or 'none'}"
    return line + (f"; did not run {'; '.join(missing)}" if missing else "")
