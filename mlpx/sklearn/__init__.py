"""scikit-learn's multilayer perceptrons on mlpx: the same classes, on any array library and with what users asked for.

>>> from mlpx.sklearn import MLPClassifier, MLPRegressor
"""

from mlpx.sklearn.classifier import MLPClassifier as MLPClassifier
from mlpx.sklearn.regressor import MLPRegressor as MLPRegressor
from mlpx.sklearn.takeover import install as install
from mlpx.sklearn.takeover import uninstall as uninstall
