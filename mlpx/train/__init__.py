"""Training: the Trainer, its history, and the callbacks that watch it."""

from mlpx.train.callbacks import Callback as Callback
from mlpx.train.callbacks import EarlyStopping as EarlyStopping
from mlpx.train.callbacks import Tolerance as Tolerance
from mlpx.train.history import History as History
from mlpx.train.model import Model as Model
from mlpx.train.model import load as load
from mlpx.train.trainer import Trainer as Trainer
