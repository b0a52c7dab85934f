"""Two certificates side by side: what has changed from one to the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlpx.certify.record import Certificate, Check
from mlpx.certify.table import limited

NOTICEABLE = 0.5
"""Eps of the result's scale: one rounding. Smaller changes of an error are not listed."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What changed from a certificate to a later one; every item a line of text.

    Attributes
    ----------
    versions : tuple of str
        Versions, commits and machines that differ.
    devices : tuple of str
        Devices that came or went.
    added, removed : tuple of str
        Checks that only one of them has, on devices that both have.
    broken, mended : tuple of str
        Checks that passed and fail now, and the other way round.
    grown, shrunk : tuple of str
        Errors that changed by half an eps or more, the largest change first.
    ran : tuple of str
        Ops of which another kernel, or the definition, ran.
    """

    versions: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    shrunk: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing that passed fails now."""
        return not self.broken

    def table(self) -> str:
        """All of it as text."""
        headings = {
            "Passed before, fails now": self.broken,
            "Failed before, passes now": self.mended,
            "Versions and machines": self.versions,
            "Devices": self.devices,
            "What ran": self.ran,
            "Errors that grew": self.grown,
            "Errors that shrank": self.shrunk,
            "New checks": self.added,
            "Checks no longer made": self.removed,
        }
        blocks = [
            "\n".join([f"{heading}:", *limited(f"  {line}" for line in lines)]) for heading, lines in headings.items() if lines
        ]
        return "\n\n".join(blocks) if blocks else "no change"


def compare(before: Certificate, after: Certificate) -> Comparison:
    """What changed between two certificates.

    Parameters
    ----------
    before, after : Certificate

    Returns
    -------
    comparison : Comparison
        `comparison.passed` is False where something that passed in `before` fails in `after`.
    """
    old, new = _by_key(before), _by_key(after)
    both = [(key, old[key], new[key]) for key in old if key in new]
    shared = {device.device for device in before.devices} & {device.device for device in after.devices}
    changed = sorted(_changes(both), key=lambda change: -abs(change[0]))
    broken = [f"{key[0]}: {now}" for key, was, now in both if was.passed and not now.passed]
    # A section or process that broke leaves a failure without a counterpart, instead of the checks that are missing.
    broken += [f"{key[0]}: {new[key]}" for key in new if key not in old and not new[key].passed and _was_fine(before, key[0])]
    return Comparison(
        versions=tuple(_version_lines(before, after)),
        devices=tuple(_device_lines(before, after)),
        added=tuple(f"{key[0]}: {new[key]}" for key in new if key not in old and key[0] in shared),
        removed=tuple(f"{key[0]}: {old[key]}" for key in old if key not in new and key[0] in shared),
        broken=tuple(broken),
        mended=tuple(f"{key[0]}: {now}" for key, was, now in both if now.passed and not was.passed),
        grown=tuple(line for change, line in changed if change > 0),
        shrunk=tuple(line for change, line in changed if change < 0),
        ran=tuple(
            f"{key[0]}: {now.name}, {now.quantity} ({now.way}, {now.dtype}): {was.ran or 'nothing'} → {now.ran or 'nothing'}"
            for key, was, now in both
            if was.ran != now.ran
        ),
    )


def _by_key(certificate: Certificate) -> dict[Key, Check]:
    return {(device.device, *check.key): check for device in certificate.devices for check in device.checks}


def _was_fine(certificate: Certificate, device: str) -> bool:
    """Whether a device, or another device of its backend, passed before."""
    backend = device.partition(":")[0]
    return any(one.passed and one.backend == backend for one in certificate.devices)


def _changes(both: Iterable[tuple[Key, Check, Check]]) -> Iterator[tuple[float, str]]:
    """By how much an error changed, and a line that says so."""
    for key, was, now in both:
        if was.error is None or now.error is None or abs(now.error - was.error) < NOTICEABLE:
            continue
        how = ", ".join(part for part in (now.way, now.dtype) if part)
        line = f"{key[0]}: {now.section}: {now.name}, {now.quantity} ({how}): {was.error:.3g} → {now.error:.3g} eps"
        yield now.error - was.error, f"{line} (budget {now.budget:.3g})"


def _version_lines(before: Certificate, after: Certificate) -> Iterator[str]:
    for name in dict.fromkeys((*before.origin, *after.origin)):
        was, now = before.origin.get(name), after.origin.get(name)
        if was != now and name != "made":
            yield f"{name}: {was or 'none'} → {now or 'none'}"
    old = {device.device: device for device in before.devices}
    for now in after.devices:
        was = old.get(now.device)
        for name in ("version", "description", "dtypes") if was is not None else ():
            one, other = getattr(was, name), getattr(now, name)
            if one != other:
                yield f"{now.device}, {name}: {_shown(one)} → {_shown(other)}"


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value or "none")


def _device_lines(before: Certificate, after: Certificate) -> Iterator[str]:
    old, new = ({device.device for device in one.devices} for one in (before, after))
    reasons = {one.backend: one.reason for one in after.absent}
    for name in sorted(old - new):
        reason = reasons.get(name.partition(":")[0])
        yield f"{name} is no longer there" + (f": {reason}" if reason else "")
    for name in sorted(new - old):
        yield f"{name} is new"
