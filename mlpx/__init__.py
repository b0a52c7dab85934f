"""Multilayer perceptrons whose equations are written once and run on NumPy, CuPy, PyTorch and JAX."""

from importlib.metadata import PackageNotFoundError, version

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

try:
    __version__ = version("mlpx")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
