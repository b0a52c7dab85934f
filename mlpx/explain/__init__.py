"""Backpropagation as data: computational graphs and traces of networks, with every value on show.

`trace` turns one step of any network into numbers with their equations, each gradient checked; `mlpx.explain.graph` does the
same for a formula. `perceptron_3_3_2` and `mazur` are worked examples.
"""

from mlpx.explain.graph import Graph as Graph
from mlpx.explain.graph import sigmoid_graph as sigmoid_graph
from mlpx.explain.graph_picture import graph_picture as graph_picture
from mlpx.explain.graph_picture import program_picture as program_picture
from mlpx.explain.lessons import mazur as mazur
from mlpx.explain.lessons import perceptron_3_3_2 as perceptron_3_3_2
from mlpx.explain.quantities import LayerTrace as LayerTrace
from mlpx.explain.quantities import Quantity as Quantity
from mlpx.explain.quantities import Trace as Trace
from mlpx.explain.tracing import trace as trace
