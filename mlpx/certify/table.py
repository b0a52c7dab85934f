"""A certificate as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isinf

from mlpx.certify.record import SECTIONS, Certificate, Check, DeviceRecord

SHOWN = 8
"""Failures of a section that are written out; the file has them all."""


def render(certificate: Certificate) -> str:
    """One table of devices and sections, then every failure, then what is absent, then the verdict."""
    rows = [("device", *SECTIONS, "seconds", "")]
    rows += [_row(device) for device in certificate.devices]
    parts = [_heading(certificate), "", *aligned(rows)]
    if certificate.devices:
        parts += ["", "In each cell: checks passed, and the largest error as a share of its budget.", *_closest(certificate)]
    for device in certificate.devices:
        if device.failures:
            parts += ["", f"{device.device} fails:", *_failure_lines(device)]
    if certificate.absent:
        parts += ["", "Not certified:"]
        parts += [f"  {one.backend}: {one.reason}\n      → {one.cure}" for one in certificate.absent]
    return "\n".join([*parts, "", _verdict(certificate)])


def _failure_lines(device: DeviceRecord) -> list[str]:
    """The failures of a device, of each section the first few."""
    failing = ([check for check in device.failures if check.section == section] for section in SECTIONS)
    return [line for checks in failing for line in limited((f"  ✗ {check}" for check in checks), SHOWN)]


def _heading(certificate: Certificate) -> str:
    origin = certificate.origin
    commit = str(origin.get("commit") or "")
    tree = f" ({commit[:12]}{'+' * commit.endswith('+')})" if commit else ""
    names = ("python", "numpy")
    versions = ", ".join(f"{name} {origin[name]}" for name in names if origin.get(name))
    lines = [f"mlpx {origin.get('mlpx', '')}{tree}, {versions}; {origin.get('made', '')}"]
    if origin.get("processor"):
        lines.append(f"{origin['processor']}; {origin.get('system', '')}")
    return "\n".join(lines)


def _row(device: DeviceRecord) -> tuple[str, ...]:
    title = f"{device.device}  {device.version}".rstrip()
    cells = (_cell(device.of(section)) for section in SECTIONS)
    return (title, *cells, f"{device.seconds:.1f}", "✓" if device.passed else "✗ fails")


def _cell(checks: Sequence[Check]) -> str:
    """How many checks passed, and how near the worst came to its budget."""
    if not checks:
        return "–"
    passed = sum(check.passed for check in checks)
    count = f"{passed}" if passed == len(checks) else f"{passed} of {len(checks)} ✗"
    if not any(check.budget for check in checks):
        return count
    worst = max(check.share for check in checks)
    return f"{count}  {'∞' if isinf(worst) else f'{worst:.2g}'}"


def _closest(certificate: Certificate) -> list[str]:
    """Of every device, the check that came nearest to its budget."""
    lines = []
    for device in certificate.devices:
        measured = [check for check in device.checks if check.budget and check.error is not None]
        if measured:
            lines.append(f"  {device.device}: worst is {max(measured, key=lambda check: check.share)}")
    return lines


def _verdict(certificate: Certificate) -> str:
    checks = sum(len(device.checks) for device in certificate.devices)
    failed = sum(len(device.failures) for device in certificate.devices)
    if not certificate.devices:
        return "nothing was certified"
    count = len(certificate.devices)
    told = f"{checks} checks on {count} device{'s' * (count > 1)} in {certificate.seconds:.0f} s"
    return f"✓ {told}: all within their budgets" if certificate.passed else f"✗ {told}: {failed} failed"


def limited(lines: Iterable[str], most: int = 40) -> list[str]:
    """The first lines, and how many more there are."""
    every = list(lines)
    return every if len(every) <= most else [*every[:most], f"  … and {len(every) - most} more"]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, columns two spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
