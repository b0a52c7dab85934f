"""Multilayer perceptrons whose equations are written once and run on NumPy, CuPy, PyTorch and JAX."""

from typing import TYPE_CHECKING, Any

from mlpx import errors as errors
from mlpx import layers as layers
from mlpx import losses as losses
from mlpx import optim as optim
from mlpx import random as random
from mlpx.compositions import Parallel as Parallel
from mlpx.compositions import Residual as Residual
from mlpx.compositions import Sequential as Sequential
from mlpx.network import Network as Network
from mlpx.parameters import Parameters as Parameters
from mlpx.train import Trainer as Trainer
from mlpx.train import load as load
from mlpx.transfer import backends as backends
from mlpx.transfer import device as device
from mlpx.transfer import to_device as to_device
from mlpx.transfer import to_numpy as to_numpy

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> Any:
        """`__version__`, looked up when it is asked for: what reads a package's metadata is slow to import."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from mlpx.machine import installed_version

        return installed_version("mlpx") or "0+unknown"  # unknown: a source tree that is not installed
