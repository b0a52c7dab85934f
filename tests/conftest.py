"""The tests run from an installed mlpx or from the tree; they use mlpx's own plug-in, as a user's tests would."""

from __future__ import annotations

import os
from importlib.metadata import entry_points

for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")  # inherited by xdist's workers, of which there are as many as cores
os.environ.setdefault("JAX_ENABLE_X64", "1")  # float64 is opt-in in JAX, and must be asked for before its first use

pytest_plugins = [] if entry_points(group="pytest11", name="mlpx") else ["mlpx.testing.pytest_plugin"]
