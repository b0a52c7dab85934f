"""The checks bite: mistakes planted in a right op and a right layer, each caught, and by which variants."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import registry
from mlpx.layers.base import Layer, Spec
from mlpx.layers.initializers import get as initializer
from mlpx.namespace import namespace_of, placed_as
from mlpx.ops.definition import BadInput, Case, Example, Op
from mlpx.optim.base import Optimizer
from mlpx.testing import check_gradients, check_layer, check_loss, check_op, check_optimizer, variant

WITHOUT_OTHER_LIBRARIES = ("numpy", "numpy:readonly", "strict:device1", "strict:static")
MINIMAL = ("numpy", "strict:device1", "torch:meta", "jax:jit")
UNITS = 3


class Right:
    """y = tanh(x Wᵀ + b) ⊙ (1, 2, 3): the equations, in parts that a mistake can replace."""

    def scale(self, x):
        return namespace_of(x).arange(1, UNITS + 1, dtype=x.dtype, **placed_as(x))

    def forward(self, x, weight, bias):
        t = namespace_of(x, weight, bias).tanh(x @ weight.T + bias)
        s = self.scale(x)
        return self.result(t * s), (x, weight, t, s)

    def result(self, y):
        return y

    def delta(self, dy, t, s):
        return dy * s * (1 - t * t)

    def backward(self, dy, residuals):
        x, weight, t, s = residuals
        delta = self.delta(dy, t, s)
        return delta @ weight, delta.T @ x, self.bias_gradient(delta)

    def bias_gradient(self, delta):
        return namespace_of(delta).sum(delta, axis=0)


class UsesNumPy(Right):
    def result(self, y):
        return namespace_of(y).asarray(np.asarray(y) * 1.0)


class ForgetsDevice(Right):
    def scale(self, x):
        return namespace_of(x).arange(1, UNITS + 1, dtype=x.dtype)


class WritesInput(Right):
    def delta(self, dy, t, s):
        dy *= s
        return dy * (1 - t * t)


class WritesFirst(Right):
    def forward(self, x, weight, bias):
        y, residuals = super().forward(x, weight, bias)
        x[:, :] = x * 2
        return y, residuals


class PromotesToFloat64(Right):
    def scale(self, x):
        xp = namespace_of(x)
        return xp.arange(1, UNITS + 1, dtype=xp.float64, **placed_as(x))


class BranchesOnValue(Right):
    def result(self, y):
        xp = namespace_of(y)
        if bool(xp.any(xp.isnan(y))):
            raise FloatingPointError
        return y


class ReadsValue(Right):
    def result(self, y):
        return y * (1 + 0 * float(namespace_of(y).sum(y)))


class Methods(Right):
    def bias_gradient(self, delta):
        return delta.sum(0)


class SetsItem(Right):
    def result(self, y):
        out = namespace_of(y).zeros_like(y)
        out[:, :] = y
        return out


class MasksByBoolean(Right):
    def result(self, y):
        return namespace_of(y).reshape(y[y == y], y.shape)


class WrongAxis(Right):
    def backward(self, dy, residuals):
        x, weight, t, s = residuals
        delta = self.delta(dy, t, s)
        return delta @ weight, delta.T @ x, namespace_of(delta).sum(delta, axis=1)[:UNITS]


class WrongSign(Right):
    def delta(self, dy, t, s):
        return dy * s * (1 + t * t)


class WrongScale(Right):
    def bias_gradient(self, delta):
        return namespace_of(delta).mean(delta, axis=0)


class DropsTerm(Right):
    def delta(self, dy, t, s):
        return dy * s


class DropsFactor(Right):
    def delta(self, dy, t, s):
        return dy * (1 - t * t)


class NotPure(Right):
    def __init__(self):
        self.calls = 0

    def result(self, y):
        self.calls += 1
        return y * (1 + self.calls * 2.0**-50)


class RefusesEmpty(Right):
    def result(self, y):
        if y.shape[0] == 0:
            raise IndexError("no rows")
        return y


class NeedsContiguous(Right):
    def result(self, y):
        return y

    def forward(self, x, weight, bias):
        if isinstance(x, np.ndarray) and not x.flags.c_contiguous:
            raise ValueError("not contiguous")
        return super().forward(x, weight, bias)


class LosesDigits(Right):
    def result(self, y):
        xp = namespace_of(y)
        return xp.astype(xp.astype(y, xp.float32), y.dtype)


class Overflows(Right):
    def result(self, y):
        big = y * 0 + 1000.0
        return y + 0 / namespace_of(y).exp(big)


MISTAKES = {
    UsesNumPy: {"strict:device1", "torch:meta", "jax:jit"},
    ForgetsDevice: {"strict:device1", "torch:meta"},
    WritesInput: {"numpy", "numpy:readonly", "strict:device1"},
    PromotesToFloat64: {"numpy", "strict:device1", "torch:meta", "jax:jit"},
    BranchesOnValue: {"strict:static", "torch:meta", "jax:jit"},
    ReadsValue: {"strict:static", "torch:meta", "jax:jit"},
    Methods: {"strict:device1"},
    SetsItem: {"strict:static", "jax:jit"},
    MasksByBoolean: {"strict:static", "jax:jit"},
    WrongAxis: {"numpy"},
    WrongSign: {"numpy"},
    WrongScale: {"numpy"},
    DropsTerm: {"numpy"},
    DropsFactor: {"numpy"},
    NotPure: {"numpy"},
    RefusesEmpty: {"numpy"},
    NeedsContiguous: {"numpy"},
    Overflows: {"numpy"},
}


def op_of(equations: Right, **changes) -> Op:
    """An op of these equations, listed nowhere."""

    def planted(x, weight, bias):
        return equations.forward(x, weight, bias)

    made = Op(planted)
    made.backward(equations.backward)
    record = {
        "kind": "product",
        "inputs": lambda draw: (draw.normal(7, 5), draw.normal(UNITS, 5), draw.normal(UNITS)),
        "terms": 7,
        "smooth": True,
    }
    made.case(**(record | changes))
    return made


class Planted(Layer):
    """A layer of these equations."""

    def __init__(self, equations: Right):
        self.equations = equations

    def specs(self):
        return {"weight": Spec((UNITS, 5), initializer("glorot_uniform"), True), "bias": Spec((UNITS,), initializer("zeros"))}

    def output_shape(self, input_shape):
        return (*input_shape[:-1], UNITS)

    def forward(self, params, x, *, train=False, key=None):
        return self.equations.forward(x, params["weight"], params["bias"])

    def backward(self, params, residuals, dy):
        dx, dweight, dbias = self.equations.backward(dy, residuals)
        return dx, {"weight": dweight, "bias": dbias}

    def config(self):
        return {"equations": self.equations}

    def __repr__(self):
        return f"Planted({type(self.equations).__name__})"


class SerialisablePlanted(Planted):
    """The same, with a configuration that JSON can hold."""

    def __init__(self, equations: str):
        self.name = equations
        super().__init__(globals()[equations]())

    def config(self):
        return {"equations": self.name}


def works(name: str) -> bool:
    return registry.availability(name.partition(":")[0]).ok


def catches(check, *arguments) -> bool:
    try:
        check(*arguments)
    except AssertionError:
        return True
    return False


def test_the_right_op_and_layer_pass_everywhere():
    check_op(op_of(Right()))
    check_layer(SerialisablePlanted("Right"), (7, 5))


@pytest.mark.parametrize(
    ("mistake", "name"),
    [
        pytest.param(mistake, name, id=f"{mistake.__name__}-{name}")
        for mistake in MISTAKES
        for name in sorted(MISTAKES[mistake])
    ],
)
def test_a_mistake_in_an_op_is_caught_by_the_variants_that_see_it(mistake, name):
    if not works(name):
        pytest.skip(f"{name} does not work here")
    assert catches(check_op, op_of(mistake()), variant(name))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_numpy_and_strict_alone_catch_every_mistake_in_an_op(mistake):
    assert catches(check_op, op_of(mistake()), WITHOUT_OTHER_LIBRARIES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_the_minimal_set_catches_every_mistake_in_an_op(mistake):
    if not all(map(works, MINIMAL)):
        pytest.skip("torch and jax are needed")
    assert catches(check_op, op_of(mistake()), MINIMAL)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_numpy_and_strict_alone_catch_every_mistake_in_a_layer(mistake):
    assert catches(check_layer, SerialisablePlanted(mistake.__name__), (7, 5), WITHOUT_OTHER_LIBRARIES)


def message(check, *arguments, **keywords) -> str:
    with pytest.raises(AssertionError) as caught:
        check(*arguments, **keywords)
    return str(caught.value)


def test_messages_name_op_variant_dtype_what_and_how_much():
    assert "op planted: gradient of bias: relative error" in message(check_op, op_of(WrongScale()), "numpy")
    assert "op planted on numpy, float32: y: has dtype float64, expected float32" in message(
        check_op, op_of(PromotesToFloat64()), "numpy"
    )
    assert "op planted on strict:device1" in message(check_op, op_of(UsesNumPy()), "strict:device1")
    assert "read-only" in message(check_op, op_of(WritesInput()), variant("numpy"))
    assert "input x was modified" in message(check_op, op_of(WritesFirst(), differentiable=()), variant("numpy"))
    assert "second run" in message(check_op, op_of(NotPure()), variant("numpy"))
    assert "with an empty batch: raised IndexError: no rows" in message(check_op, op_of(RefusesEmpty()), variant("numpy"))
    assert "not contiguous" in message(check_op, op_of(NeedsContiguous()), variant("numpy"))


def test_an_example_that_does_not_come_out_is_caught():
    inputs = (np.zeros((1, 5)).tolist(), np.zeros((UNITS, 5)).tolist(), [0.5, 0.25, 0.125])
    right = [[np.tanh(0.5), 2 * np.tanh(0.25), 3 * np.tanh(0.125)]]
    wrong = [[right[0][0], right[0][1], right[0][2] + 1e-6]]
    check_op(op_of(Right(), examples=(Example(inputs, right, "tanh"),)), "numpy")
    assert "example from 'tanh'" in message(check_op, op_of(Right(), examples=(Example(inputs, wrong, "tanh"),)), "numpy")


@pytest.mark.parametrize(
    ("error", "match", "said"),
    [
        (ValueError, "mismatch", None),
        (ValueError, "never said", "should match 'never said'"),
        (KeyError, "mismatch", "declared is KeyError"),
    ],
)
def test_bad_input_must_be_refused_with_the_declared_error_and_words(error, match, said):
    bad = BadInput(inputs=lambda draw: (draw.normal(7, 4), draw.normal(UNITS, 5), draw.normal(UNITS)), error=error, match=match)
    made = op_of(Right(), bad=(bad,))
    if said is None:
        check_op(made, variant("numpy"))
    else:
        assert said in message(check_op, made, variant("numpy"))


def test_bad_input_that_is_accepted_is_caught():
    bad = BadInput(
        inputs=lambda draw: (draw.normal(7, 5), draw.normal(UNITS, 5), draw.normal(UNITS)), error=ValueError, match=""
    )
    assert "was accepted" in message(check_op, op_of(Right(), bad=(bad,)), variant("numpy"))


def test_an_op_that_looks_at_only_one_of_its_arrays_is_caught_by_two_devices():
    class LooksAtOne(Right):
        def forward(self, x, weight, bias):
            t = namespace_of(x).tanh(x @ weight.T + bias)
            return t * self.scale(x), (x, weight, t, self.scale(x))

    assert "not DeviceMismatchError" in message(check_op, op_of(LooksAtOne()), variant("strict:device1"))


def test_a_kernel_that_is_off_is_caught(monkeypatch):
    made = op_of(LosesDigits())
    right = op_of(Right())
    numpy_backend = registry.find("numpy")
    kernels = {**numpy_backend.kernels, "planted": made.definition}
    monkeypatch.setattr(numpy_backend, "kernels", kernels)
    assert "op planted on numpy, float64: y: error" in message(check_op, right, variant("numpy"))


def test_a_layer_that_names_its_gradients_otherwise_is_caught():
    class Misnamed(SerialisablePlanted):
        def backward(self, params, residuals, dy):
            dx, gradients = super().backward(params, residuals, dy)
            return dx, {"weight": gradients["weight"], "offset": gradients["bias"]}

    assert "gave gradients of weight, offset; specs are weight, bias" in message(
        check_layer, Misnamed("Right"), (7, 5), "numpy"
    )


def test_a_layer_whose_configuration_makes_another_layer_is_caught():
    class Forgetful(SerialisablePlanted):
        def specs(self):
            return {name: spec for name, spec in super().specs().items() if name != "bias" or self.name == "Right"}

        def config(self):
            return {"equations": "WrongScale"}

    assert "not equal" in message(check_layer, Forgetful("Right"), (7, 5), "numpy")


def test_a_gradient_that_is_small_beside_others_is_still_checked():
    def forward(x):
        return 1e8 + np.sin(x) * 1e8, x

    check_gradients(forward, [0.3, 0.4], backward=lambda dy, x: dy * np.cos(x) * 1e8)
    assert "relative error" in message(check_gradients, forward, [0.3, 0.4], backward=lambda dy, x: dy * np.cos(x) * 1.01e8)


class Bowl(Optimizer):
    """Plain descent, with a mistake to choose."""

    name = ""

    def __init__(self, learning_rate=0.1, mistake=""):
        super().__init__(learning_rate)
        self.mistake = mistake

    def init(self, params):
        return (namespace_of(params).zeros_like(params),)

    def update(self, params, grads, state, learning_rate):
        xp = namespace_of(params, grads, learning_rate)
        if self.mistake == "writes":
            params -= learning_rate * grads
            return params, state
        if self.mistake == "uphill":
            return params + learning_rate * grads, state
        if self.mistake == "keeps books":
            state[0][:] = state[0] + grads
            return params - learning_rate * grads, (state[0] * 1,)
        if self.mistake == "grows":
            return params - learning_rate * grads, (xp.concat([state[0], state[0]]),)
        if self.mistake == "branches" and float(xp.sum(grads * grads)) == 0:
            return params, state
        if self.mistake == "promotes":
            return xp.astype(params - learning_rate * grads, xp.float64), state
        return params - learning_rate * grads, state


def test_a_right_optimizer_passes_and_each_mistake_is_caught():
    check_optimizer(Bowl())
    for mistake in ("writes", "keeps books", "uphill", "grows", "branches", "promotes"):
        assert catches(check_optimizer, Bowl(mistake=mistake), WITHOUT_OTHER_LIBRARIES), mistake


class SquareLoss:
    """½ (o − y)², meant over rows, with a mistake to choose."""

    target_kind = "values"
    target_range = (float("-inf"), float("inf"))

    def __init__(self, mistake=""):
        self.mistake = mistake

    def __repr__(self):
        return f"SquareLoss({self.mistake})"

    def __call__(self, output, targets, weights=None):
        xp = namespace_of(output, targets)
        error = output - targets
        rows = xp.sum(error * error, axis=1) / 2
        n = 1 if self.mistake == "sum" else max(output.shape[0], 1)
        shares = xp.full(rows.shape, 1 / n, dtype=rows.dtype, **placed_as(rows))
        if weights is not None:
            shares = weights / xp.sum(weights) if self.mistake != "weights" else weights * 2 / xp.sum(weights)
        gradient = error if self.mistake == "mean" else shares[:, None] * error
        return xp.sum(rows * shares), gradient


def test_a_right_loss_passes_and_each_mistake_is_caught():
    check_loss(SquareLoss(), variants=WITHOUT_OTHER_LIBRARIES)
    for mistake in ("sum", "weights", "mean"):
        assert catches(lambda m=mistake: check_loss(SquareLoss(m), variants="numpy")), mistake


def test_a_case_is_found_by_name_and_an_unknown_op_is_named():
    from mlpx.errors import ConfigError

    check_op("affine", variant("numpy"))
    with pytest.raises(ConfigError, match="no op 'afine'"):
        check_op("afine")
    with pytest.raises(ConfigError, match="no case to check"):
        check_op(Op(lambda x: x, "bare"))
    assert isinstance(op_of(Right()).cases[0], Case)
