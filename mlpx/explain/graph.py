"""Reverse-mode differentiation on a graph of small steps, with every value, local derivative and gradient on show.

Write a formula with variables; each operation computes at once and remembers where its operands came from. A `Graph` walks back
from the result by the chain rule, ∂f/∂a = Σ over the gates that read a of ∂f/∂y · ∂y/∂a.

>>> from mlpx.explain import graph
>>> x = graph.variable(3.0, "x")
>>> g = graph.Graph(x * x + 2 * graph.log(x))
>>> float(g["x"].gradient)  # 2 x + 2 / x
6.666666666666666
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mlpx import transfer
from mlpx.errors import InvalidInputError
from mlpx.explain.nodes import Node, arrays_of, as_array, computed
from mlpx.explain.nodes import activation as activation
from mlpx.explain.nodes import exp as exp
from mlpx.explain.nodes import log as log
from mlpx.explain.nodes import maximum as maximum
from mlpx.explain.nodes import variable as variable
from mlpx.explain.number_text import two_decimals
from mlpx.namespace import namespace_of
from mlpx.typing import Array, Shape

DIFFERENCE_STEP = float(np.finfo(np.float64).eps) ** (
    1 / 3
)  # truncation h² and rounding eps/h of a central difference are equal


class Gate(NamedTuple):
    """A node of a graph after the forward and the backward pass.

    Attributes
    ----------
    number : int
        Its place in the forward order.
    label, name : str
    value : array
        Forward.
    operands : tuple of int
        Numbers of the gates it reads.
    local : tuple of arrays
        ∂value/∂operand for each of them, shaped like value.
    gradient : array
        ∂f/∂value, backward, shaped like value.
    rule : str
        How the local derivatives are found.
    """

    number: int
    label: str
    name: str
    value: Array
    operands: tuple[int, ...]
    local: tuple[Array, ...]
    gradient: Array
    rule: str


class Graph:
    """All nodes that a result depends on, with values, local derivatives and gradients.

    Parameters
    ----------
    output : Node
        f; of an array, the gradients are those of the sum of its elements.
    title : str
        The formula, for pictures.

    Attributes
    ----------
    gates : tuple of Gate
        In the order of the forward pass; the last is f. The backward pass is the reverse.
    """

    def __init__(self, output: Node, title: str = "") -> None:
        self.output = output
        self.title = title
        self._nodes = _in_order(output)
        self._numbers = {id(node): number for number, node in enumerate(self._nodes)}
        names = [node.name for node in self._nodes if node.name]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise InvalidInputError(f"two variables of one name: {', '.join(twice)}; give every variable a name of its own")
        self.gates = self._differentiated()

    @property
    def variables(self) -> dict[str, Gate]:
        """The named leaves."""
        return {gate.name: gate for gate in self.gates if gate.name}

    def __getitem__(self, key: str | Node) -> Gate:
        if isinstance(key, Node) and id(key) in self._numbers:
            return self.gates[self._numbers[id(key)]]
        if isinstance(key, str) and key in self.variables:
            return self.variables[key]
        raise KeyError(f"no {key!r} in this graph (variables: {', '.join(self.variables)})")

    def at(self, values: Mapping[str, Any]) -> Graph:
        """The same formula with other values of some named variables."""
        unknown = sorted(values.keys() - self.variables.keys())
        if unknown:
            raise InvalidInputError(f"no variable {', '.join(unknown)} in this graph (variables: {', '.join(self.variables)})")
        return self._with({self[name].number: variable(value, name) for name, value in values.items()})

    def central_differences(self) -> dict[str, np.ndarray]:
        """∂f/∂variable measured by central differences in float64 on NumPy, two evaluations a number."""
        leaves: dict[int, Any] = {
            gate.number: np.asarray(transfer.to_numpy(gate.value), dtype=np.float64) for gate in self._leaves()
        }
        found = {}
        for gate in self.variables.values():
            base = leaves[gate.number]
            slopes = np.empty(base.shape)
            for place in np.ndindex(base.shape):
                sides = []
                h = DIFFERENCE_STEP * max(1.0, abs(float(base[place])))
                for sign in (1.0, -1.0):
                    moved = base.copy()
                    moved[place] += sign * h
                    values = {number: Node(moved if number == gate.number else array) for number, array in leaves.items()}
                    sides.append((float(moved[place]), float(np.sum(self._with(values, walk=False).value))))
                slopes[place] = (sides[0][1] - sides[1][1]) / (sides[0][0] - sides[1][0])
            found[gate.name] = slopes
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the formula and every gate, with the measured gradient of each variable."""
        measured = self.central_differences()
        return {
            "title": self.title,
            "gates": [
                {
                    "number": gate.number,
                    "label": gate.label,
                    "name": gate.name or None,
                    "operands": list(gate.operands),
                    "value": _plain(gate.value),
                    "local": [_plain(slope) for slope in gate.local],
                    "gradient": _plain(gate.gradient),
                    "central_difference": measured[gate.name].tolist() if gate.name in measured else None,
                    "rule": gate.rule,
                }
                for gate in self.gates
            ],
        }

    def __repr__(self) -> str:
        lines = [
            f"{gate.number:3} {gate.label:10} value {_short(gate.value):>8}  gradient {_short(gate.gradient):>8}"
            for gate in self.gates
        ]
        return "\n".join([self.title or "Graph", *lines])

    def _leaves(self) -> Iterator[Gate]:
        return (gate for gate, node in zip(self.gates, self._nodes, strict=True) if node.operation is None)

    def _with(self, replaced: Mapping[int, Node], *, walk: bool = True) -> Any:
        """The formula computed anew with some leaves replaced: a graph, or without the backward walk its output node."""
        made: list[Node] = []
        for number, node in enumerate(self._nodes):
            if node.operation is None:
                made.append(replaced.get(number, node))
            else:
                made.append(
                    computed(
                        node.operation,
                        tuple(
                            made[self._numbers[id(operand)]] if isinstance(operand, Node) else operand
                            for operand in node.operands
                        ),
                    )
                )
        return Graph(made[-1], self.title) if walk else made[-1]

    def _differentiated(self) -> tuple[Gate, ...]:
        """The chain rule from the output back to the leaves."""
        gradients: dict[int, Array] = {len(self._nodes) - 1: namespace_of(self.output.value).ones_like(self.output.value)}
        gates = []
        for number in range(len(self._nodes) - 1, -1, -1):
            node, gradient = self._nodes[number], gradients[number]
            operands, local = [], []
            arrays = arrays_of(node.operands) if node.operation else ()
            for place, operand in enumerate(node.operands):
                if not isinstance(operand, Node):
                    continue
                assert node.operation is not None
                slope = as_array(node.operation.derivatives[place](*arrays, node.value), node.value)
                at = self._numbers[id(operand)]
                part = _summed_to(gradient * slope, operand.value.shape)
                gradients[at] = as_array(gradients[at] + part if at in gradients else part, operand.value)
                operands.append(at)
                local.append(slope)
            rule = node.operation.rule if node.operation else ""
            gates.append(Gate(number, node.label, node.name, node.value, tuple(operands), tuple(local), gradient, rule))
        return tuple(reversed(gates))


