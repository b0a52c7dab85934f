"""Computational graphs: the lecture's figures, other people's derivatives, every backend, and the drawing."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mlpx import Sequential, explain, layers, transfer
from mlpx.errors import ConfigError, InvalidInputError, InvalidTypeError
from mlpx.explain import graph
from mlpx.explain.layered_layout import arrange
from mlpx.explain.number_text import two_decimals
from mlpx.explain.numerical import BUDGET
from mlpx.program.trace import trace as trace_program
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values

LECTURE_VALUES = ["2.00", "−1.00", "−2.00", "−3.00", "−2.00", "6.00", "4.00", "−3.00", "1.00", "−1.00", "0.37", "1.37", "0.73"]
LECTURE_GRADIENTS = {"w0": "−0.20", "x0": "0.39", "w1": "−0.39", "x1": "−0.59", "w2": "0.20"}
TERMS = 40  # operations in the longest formula below


def formula(x, y, z, library):
    """One formula of all operations, for nodes and for the arrays of a library with autodiff."""
    ramp = library.maximum(x * y, z)
    return ramp**2 / 3 - library.log(1 + library.exp(x)) + library.tanh(z) * y - (-x) / (2 + y * y) + 2**z - z**y / ramp


class Nodes:
    """What `formula` asks of a library, on nodes."""

    exp, log, maximum = staticmethod(graph.exp), staticmethod(graph.log), staticmethod(graph.maximum)

    @staticmethod
    def tanh(z):
        return graph.activation("tanh", z)


def inputs():
    """A matrix, a row that is broadcast along it, and a number."""
    return {
        "x": np.asarray([[0.5, 2.0, -1.0], [1.5, -0.3, 0.7]]),
        "y": np.asarray([1.5, 0.8, -1.2]),
        "z": np.asarray(0.9),
    }


def test_the_lectures_example_shows_the_lectures_figures() -> None:
    found = explain.sigmoid_graph()
    assert [two_decimals(float(gate.value)) for gate in found.gates] == LECTURE_VALUES
    assert {name: two_decimals(float(gate.gradient)) for name, gate in found.variables.items()} == LECTURE_GRADIENTS
    chain = {gate.label: two_decimals(float(gate.gradient)) for gate in found.gates[-5:]}
    assert chain == {"1/x": "1.00", "+ 1": "−0.53", "exp": "−0.53", "× (−1)": "−0.20", "+": "0.20"}
    assert two_decimals(float(found.gates[-1].local[0])) == "−0.53"  # −1/1.37²


@pytest.mark.parametrize("oracle", ["torch", "jax"])
def test_gradients_are_those_of_autodiff(oracle) -> None:
    library = pytest.importorskip("torch" if oracle == "torch" else "jax.numpy")
    given = inputs()
    nodes = {name: graph.variable(value, name) for name, value in given.items()}
    found = graph.Graph(formula(**nodes, library=Nodes))
    if oracle == "torch":
        leaves = {name: library.tensor(value, requires_grad=True) for name, value in given.items()}
        library.sum(formula(**leaves, library=library)).backward()
        wanted = {name: leaf.grad.numpy() for name, leaf in leaves.items()}
    else:
        import jax

        wanted = jax.grad(lambda parts: library.sum(formula(**parts, library=library)))(given)
    for name in given:
        error = budgets.error_in_eps(found[name].gradient, np.asarray(wanted[name]), "float64")
        assert error <= budgets.normalising(TERMS), (name, error)


def test_central_differences_stand_beside_every_variable() -> None:
    nodes = {name: graph.variable(value, name) for name, value in inputs().items()}
    found = graph.Graph(formula(**nodes, library=Nodes))
    measured = found.central_differences()
    assert measured.keys() == nodes.keys()
    for name, slopes in measured.items():
        scale = np.max(np.abs(slopes))
        assert np.max(np.abs(slopes - found[name].gradient)) <= BUDGET * scale, name


def test_values_and_gradients_stay_in_their_library(xp, device, dtype) -> None:
    made = {name: xp.asarray(value.tolist(), dtype=dtype, device=device) for name, value in inputs().items()}
    found = graph.Graph(formula(**{name: graph.variable(value, name) for name, value in made.items()}, library=Nodes))
    wanted = graph.Graph(formula(**{name: graph.variable(value, name) for name, value in inputs().items()}, library=Nodes))
    for gate, reference in zip(found.gates, wanted.gates, strict=True):
        for array, expected in ((gate.value, reference.value), (gate.gradient, reference.gradient)):
            assert array.dtype == dtype
            assert array.device == next(iter(made.values())).device
            assert tuple(array.shape) == expected.shape
    for name in made:
        budget, bits = budgets.normalising(TERMS), f"float{xp.finfo(dtype).bits}"
        assert_values(transfer.to_numpy(found[name].gradient), wanted[name].gradient, dtype=bits, budget=budget, what=name)


@pytest.mark.parametrize("name", ["logistic", "tanh", "relu", "leaky_relu", "elu", "softplus", "swish", "gelu", "selu", "step"])
def test_every_activation_is_a_gate(name) -> None:
    found = graph.Graph(graph.activation(name, graph.variable(0.7, "z")) * 3)
    assert abs(float(found["z"].gradient) - float(found.central_differences()["z"])) <= BUDGET


def test_a_node_that_is_read_twice_gets_both_gradients() -> None:
    x = graph.variable(3.0, "x")
    assert float(graph.Graph(x * x + x)["x"].gradient) == 2 * 3.0 + 1


def test_a_long_chain_needs_no_recursion() -> None:
    node = graph.variable(1.0, "x")
    for _ in range(5000):
        node = node + 1
    assert float(graph.Graph(node)["x"].gradient) == 1.0


def test_at_a_tie_each_operand_of_max_gets_half() -> None:
    a, b = graph.variable(2.0, "a"), graph.variable(2.0, "b")
    found = graph.Graph(graph.maximum(a, b))
    assert (float(found["a"].gradient), float(found["b"].gradient)) == (0.5, 0.5)


def test_the_power_zero_has_no_slope_even_at_zero() -> None:
    assert float(graph.Graph(graph.variable(0.0, "a") ** 0)["a"].gradient) == 0.0


def test_other_values_of_the_same_formula() -> None:
    moved = explain.sigmoid_graph().at({"w0": 0.0, "w1": 0.0, "w2": 0.0})
    assert float(moved.gates[-1].value) == 0.5
    assert float(moved["w2"].gradient) == 0.25  # the largest slope of the logistic function


def test_what_is_no_formula_is_refused() -> None:
    x = graph.variable(1.0, "x")
    with pytest.raises(InvalidTypeError, match="only floating numbers"):
        graph.variable(np.asarray([1, 2]), "n")
    with pytest.raises(InvalidTypeError, match="make one of them a variable"):
        graph.maximum(1.0, 2.0)
    with pytest.raises(InvalidInputError, match="two variables of one name: x"):
        graph.Graph(x + graph.variable(2.0, "x"))
    with pytest.raises(InvalidInputError, match="no variable v"):
        graph.Graph(x + 1).at({"v": 1.0})
    with pytest.raises(ConfigError, match="did you mean 'tanh'"):
        graph.activation("tahn", x)
    with pytest.raises(ConfigError, match="learns its slope"):
        graph.activation("prelu", x)


def test_the_record_is_plain_numbers() -> None:
    record = explain.sigmoid_graph().to_dict()
    last = record["gates"][-1]
    assert last["label"] == "1/x"
    assert math.isclose(last["value"], 1 / (1 + math.exp(-1)), rel_tol=budgets.elementwise() * np.finfo(float).eps)
    assert record["gates"][0]["central_difference"] is not None


# ---------------------------------------------------------------------- the drawing


def test_boxes_of_one_column_never_overlap_and_wires_lead_on() -> None:
    generator = np.random.default_rng(3)
    for _ in range(40):
        count = int(generator.integers(2, 30))
        wires = [(a, b) for b in range(1, count) for a in range(b) if generator.random() < 2 / count]
        plan = arrange(count, wires)
        stands: dict[int, list[float]] = {}
        for column, row in [*plan.places, *(joint for joints in plan.joints for joint in joints)]:
            stands.setdefault(column, []).append(row)
        for rows in stands.values():
            gaps = np.diff(np.sort(rows))
            assert np.all(gaps >= 1 - np.finfo(float).eps * 100)
        for (source, target), joints in zip(wires, plan.joints, strict=True):
            columns = [plan.places[source][0], *(column for column, _ in joints), plan.places[target][0]]
            assert columns == list(range(columns[0], columns[-1] + 1))


def test_a_chain_is_drawn_straight_and_a_gate_between_its_operands() -> None:
    found = explain.sigmoid_graph().gates
    wires = [(operand, gate.number) for gate in found for operand in gate.operands]
    rows = [row for _, row in arrange(len(found), wires).places]
    assert len({round(rows[number], 6) for number in range(8, 13)}) == 1  # + × (−1) exp +1 1/x
    assert min(rows[2], rows[5]) < rows[6] < max(rows[2], rows[5])


def test_a_wire_that_leads_back_is_refused() -> None:
    with pytest.raises(ValueError, match="leads backwards"):
        arrange(2, [(1, 0)])


def test_the_picture_is_well_formed_and_holds_every_number() -> None:
    picture = explain.graph_picture(explain.sigmoid_graph())
    root = ET.fromstring(picture.to_svg())
    texts = {one.get("id"): one.text for one in root.iter("{http://www.w3.org/2000/svg}text") if one.get("id")}
    assert [texts[f"f{i}"] for i in range(13)] == LECTURE_VALUES
    assert texts["b0"] == "−0.20"
    dot = picture.to_dot()
    assert dot.count("->") == 12
    assert 'label="1/x\\n0.73\\n1.00"' in dot


def test_a_networks_own_program_is_drawn_the_same_way() -> None:
    net = Sequential(layers.Dense(3, 4, "tanh"), layers.Dense(4, 2))
    params = net.init(0)
    program = trace_program(lambda values, x: net.forward(values, x)[0], dict(params), np.zeros((5, 3), np.float32))
    picture = explain.program_picture(program, "forward")
    assert [box.label for box in picture.boxes].count("matmul") == 2
    assert any(box.label == "tanh" and box.forward == "5 × 4" for box in picture.boxes)
    ET.fromstring(picture.to_svg())
