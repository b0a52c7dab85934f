"""Running regions as the loops that their roles describe, element by element: what a generated kernel does, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.program.interpret import OPERATORS, interpret
from mlpx.program.ir import Literal, Node, Program, Value
from mlpx.program.primitives import ELEMENTWISE
from mlpx.program.rewrite.roles import REARRANGEMENT, REDUCIBLE

COMBINED = {"sum": np.add, "mean": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
COMBINED |= {"any": np.logical_or, "all": np.logical_and}


def looped(program: Program, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a program whose regions are run row by row, or column by column."""
    held: dict[Value, np.ndarray] = dict(zip(program.inputs, inputs, strict=True))
    held |= program.constants
    for node in program.nodes:
        given = [held[value] for value in node.arrays]
        if node.body is None:
            values = tuple(dict.fromkeys(node.arrays))
            results = interpret(Program(values, node.outputs, (node,)), [held[value] for value in values], np)
        else:
            results = Loop(node, [np.asarray(one) for one in given]).run()
        held |= dict(zip(node.outputs, results, strict=True))
    return [np.asarray(held[value]) for value in program.outputs]


class Loop:
    """One region. In each turn of the loop a "full" value is a vector, one of the loop's own role a number."""

    def __init__(self, node: Node, given: list[np.ndarray]) -> None:
        assert node.body is not None
        assert node.region is not None
        self.body, self.region = node.body, node.region
        self.whole = dict(zip(self.body.inputs, given, strict=True))
        self.turns = self.region.space[1 if self.region.kind == "columns" else 0]
        self.mine = "column" if self.region.kind == "columns" else "row"
        self.found: dict[Value, Any] = {}

    def run(self) -> list[np.ndarray]:
        """The region's outputs."""
        rest = self._product() if self.region.kind == "product" else list(self.body.nodes)
        for turn in range(self.turns):
            self._turn(rest, turn)
        return [self._assembled(value) for value in self.body.outputs]

    def _product(self) -> list[Node]:
        """Compute everything up to the product at once; what is left are the nodes behind it."""
        at = next(i for i, node in enumerate(self.body.nodes) if node.primitive == "matmul")
        before = [node for node in self.body.nodes[: at + 1] if self._is_operand(node)]
        product = self.body.nodes[at].output
        inputs = tuple(self.whole)
        results = interpret(Program(inputs, (product,), tuple(before)), [self.whole[value] for value in inputs])
        self.whole[product] = results[0]
        if product in self.body.outputs:
            self.found[product] = None
        return [node for node in self.body.nodes if node not in before]

    def _is_operand(self, node: Node) -> bool:
        return node.primitive == "matmul" or self.region.roles[node.output] == "operand"

    def _turn(self, nodes: list[Node], turn: int) -> None:
        held: dict[Value, Any] = {value: self._part(value, array, turn) for value, array in self.whole.items()}
        for node in nodes:
            result = self._computed(node, [one.value if isinstance(one, Literal) else held[one] for one in node.inputs])
            if node.output in self.region.accumulated:
                self._accumulate(node, result)
            elif node.output in self.body.outputs:
                self.found.setdefault(node.output, []).append(result)
            held[node.output] = None if node.output in self.region.accumulated else result

    def _part(self, value: Value, array: np.ndarray, turn: int) -> Any:
        """What one turn sees of a value."""
        role = self.region.roles[value]
        if role == "operand":
            return None
        if role == "full":
            table = array.reshape(self.region.space)
            return table[:, turn] if self.mine == "column" else table[turn, :]
        return (
            array.reshape(-1)[turn] if role == self.mine else array.reshape(-1) if role != "scalar" else array.reshape(())[()]
        )

    def _computed(self, node: Node, given: list[Any]) -> Any:
        name = node.primitive
        if name in REARRANGEMENT:
            return given[0]
        if name in REDUCIBLE:
            role = self.region.roles[node.arrays[0]]
            if self.mine == "row" and node.output in self.region.accumulated and self.region.roles[node.output] == "column":
                return given[0]
            return getattr(np, name)(given[0]) if role == "full" else given[0]
        if name == "arange":
            values = np.arange(node.attributes["start"], node.attributes["stop"], node.attributes["step"])
            return values.astype(node.output.dtype)
        if name == "full":
            lengths = self.region.space[::-1] if self.mine == "row" else self.region.space
            shape = lengths[:1] if self.region.roles[node.output] == "full" else ()
            return np.full(shape, node.attributes["value"], node.output.dtype)[()]
        if name == "astype":
            return np.asarray(given[0]).astype(node.output.dtype)[()]
        assert name in ELEMENTWISE
        result = np.asarray(OPERATORS[name](*given) if name in OPERATORS else getattr(np, name)(*given))
        return result.astype(node.output.dtype)[()]

    def _accumulate(self, node: Node, result: Any) -> None:
        if node.output not in self.found:
            self.found[node.output] = np.asarray(result).astype(node.output.dtype)
        else:
            self.found[node.output] = COMBINED[node.primitive](self.found[node.output], result)

    def _assembled(self, value: Value) -> np.ndarray:
        if value in self.whole:
            return self.whole[value]
        found = self.found[value]
        if value in self.region.accumulated:
            made = next(node for node in self.body.nodes if value in node.outputs)
            found = found / self.turns if made.primitive == "mean" else found
        else:
            found = np.stack(found, axis=-1 if self.mine == "column" else 0)
        return np.asarray(found).reshape(value.shape).astype(value.dtype)
