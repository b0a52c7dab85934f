"""Layers: parameters and ops; no equations here."""

from mlpx.layers.activation import Activation as Activation
from mlpx.layers.base import Layer as Layer
from mlpx.layers.base import Spec as Spec
from mlpx.layers.batch_norm import BatchNorm as BatchNorm
from mlpx.layers.dense import Dense as Dense
from mlpx.layers.dropout import Dropout as Dropout
from mlpx.layers.embedding import Embedding as Embedding
from mlpx.layers.layer_norm import LayerNorm as LayerNorm
from mlpx.layers.shaping import Columns as Columns
from mlpx.layers.shaping import Flatten as Flatten
