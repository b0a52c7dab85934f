"""What training minimises: named losses, a user's own, and the checks of their targets."""

from mlpx.losses.base import Loss as Loss
from mlpx.losses.base import weighted_mean as weighted_mean
from mlpx.losses.named import LOSSES as LOSSES
from mlpx.losses.named import MAE as MAE
from mlpx.losses.named import MSE as MSE
from mlpx.losses.named import FunctionLoss as FunctionLoss
from mlpx.losses.named import HalfSquaredError as HalfSquaredError
from mlpx.losses.named import Huber as Huber
from mlpx.losses.named import Poisson as Poisson
from mlpx.losses.named import Quantile as Quantile
from mlpx.losses.named import SigmoidCrossEntropy as SigmoidCrossEntropy
from mlpx.losses.named import SoftmaxCrossEntropy as SoftmaxCrossEntropy
from mlpx.losses.named import get as get
