"""Traces: published numbers, torch's own deltas, every kind of network, and checks that find what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import Parallel, Residual, Sequential, explain, layers, losses, random, transfer
from mlpx.errors import InvalidInputError
from mlpx.explain.numerical import BUDGET, measure
from mlpx.layers.base import Layer
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values

ROWS, WIDTH = 6, 5
TERMS = 64
NINE_DIGITS = 5e-10  # half a unit of the ninth decimal: how Mazur prints
D = layers.Dense
NETWORKS = {
    "lecture": Sequential(D(5, 4, "logistic"), D(4, 3, "logistic")),
    "residual": Sequential(
        D(5, 4, "tanh"),
        Residual(layers.LayerNorm(4), D(4, 4, "gelu"), Sequential(D(4, 6, "swish"), D(6, 4))),
        layers.BatchNorm(4),
        layers.Dropout(0.4),
        D(4, 3),
    ),
    "parallel": Sequential(
        Parallel(
            Sequential(layers.Columns(0, 2), D(2, 3, "relu")),
            layers.Columns(2, 5),
            Sequential(layers.Dropout(0.3), D(5, 2, layers.Activation("prelu"))),
        ),
        layers.Activation("elu", alpha=0.7),
        D(8, 3),
    ),
    "embedding": Sequential(
        Parallel(Sequential(layers.Columns(0, 1), layers.Embedding(4, 2), layers.Flatten()), layers.Columns(1, 5)),
        D(6, 4, "selu"),
        Parallel(D(4, 3), D(4, 3, "softplus"), combine="sum"),
    ),
    "shortcut_first": Residual(D(5, 5, "leaky_relu")),
    "same_input_twice": Sequential(Parallel(layers.Dropout(0.5), layers.Dropout(0.5), combine="sum"), D(5, 3, "step")),
}


def rows(name: str) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((ROWS, WIDTH))
    if name == "embedding":
        x[:, 0] = np.arange(ROWS) % 4
    return x


def traced(name: str, train: bool = False, loss: str = "softmax_cross_entropy", **settings):
    net, x = NETWORKS[name], rows(name)
    k = net.output_shape(x.shape)[1]
    targets = np.arange(ROWS) % k if loss == "softmax_cross_entropy" else np.ones((ROWS, k))
    params = net.init(1, dtype="float64")
    key = random.key(3) if train else None
    return explain.trace(net, params, x, targets, loss, train=train, key=key, **settings), (net, params, x, targets, key)


def test_mazurs_example_to_nine_digits() -> None:
    trace = explain.mazur()
    after = trace.after_step(0.5)
    published = [
        (trace["0"]["a"].values, [[0.593269992, 0.596884378]]),
        (trace.output, [[0.75136507, 0.772928465]]),
        (trace.loss, 0.298371109),
        (trace.gradients["1.weight"][0, 0], 0.082167041),
        (after["1.weight"], [[0.35891648, 0.408666186], [0.511301270, 0.561370121]]),
        (after["0.weight"][0, 0], 0.149780716),
    ]
    for found, printed in published:
        assert np.max(np.abs(np.asarray(found) - np.asarray(printed))) <= NINE_DIGITS
    assert trace.agrees


def test_the_lectures_figure_1_worked_by_hand() -> None:
    trace = explain.perceptron_3_3_2()
    hidden, output = trace[2], trace[3]
    assert (hidden.path, output.path) == ("0", "1")
    z = np.asarray([0.05 - 0.2 - 0.6 + 0.1, -0.1 - 0.4 + 0.2 - 0.1, 0.15 + 0.1 + 0.4 + 0.2])
    a = 1 / (1 + np.exp(-z))
    o = 1 / (1 + np.exp(-np.asarray([0.2 * a[0] - 0.3 * a[1] + 0.4 * a[2] + 0.1, -0.1 * a[0] + 0.5 * a[1] + 0.2 * a[2] - 0.2])))
    delta3 = -(np.asarray([1.0, 0.0]) - o) * o * (1 - o)
    delta2 = np.asarray(
        [0.2 * delta3[0] - 0.1 * delta3[1], -0.3 * delta3[0] + 0.5 * delta3[1], 0.4 * delta3[0] + 0.2 * delta3[1]]
    )
    delta2 = delta2 * a * (1 - a)
    for found, wanted in (
        (hidden["z"], [z]),
        (output["a"], [o]),
        (output["delta"], [delta3]),
        (hidden["delta"], [delta2]),
        (output["dweight"], np.outer(delta3, a)),
        (hidden["dweight"], np.outer(delta2, [0.5, -1.0, 2.0])),
        (hidden["dbias"], delta2),
        (hidden["f_prime"], [a * (1 - a)]),
    ):
        assert_values(found.values, np.asarray(wanted), dtype="float64", budget=budgets.network(2, 3), what=found.symbol)
    names = [output[key].equation.name for key in ("delta", "dweight", "dbias")] + [hidden["delta"].equation.name]
    assert names == ["BP-1", "BP-3", "BP-4", "BP-2"]
    assert hidden["delta"].equation.text == "δ⁽²⁾ = (W⁽³⁾ᵀ δ⁽³⁾) ⊙ f′(z⁽²⁾)"


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    assert_values(found, wanted, dtype="float64", budget=budgets.network(3, TERMS), what="trace against torch")


def test_deltas_are_those_that_torch_keeps() -> None:
    torch = pytest.importorskip("torch")
    net = Sequential(D(5, 4, "tanh"), D(4, 6, "softplus"), D(6, 3))
    params, x, labels = net.init(2, dtype="float64"), rows(""), np.arange(ROWS) % 3
    trace = explain.trace(net, params, x, labels, "softmax_cross_entropy")
    leaves = {name: torch.tensor(np.asarray(value), requires_grad=True) for name, value in params.items()}
    given = torch.tensor(x, requires_grad=True)
    a, kept = given, {}
    for i, f in enumerate((torch.tanh, torch.nn.functional.softplus, lambda z: z)):
        z = a @ leaves[f"{i}.weight"].T + leaves[f"{i}.bias"]
        a = f(z)
        z.retain_grad()
        kept[str(i)] = z
    torch.nn.functional.cross_entropy(a, torch.tensor(labels)).backward()
    for path, z in kept.items():
        near(trace[path]["z"].values, z.detach().numpy())
        near(trace[path]["delta"].values, z.grad.numpy())
    for name, leaf in leaves.items():
        near(trace.gradients[name], leaf.grad.numpy())
    near(trace.input_gradient.values, given.grad.numpy())


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_traced_and_every_gradient_confirmed(name, train) -> None:
    trace, (net, params, x, targets, key) = traced(name, train, "huber")
    assert trace.agrees, [(one.symbol, one.error) for _, one in trace.quantities() if not one.agrees]
    y, residuals = net.forward(params, x, train=train, key=key)
    value, dy = losses.get("huber")(y, targets)
    _, grads = net.backward(params, residuals, dy)
    assert trace.loss == float(value)
    assert np.array_equal(trace.output, y)
    assert trace.gradients.keys() == set(grads)
    for parameter, gradient in grads.items():  # looking on changes nothing: the same bits
        assert np.array_equal(trace.gradients[parameter], gradient)
    measured = [one for _, one in trace.quantities() if one.key.startswith("d") and one.values.size]
    assert measured
    assert all(one.error is not None for one in measured)


def test_the_flow_of_nested_branches() -> None:
    trace, _ = traced("residual")
    assert set(trace.flow.ways) == {
        ("input", "0"),
        ("0", "1.0"),
        ("1.0", "1.1"),
        ("1.1", "1.2.0"),
        ("1.2.0", "1.2.1"),
        ("1.2.1", "1.+"),
        ("0", "1.+"),
        ("1.+", "2"),
        ("2", "3"),
        ("3", "4"),
        ("4", "loss"),
    }
    twice, _ = traced("same_input_twice")  # both branches hand on the very array that came in
    assert ("input", "0.0") in twice.flow.ways
    assert ("input", "0.1") in twice.flow.ways
    assert trace["0"]["delta"].equation.text == "δ⁽²⁾ = ∂E/∂a⁽²⁾ ⊙ f′(z⁽²⁾)"  # two readers: no single W to go back through


def test_other_layers_bring_the_equations_of_their_ops() -> None:
    trace, _ = traced("residual", train=True)
    assert "x_hat = (x − mean" in trace["1.0"]["a"].equation.text
    assert trace["1.0"]["dgain"].equation.text.startswith("d")
    assert "=" in trace["3"]["a"].equation.text


class Forgetful(Layer):
    """Doubles what comes in, and forgets it on the way back."""

    def forward(self, params, x, *, train=False, key=None):
        return 2 * x, ()

    def backward(self, params, residuals, dy):
        return dy, {}


def test_a_wrong_backward_pass_is_found_where_it_is() -> None:
    net = Sequential(D(5, 4, "tanh"), Forgetful(), D(4, 3))
    trace = explain.trace(net, net.init(0, dtype="float64"), rows(""), np.arange(ROWS) % 3, "softmax_cross_entropy")
    assert not trace.agrees
    wrong = {(layer.path if layer else "x", one.key) for layer, one in trace.quantities() if not one.agrees}
    assert ("1", "dx") in wrong
    assert ("0", "dweight") in wrong
    assert not any(path == "2" for path, _ in wrong)
    assert ("1", "da") not in wrong
    assert "not every gradient agrees" in trace.to_markdown()


def test_a_kink_admits_every_slope_between_its_sides_and_no_other() -> None:
    def ramp(x: np.ndarray) -> float:
        return float(np.sum(np.maximum(x, 0.0)))

    at = np.zeros(1)
    for slope in (0.0, 0.5, 1.0):
        assert measure(ramp, at, np.asarray([slope])).error <= BUDGET
    for slope in (-0.5, 1.5):
        assert measure(ramp, at, np.asarray([slope])).error > BUDGET


def test_a_long_array_is_measured_in_all_directions_too() -> None:
    at = np.random.default_rng(0).standard_normal(2000)
    right = 2 * at
    assert measure(lambda x: float(np.sum(x * x)), at, right).error <= BUDGET
    wrong = right.copy()
    wrong[1] += 1.0  # not among the sampled places
    found = measure(lambda x: float(np.sum(x * x)), at, wrong)
    assert np.isnan(found.slopes[1])
    assert found.error > BUDGET


def test_traces_on_every_backend(xp, device, dtype) -> None:
    name = f"float{xp.finfo(dtype).bits}"
    reference, (net, params, x, targets, _) = traced("residual")
    moved = net.parameters(
        {key: xp.asarray(np.asarray(value).tolist(), dtype=dtype, device=device) for key, value in params.items()}
    )
    rows_there = xp.asarray(x.tolist(), dtype=dtype, device=device)
    labels = xp.asarray(targets.tolist(), dtype=xp.int32, device=device)
    trace = explain.trace(net, moved, rows_there, labels, "softmax_cross_entropy")
    assert trace.dtype == name
    assert trace.device == str(transfer.device(rows_there))
    assert trace.agrees
    for (_, found), (_, wanted) in zip(trace.quantities(), reference.quantities(), strict=True):
        assert str(found.values.dtype) == name, found.symbol
        assert_values(found.values, wanted.values, dtype=name, budget=budgets.network(8, TERMS, ROWS * 3), what=found.symbol)


def test_unchecked_traces_say_so() -> None:
    trace, _ = traced("lecture", check=False)
    assert trace.worst_error is None
    assert "not checked" in repr(trace)
    assert all(one.measured is None for _, one in trace.quantities())


def test_what_does_not_fit_is_refused() -> None:
    net = NETWORKS["lecture"]
    with pytest.raises(InvalidInputError, match="5 features"):
        explain.trace(net, net.init(0, dtype="float64"), np.zeros((2, 4)), np.zeros(2, int), "softmax_cross_entropy")
    residual = NETWORKS["residual"]
    params = residual.init(0, dtype="float64")
    with pytest.raises(InvalidInputError, match="pass key"):
        explain.trace(residual, params, rows(""), np.zeros(6, int), "softmax_cross_entropy", train=True)
    with pytest.raises(InvalidInputError, match="greater than 0"):
        explain.mazur().after_step(0.0)
    with pytest.raises(KeyError, match="paths: 0, 1"):
        explain.mazur()["7"]
