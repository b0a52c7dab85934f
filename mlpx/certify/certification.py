"""Certifying a machine: which devices, each backend in a process of its own, and the sections one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from mlpx import registry, transfer
from mlpx.certify import kernels, networks, ops, precision, random_bits, training, transfers
from mlpx.certify.measuring import CONDUCT, said
from mlpx.certify.observing import observed
from mlpx.certify.origin import origin, processor
from mlpx.certify.processes import certified_elsewhere
from mlpx.certify.record import SECTIONS, Absent, Certificate, Check, DeviceRecord
from mlpx.certify.subject import Subject
from mlpx.errors import ConfigError, unknown_name
from mlpx.registry import Backend, Device
from mlpx.testing.strict_backend import StrictBackend, register_strict

_MEASURED: dict[str, Callable[[Subject], Iterator[Check]]] = {
    "ops": ops.checks,
    "networks": networks.checks,
    "training": training.checks,
    "random": random_bits.checks,
    "transfers": transfers.checks,
    "precision": precision.checks,
}


def certify(devices: Iterable[str | Device] | None = None, *, sections: Iterable[str] | None = None) -> Certificate:
    """Measure how far the backends of this machine are from the definitions.

    Parameters
    ----------
    devices : names of devices or backends, or Devices, optional
        "torch:cuda:0" is one device, "torch" all devices of a backend; by default all devices of all backends that work.
    sections : names out of `mlpx.certify.record.SECTIONS`, optional
        What to check; by default everything. "kernels" says what ran in the other sections that were asked for.

    Returns
    -------
    certificate : Certificate
        `certificate.passed`; `certificate.table()`, a text; `certificate.to_dict()`, JSON values.

    Raises
    ------
    BackendMissingError
        If a device that was named cannot be used here: with the reason and the cure.
    ConfigError
        If a name is unknown.

    Notes
    -----
    Every backend is certified in a process of its own, in which JAX's 64-bit dtypes are switched on unless the environment
    says otherwise; one that was registered in this process only (`mlpx.registry.register`) is certified in this process.
    """
    started = time.perf_counter()
    register_strict()
    chosen_sections = _sections(sections)
    named = None if devices is None else _named(devices)
    absent = _absent() if named is None else ()
    chosen = _present() if named is None else named
    here = {name: wanted for name, wanted in chosen.items() if name in registry.registered()}
    elsewhere = {name: wanted for name, wanted in chosen.items() if name not in here}
    found: dict[str, tuple[DeviceRecord, ...]] = {}
    with ThreadPoolExecutor(max(len(elsewhere), 1)) as threads:
        asked = {name: threads.submit(certified_elsewhere, name, wanted, chosen_sections) for name, wanted in elsewhere.items()}
        for name, wanted in here.items():
            found[name] = certify_backend(name, wanted, chosen_sections)
        found |= {name: future.result() for name, future in asked.items()}
    records = tuple(record for name in chosen for record in found[name])
    return Certificate(records, absent, origin(chosen), round(time.perf_counter() - started, 3))


def certify_backend(name: str, devices: Iterable[str] | None, sections: tuple[str, ...] = SECTIONS) -> tuple[DeviceRecord, ...]:
    """Certify devices of one backend, or all of them, in this process."""
    backend = registry.require(name)
    return tuple(_certified(Subject(backend, device), sections) for device in devices or backend.devices())


def _certified(subject: Subject, sections: tuple[str, ...]) -> DeviceRecord:
    """Everything about one device. A section that breaks is a failure of that section, and the others still run."""
    started = time.perf_counter()
    backend = subject.backend
    checks: list[Check] = []
    try:
        precise: AbstractContextManager[None] = backend.precision("ieee")
    except ConfigError as error:
        precise = nullcontext()
        checks.append(Check("precision", "ieee", CONDUCT, "", "", False, detail=str(error)))
    with precise, observed(backend) as calls:
        for section in sections:
            if section in _MEASURED:
                checks += _section(section, _MEASURED[section], subject)
    if "kernels" in sections:
        checks += kernels.checks(subject, calls)
    return DeviceRecord(
        device=str(subject),
        backend=backend.name,
        version=backend.version(),
        description=_description(backend, subject.device),
        dtypes=subject.floating,
        seconds=round(time.perf_counter() - started, 3),
        checks=tuple(checks),
    )


def _section(name: str, run: Callable[[Subject], Iterator[Check]], subject: Subject) -> list[Check]:
    checks = []
    try:
        for check in run(subject):
            checks.append(check)  # noqa: PERF402 - what came before an error is kept
        backend = subject.backend
        backend.synchronize(subject.device)
    except Exception as error:
        checks.append(Check(name, "all of it", CONDUCT, "", "", False, detail=said(error)))
    return checks


def _description(backend: Backend, device: str) -> str:
    """Which chip it is: the backend knows its accelerators, the system the CPU."""
    return backend.hardware(device) or processor()


def _sections(given: Iterable[str] | None) -> tuple[str, ...]:
    wanted = set(SECTIONS if given is None else given)
    for name in wanted:
        if name not in SECTIONS:
            raise unknown_name("section", name, SECTIONS)
    return tuple(name for name in SECTIONS if name in wanted)


def _named(devices: Iterable[str | Device]) -> dict[str, tuple[str, ...] | None]:
    """Devices by backend, as they were named; None for all of a backend's."""
    chosen: dict[str, tuple[str, ...] | None] = {}
    for spec in devices:
        if isinstance(spec, str) and spec in registry.names():
            registry.require(spec)
            chosen[spec] = None
            continue
        device = transfer.device(spec)
        before = chosen.get(device.backend.name, ())
        if before is not None and device.name not in before:
            chosen[device.backend.name] = (*before, device.name)
    return chosen


def _present() -> dict[str, tuple[str, ...] | None]:
    """All devices of every backend that works here; array-api-strict, which only tests use, when it is named."""
    return dict.fromkeys(name for name in _ordinary() if registry.availability(name).ok)


def _absent() -> tuple[Absent, ...]:
    """The backends that do not work here."""
    found = ((name, registry.availability(name)) for name in _ordinary())
    return tuple(Absent(name, answer.reason, answer.cure) for name, answer in found if not answer.ok)


def _ordinary() -> tuple[str, ...]:
    return tuple(name for name in registry.names() if name not in registry.registered() or not _is_strict(name))


def _is_strict(name: str) -> bool:
    return type(registry.find(name)) is StrictBackend
