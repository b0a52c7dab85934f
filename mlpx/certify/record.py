"""What a certificate holds, and its JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlpx.errors import DataFileError
from mlpx.store.strict_json import decode

FORMAT = "mlpx certificate"
FORMAT_VERSION = 1
SECTIONS = ("ops", "networks", "training", "random", "transfers", "precision", "kernels")
"""What is checked on every device, in the order in which it is shown."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked on a device.

    Attributes
    ----------
    section : str
        One of `SECTIONS`.
    name : str
        Op, network, optimizer, draw, kernel: "gelu", "swish-beta".
    quantity : str
        What of it: "y", "gradient of z", "conduct".
    way : str
        "eager"; a traced form of the backend, such as "jit"; or "compiled", by the backend's own `compile`.
    dtype : str
    passed : bool
    error, budget : float or None
        In eps of the result's scale (`mlpx.testing.budgets`); None where there is nothing to measure, or the result is not
        finite.
    ran : str
        "definition", or module and name of the kernel that was seen to run.
    detail : str
        What went wrong, or a digest of what came out.
    """

    section: str
    name: str
    quantity: str
    way: str
    dtype: str
    passed: bool
    error: float | None = None
    budget: float | None = None
    ran: str = ""
    detail: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same check in another certificate."""
        return self.section, self.name, self.quantity, self.way, self.dtype

    @property
    def share(self) -> float:
        """The error as a share of its budget; 0 where there is none of either."""
        if self.error is None or not self.error:
            return 0.0
        return self.error / self.budget if self.budget else math.inf

    def __str__(self) -> str:
        """One line, such as "ops: gelu, gradient of z (eager, float32): error 31 eps (budget 16)"."""
        how = ", ".join(part for part in (self.way, self.dtype) if part)
        text = f"{self.section}: {self.name}, {self.quantity}" + (f" ({how})" if how else "")
        if self.error is not None and self.budget is not None:
            text += f": error {self.error:.3g} eps (budget {self.budget:.3g})"
        return text + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True)
class DeviceRecord:
    """Everything that was checked on one device.

    Attributes
    ----------
    device : str
        As `mlpx.device` takes it: "torch:cuda:0".
    backend, version : str
        Name of the backend, and installed version of its library.
    description : str
        Which processor or GPU it is.
    dtypes : tuple of str
        Floating dtypes in which the library computes here.
    seconds : float
    checks : tuple of Check
    """

    device: str
    backend: str
    version: str = ""
    description: str = ""
    dtypes: tuple[str, ...] = ()
    seconds: float = 0.0
    checks: tuple[Check, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether something was checked and nothing failed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    def of(self, section: str) -> tuple[Check, ...]:
        """The checks of one section."""
        return tuple(check for check in self.checks if check.section == section)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DeviceRecord:
        """The record that `dataclasses.asdict` took apart."""
        checks = tuple(Check(**check) for check in values["checks"])
        return cls(**{**values, "dtypes": tuple(values["dtypes"]), "checks": checks})


@dataclass(frozen=True)
class Absent:
    """A backend that cannot work here: why, and the cure."""

    backend: str
    reason: str
    cure: str


@dataclass(frozen=True)
class Certificate:
    """What every backend of this machine was found to compute.

    Attributes
    ----------
    devices : tuple of DeviceRecord
    absent : tuple of Absent
    origin : dict
        When, where and with what it was made: "made", "mlpx", "commit", "python", "numpy", "system", "processor",
        "environment".
    seconds : float
        Wall time of all of it.
    """

    devices: tuple[DeviceRecord, ...]
    absent: tuple[Absent, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every device passed, and there was one. An absent backend is no failure."""
        return bool(self.devices) and all(device.passed for device in self.devices)

    def table(self) -> str:
        """The certificate as text: one table, then every failure, then what is absent."""
        from mlpx.certify.table import render  # which reads records

        return render(self)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {"format": FORMAT, "format_version": FORMAT_VERSION, "passed": self.passed, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Certificate:
        """The certificate that `to_dict` took apart.

        Raises
        ------
        DataFileError
            If it is not one of ours, or of a newer version.
        """
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise DataFileError(f"this is no {FORMAT}; make one with: mlpx certify --json FILE")
        if values.get("format_version") != FORMAT_VERSION:
            raise DataFileError(
                f"this {FORMAT} has format version {values.get('format_version')!r}, this mlpx reads {FORMAT_VERSION}; "
                "make it anew with: mlpx certify --json FILE"
            )
        try:
            devices = tuple(DeviceRecord.from_dict(device) for device in values["devices"])
            absent = tuple(Absent(**one) for one in values["absent"])
            return cls(devices, absent, values["origin"], values["seconds"])
        except (KeyError, TypeError) as error:
            raise DataFileError(f"this {FORMAT} is damaged ({type(error).__name__}: {error}); make it anew") from None


def write(certificate: Certificate, file: str | Path) -> None:
    """Write a certificate as JSON, one check a line."""
    text = json.dumps(certificate.to_dict(), allow_nan=False, ensure_ascii=False)
    for start in ('{"device"', '{"section"'):  # no string holds these: quotes within strings are escaped
        text = text.replace(start, "\n" + start)
    Path(file).write_text(text + "\n", encoding="utf-8")


def read(file: str | Path) -> Certificate:
    """The certificate in a file.

    Raises
    ------
    DataFileError
        If there is none: with the file's name.
    """
    try:
        return Certificate.from_dict(decode(Path(file).read_bytes()))
    except FileNotFoundError:
        raise DataFileError(f"{file}: there is no such file") from None
    except ValueError as error:  # DataFileError is one
        raise DataFileError(f"{file}: {error}") from None
