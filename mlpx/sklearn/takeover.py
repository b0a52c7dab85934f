"""Make `sklearn.neural_network.MLPClassifier` and `MLPRegressor` resolve to mlpx's in scripts that are not to be changed."""

from __future__ import annotations

import logging
import sys
from typing import Any

from sklearn import neural_network

from mlpx.backend import Device
from mlpx.sklearn.classifier import MLPClassifier
from mlpx.sklearn.placement import use_device
from mlpx.sklearn.regressor import MLPRegressor

logger = logging.getLogger("mlpx.accel")

OURS = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}
_THEIRS: dict[str, Any] = {}
_DEFINED_IN = "sklearn.neural_network._multilayer_perceptron"


def install(device: str | Device | None = None) -> None:
    """From now on, importing scikit-learn's MLP classes gives mlpx's. Names that were imported before stay as they are.

    What is replaced, and what stays scikit-learn's and why, is logged by the logger "mlpx.accel".

    Parameters
    ----------
    device : str or Device, optional
        Where estimators compute that are given host data and no `device` of their own, such as "auto"; by default the host.
    """
    use_device(device)
    logger.info("host data is computed on %s", "the host" if device is None else device)
    modules = (neural_network, sys.modules[_DEFINED_IN])
    for name, ours in OURS.items():
        _THEIRS.setdefault(name, getattr(neural_network, name))
        for module in modules:
            setattr(module, name, ours)
        logger.info("sklearn.neural_network.%s is now mlpx.sklearn.%s", name, name)
    logger.info("sklearn.neural_network.BernoulliRBM stays scikit-learn's: it is no multilayer perceptron")
    for name, module in list(sys.modules.items()):
        kept = [one for one, theirs in _THEIRS.items() if getattr(module, "__dict__", {}).get(one) is theirs]
        if kept:
            logger.warning("%s in module %s stays scikit-learn's: it was imported before", ", ".join(kept), name)


def uninstall() -> None:
    """Undo `install`."""
    for name, theirs in _THEIRS.items():
        for module in (neural_network, sys.modules[_DEFINED_IN]):
            setattr(module, name, theirs)
    _THEIRS.clear()
    use_device(None)
