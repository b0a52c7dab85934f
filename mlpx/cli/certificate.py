"""`mlpx certify`: measure this machine, or compare two measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlpx.certify import certify, compare, read, write
from mlpx.errors import ConfigError, DataFileError


def run(devices: Sequence[str], file: Path | None) -> tuple[str, bool]:
    """Certify devices, or all of this machine, and write the certificate if a file is named.

    Parameters
    ----------
    devices : names; all devices of this machine if there is none
    file : path, optional

    Returns
    -------
    text : str
        The table.
    passed : bool

    Raises
    ------
    DataFileError
        If the file cannot be written: before anything is measured.
    """
    if file is not None and not file.absolute().parent.is_dir():
        raise DataFileError(f"{file}: there is no folder {file.absolute().parent}; make it first")
    certificate = certify(devices or None)
    if file is not None:
        write(certificate, file)
    return certificate.table(), certificate.passed


def compared(devices: Sequence[str], file: Path | None, pair: tuple[Path, Path]) -> tuple[str, bool]:
    """What changed from one certificate to another, and whether everything that passed still does.

    Raises
    ------
    ConfigError
        If something to measure is given too.
    DataFileError
        If a file is no certificate.
    """
    if devices or file is not None:
        raise ConfigError("--compare reads two certificates and measures nothing: leave --device and --json out")
    comparison = compare(*(read(one) for one in pair))
    return comparison.table(), comparison.passed
