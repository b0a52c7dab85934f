"""The gradient check: right gradients pass with room to spare, wrong ones fail by orders of magnitude."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import layers
from mlpx.ops import OPS
from mlpx.testing import budgets, check_gradients
from mlpx.testing.differences import complex_step_error, difference_error


def cubic(x, w):
    return x**3 * w, (x, w)


def cubic_backward(dy, residuals):
    x, w = residuals
    return 3 * x**2 * w * dy, x**3 * dy


X, W = np.array([0.5, -1.5, 2.0]), np.array([1.0, 2.0, -0.5])


def test_the_three_ways_to_state_a_gradient():
    errors = check_gradients(cubic, X, W, backward=cubic_backward)
    assert errors.keys() == {"argument 0", "argument 1"}
    assert max(errors.values()) < budgets.GRADIENT / 100
    assert check_gradients(lambda x: (np.sum(x**3), 3 * x**2), X)["argument 0"] < budgets.GRADIENT / 100
    assert len(check_gradients(OPS["affine"], np.eye(3), np.ones((2, 3)), np.zeros(2))) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dy, r: (3 * r[0] ** 2 * r[1] * dy, -(r[0] ** 3) * dy),
        lambda dy, r: (2 * r[0] ** 2 * r[1] * dy, r[0] ** 3 * dy),
        lambda dy, r: (3 * r[0] ** 2 * dy, r[0] ** 3 * dy),
        lambda dy, r: (3 * r[0] ** 2 * r[1], r[0] ** 3 * dy),
        lambda dy, r: (np.zeros_like(dy), r[0] ** 3 * dy),
        lambda dy, r: (np.full_like(dy, np.nan), r[0] ** 3 * dy),
        lambda dy, r: (3.03 * r[0] ** 2 * r[1] * dy, r[0] ** 3 * dy),
    ],
    ids=["sign", "exponent", "factor", "dy forgotten", "zero", "nan", "one percent"],
)
def test_a_wrong_gradient_is_found(wrong):
    with pytest.raises(AssertionError, match=r"gradient of argument [01]: relative error .* against central differences"):
        check_gradients(cubic, X, W, backward=wrong)


def test_a_gradient_of_another_shape_is_found():
    with pytest.raises(AssertionError, match=r"has shape \(1,\), expected \(3,\)"):
        check_gradients(cubic, X, W, backward=lambda dy, r: (np.ones(1), r[0] ** 3 * dy))


def test_a_gradient_that_is_missing_is_found():
    with pytest.raises(ValueError, match="zip"):
        check_gradients(cubic, X, W, backward=lambda dy, r: (3 * r[0] ** 2 * r[1] * dy,))


def test_the_margin_between_right_and_one_lost_term_is_wide():
    dy = np.array([0.3, -0.7, 1.1])
    right = 3 * X**2 * W * dy
    lost = right.copy()
    lost[0] = 0.0
    assert difference_error(lambda x: x**3 * W, [X], 0, right, dy) < budgets.GRADIENT
    assert difference_error(lambda x: x**3 * W, [X], 0, lost, dy) > 1000 * budgets.GRADIENT
    assert complex_step_error(lambda x: x**3 * W, [X], 0, right, dy) < budgets.COMPLEX_STEP
    assert complex_step_error(lambda x: x**3 * W, [X], 0, right * (1 + 1e-10), dy) > budgets.COMPLEX_STEP


def test_a_function_without_slope_has_gradient_zero():
    assert check_gradients(lambda x: (np.sign(x), x), X, backward=lambda dy, x: 0 * dy)["argument 0"] == 0


def test_integers_are_not_differentiated():
    def pick(x, index):
        return x[index], (x, index)

    def backward(dy, residuals):
        dx = np.zeros_like(residuals[0])
        np.add.at(dx, residuals[1], dy)
        return dx

    assert check_gradients(pick, X, np.array([2, 0, 2]), backward=backward).keys() == {"argument 0"}


def test_a_layer_and_its_parameters_are_checked():
    errors = check_gradients(layers.Dense(3, 2, "tanh"), [[0.1, 0.2, 0.3], [1.0, -1.0, 0.5]])
    assert errors.keys() == {"x", "weight", "bias"}

    class Forgets(layers.Dense):
        def backward(self, params, residuals, dy):
            dx, gradients = super().backward(params, residuals, dy)
            return dx, gradients | {"bias": 0 * gradients["bias"]}

    with pytest.raises(AssertionError, match="gradient of bias"):
        check_gradients(Forgets(3, 2, "tanh"), [[0.1, 0.2, 0.3]])
