"""Can an array library run mlpx at all? About a hundred probes in a second, and which needs are not met."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from mlpx import registry
from mlpx.namespace import device_of, namespace_of, placed_as
from mlpx.testing import budgets
from mlpx.testing.probes import INPUTS, NEEDS, Need
from mlpx.testing.strict_backend import register_strict
from mlpx.typing import Array, Namespace

FINE, DEVIATES, FAILS = "fine", "deviates", "fails"
TERMS = 24
"""Longest sum in a probe."""


class Finding(NamedTuple):
    """What one probe said: `verdict` is "fine", "deviates" (another dtype) or "fails", `detail` why."""

    need: str
    probe: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True)
class BackendReport:
    """What `check_backend` found; `print` it for a table.

    Attributes
    ----------
    library : str
    findings : tuple of Finding
    """

    library: str
    findings: tuple[Finding, ...]

    @property
    def unmet(self) -> tuple[Need, ...]:
        """The needs of which at least one probe fails."""
        failing = {finding.need for finding in self.findings if finding.verdict == FAILS}
        return tuple(need for need in NEEDS if need.name in failing)

    @property
    def ok(self) -> bool:
        """Whether every required need is met."""
        return not any(need.required for need in self.unmet)

    def count(self, verdict: str, need: str | None = None) -> int:
        """How many probes (of one need) ended so."""
        return sum(one.verdict == verdict and need in (None, one.need) for one in self.findings)

    def __str__(self) -> str:
        """A table by need, then each probe that is not fine, then the verdict."""
        lines = [f"{self.library}: {len(self.findings)} probes", f"{'need':<16}{FINE:>6}{DEVIATES:>10}{FAILS:>7}  without it"]
        lines += [
            f"{need.name:<16}{self.count(FINE, need.name):>6}{self.count(DEVIATES, need.name):>10}"
            f"{self.count(FAILS, need.name):>7}  {need.without}"
            for need in NEEDS
        ]
        lines += [f"  {one.verdict}: {one.need}, {one.probe}: {one.detail}" for one in self.findings if one.verdict != FINE]
        if self.ok:
            missing = "; ".join(need.without for need in self.unmet)
            lines.append(f"{self.library} can run mlpx" + (f" ({missing})" if missing else ""))
        else:
            lines.append(f"{self.library} cannot run mlpx: {', '.join(need.name for need in self.unmet if need.required)} fail")
        return "\n".join(lines)


class _Inputs(SimpleNamespace):
    """What probes take, placed on the library; asked for one that could not be placed, it says so."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"not tried: its input {name!r} could not be made")


class _Library(NamedTuple):
    """A library under probe: its namespace, and how NumPy arrays get in and out."""

    name: str
    xp: Namespace
    put: Callable[[np.ndarray], Array]
    get: Callable[[Array], np.ndarray]


def check_backend(library: Any) -> BackendReport:
    """Probe whether an array library can run mlpx.

    Parameters
    ----------
    library : str or module
        A known backend's name, or any module that speaks the Array API standard: no plug-in is needed.

    Returns
    -------
    report : BackendReport
        `report.ok`; `report.unmet`, the needs that fail; `str(report)`, a table.

    Raises
    ------
    ConfigError
        If `library` is a name that no backend has.
    BackendMissingError
        If that backend cannot work here.

    Examples
    --------
    >>> import numpy
    >>> from mlpx.testing import check_backend
    >>> report = check_backend(numpy)
    >>> report.ok, report.count("fails")
    (True, 0)
    """
    probed = _known_backend(library) if isinstance(library, str) else _any_module(library)
    inputs, findings = _placed_inputs(probed)
    expected_inputs = SimpleNamespace(**INPUTS, xp=np, kw={})
    inputs.xp, inputs.kw = probed.xp, placed_as(inputs.x) if "x" in vars(inputs) else {}
    for need in NEEDS:
        for name, probe in need.probes.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = probe(expected_inputs)
                findings.append(_probe(need.name, name, probe, expected, inputs, probed))
    return BackendReport(probed.name, tuple(findings))


