"""Run a script with mlpx's perceptrons in place of scikit-learn's."""

from __future__ import annotations

import logging
import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from mlpx.errors import BackendMissingError, DataFileError


def run(script: Path, arguments: Sequence[str], *, device: str | None = None, verbose: bool = False) -> None:
    """Run `script` as `python script arguments…` would, with `mlpx.sklearn.install` called first.

    Parameters
    ----------
    script : Path
    arguments : sequence of str
        What the script finds in `sys.argv[1:]`.
    device : str, optional
        Where host data is computed; by default where it is.
    verbose : bool
        Whether to say what was replaced; what was not, and why, is always said.

    Raises
    ------
    BackendMissingError
        If scikit-learn is not installed, or the device is not there.
    DataFileError
        If there is no such script.
    """
    if not script.is_file():
        raise DataFileError(f"{script}: no such script")
    try:
        from mlpx.sklearn import install
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise
        cure = "pip install 'mlpx[sklearn]'"
        raise BackendMissingError(f"mlpx accel needs scikit-learn, which is not installed: {cure}") from None
    _log_to_stderr(logging.INFO if verbose else logging.WARNING)
    install(device)
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(script.resolve().parent)  # as Python does for a script
    try:
        runpy.run_path(str(script), run_name="__main__")
    except Exception:  # the script's own, not ours to explain
        traceback.print_exc()
        raise SystemExit(1) from None


def _log_to_stderr(level: int) -> None:
    logger = logging.getLogger("mlpx.accel")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("mlpx accel: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)
