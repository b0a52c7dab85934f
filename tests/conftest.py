"""The tests run from an installed mlpx or from the tree; they use mlpx's own plug-in, as a user's tests would."""

from __future__ import annotations

import os
from collections.abc import Generator
from importlib.metadata import entry_points

import pytest

for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")  # inherited by xdist's workers, of which there are as many as cores
os.environ.setdefault("JAX_ENABLE_X64", "1")  # float64 is opt-in in JAX, and must be asked for before its first use

pytest_plugins = [] if entry_points(group="pytest11", name="mlpx") else ["mlpx.testing.pytest_plugin"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that names a library which is not here is skipped with reason and cure, unless --require-backends wants it."""
    from mlpx.errors import BackendMissingError

    try:
        return (yield)
    except BackendMissingError as error:
        if item.config.getoption("--require-backends"):
            raise
        pytest.skip(str(error))