def _known_backend(name: str) -> _Library:
    register_strict()
    backend = registry.require(name)
    device = backend.devices()[0]
    return _Library(name, backend.namespace(), lambda array: backend.from_numpy(array, device), backend.to_numpy)


def _any_module(module: Any) -> _Library:
    """A module as it would be used: through the namespace that its arrays are found to belong to, if any."""
    name = getattr(module, "__name__", type(module).__name__).removeprefix("array_api_compat.")
    try:
        xp = namespace_of(module.asarray([1.0]))
    except Exception:  # then "namespace_of" is one of the probes that fail
        xp = module
    return _Library(name, xp, lambda array: _put(xp, array), _get)


def _put(xp: Namespace, array: np.ndarray) -> Array:
    dtype = getattr(xp, str(array.dtype))
    return xp.asarray(array.tolist(), dtype=dtype) if array.size else xp.zeros(array.shape, dtype=dtype)


def _get(array: Any) -> np.ndarray:
    """The values of an array, by the standard's way out or, where a library lacks it, by NumPy's."""
    try:
        return np.array(np.from_dlpack(array, device="cpu", copy=True))
    except Exception:
        return np.array(array)


def _placed_inputs(probed: _Library) -> tuple[_Inputs, list[Finding]]:
    """The inputs on the library, and one finding for each way in and out."""
    inputs, findings = _Inputs(), []
    for name, array in INPUTS.items():
        what = f"{array.dtype} array of shape {array.shape} in and out"
        try:
            placed = probed.put(array)
            setattr(inputs, name, placed)
            verdict, detail = _compare(placed, array, None, probed)
        except Exception as error:
            verdict, detail = FAILS, _said(error)
        findings.append(Finding("creation", what, verdict, detail))
    return inputs, findings


def _probe(need: str, name: str, run: Callable[[Any], Any], expected: Any, inputs: _Inputs, probed: _Library) -> Finding:
    try:
        results = run(inputs)
        results = results if isinstance(results, tuple) else (results,)
        wanted = expected if isinstance(expected, tuple) else (expected,)
        device = device_of(inputs.x)
        verdicts = [_compare(one, np.asarray(right), device, probed) for one, right in zip(results, wanted, strict=True)]
    except Exception as error:
        return Finding(need, name, FAILS, _said(error))
    return Finding(need, name, *_worst(verdicts))


def _worst(verdicts: Iterable[tuple[str, str]]) -> tuple[str, str]:
    return max(verdicts, key=lambda verdict: (FINE, DEVIATES, FAILS).index(verdict[0]))


def _compare(result: Array, expected: np.ndarray, device: Any, probed: _Library) -> tuple[str, str]:
    """Verdict and detail on one result."""
    if tuple(result.shape) != expected.shape:
        return FAILS, f"shape {tuple(result.shape)}, expected {expected.shape}"
    if device is not None and device_of(result) != device:
        return FAILS, f"on device {device_of(result)}, expected {device}"
    values = probed.get(result)
    if np.issubdtype(expected.dtype, np.floating):
        coarser = (
            min((values.dtype, expected.dtype), key=lambda dtype: -np.finfo(dtype).eps) if values.dtype.kind == "f" else "f4"
        )
        error = budgets.error_in_eps(values, expected, coarser)
        if not error <= budgets.normalising(TERMS):
            return FAILS, f"wrong values: error {error:.3g} eps of the largest"
    elif not np.array_equal(values, expected):
        return FAILS, "wrong values"
    found = str(result.dtype).rpartition(".")[2]
    if found != str(expected.dtype):
        return DEVIATES, f"dtype {found}, expected {expected.dtype}"
    return FINE, ""


def _said(error: Exception) -> str:
    """The first line of an exception."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}"
