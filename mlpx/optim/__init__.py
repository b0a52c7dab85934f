"""Update rules on the flat parameter vector, learning-rate schedules, clipping and averaging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpx.optim.adam import Adam as Adam
from mlpx.optim.adam import AdamW as AdamW
from mlpx.optim.averaging import ema_read as ema_read
from mlpx.optim.averaging import ema_update as ema_update
from mlpx.optim.averaging import ema_written as ema_written
from mlpx.optim.base import OPTIMIZERS
from mlpx.optim.base import Optimizer as Optimizer
from mlpx.optim.clipping import clip_by_global_norm as clip_by_global_norm
from mlpx.optim.clipping import clip_by_value as clip_by_value
from mlpx.optim.lbfgs import LBFGS as LBFGS
from mlpx.optim.lbfgs import LBFGSState as LBFGSState
from mlpx.optim.plateau import ReduceOnPlateau as ReduceOnPlateau
from mlpx.optim.rmsprop import RMSprop as RMSprop
from mlpx.optim.schedules import Constant as Constant
from mlpx.optim.schedules import Cosine as Cosine
from mlpx.optim.schedules import Exponential as Exponential
from mlpx.optim.schedules import FunctionOfStep as FunctionOfStep
from mlpx.optim.schedules import Schedule as Schedule
from mlpx.optim.schedules import StepDecay as StepDecay
from mlpx.optim.schedules import WarmUp as WarmUp
from mlpx.optim.settings import build
from mlpx.optim.sgd import SGD as SGD


def get(given: str | Mapping[str, Any] | Optimizer | LBFGS) -> Any:
    """The optimizer that a name or a configuration stands for.

    Parameters
    ----------
    given : str, mapping or optimizer
        "adam" is Adam with its defaults; a mapping is what `config()` returned; an optimizer is returned as it is.

    Returns
    -------
    optimizer : Optimizer or LBFGS

    Raises
    ------
    ConfigError
        If there is no optimizer of that name, or a setting is out of range.
    InvalidTypeError
        If `given` is none of these, or has a setting that the optimizer does not take.

    Examples
    --------
    >>> get("sgd")
    SGD(learning_rate=Constant(rate=0.01), momentum=0.0, nesterov=False)
    >>> get({"name": "adam", "learning_rate": 0.01}).learning_rate
    Constant(rate=0.01)
    """
    if isinstance(given, Optimizer | LBFGS):
        return given
    return build("optimizer", given, OPTIMIZERS)