def sigmoid_graph(w: tuple[float, float, float] = (2.0, -3.0, -3.0), x: tuple[float, float] = (-1.0, -2.0)) -> Graph:
    """The lecture's example, f(w, x) = 1 / (1 + e^−(w0 x0 + w1 x1 + w2)), with its usual values."""
    w0, w1, w2 = (variable(float(value), f"w{i}") for i, value in enumerate(w))
    x0, x1 = (variable(float(value), f"x{i}") for i, value in enumerate(x))
    f = 1 / (1 + exp(-(w0 * x0 + w1 * x1 + w2)))
    return Graph(f, "f(w, x) = 1 / (1 + e^−(w₀x₀ + w₁x₁ + w₂))")


def _summed_to(gradient: Array, shape: Shape) -> Array:
    """The gradient of an operand that was broadcast: summed over the axes along which it was repeated."""
    xp = namespace_of(gradient)
    extra = gradient.ndim - len(shape)
    repeated = [axis for axis in range(gradient.ndim) if axis < extra or shape[axis - extra] != gradient.shape[axis]]
    return xp.reshape(xp.sum(gradient, axis=tuple(repeated)), shape) if repeated else gradient


def _in_order(output: Node) -> list[Node]:
    """Every node after those it reads, by a walk without recursion."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(output, False)]
    while stack:
        node, finished = stack.pop()
        if finished:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((one, False) for one in reversed(node.operands) if isinstance(one, Node))
    return order


def _plain(array: Array) -> Any:
    return transfer.to_numpy(array).tolist()


def _short(array: Array) -> str:
    values = transfer.to_numpy(array)
    return two_decimals(float(values)) if values.ndim == 0 else f"{values.shape}"
