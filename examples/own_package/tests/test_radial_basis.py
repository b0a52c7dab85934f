"""The layer keeps the contract of a layer on every array library here."""

import math

import numpy as np
import pytest
from radial_basis import RadialBasis

import mlpx
from mlpx.testing import assert_close, check_gradients, check_layer


def test_contract(backend_variant):
    """Values, gradients, dtype, device, purity, strided and empty input, tracing: one test for each way of running."""
    check_layer(RadialBasis(3, 4), (7, 3), backend_variant)


def test_in_a_network(backend_variant):
    net = mlpx.Sequential(RadialBasis(3, 4), mlpx.layers.Dense(4, 2, activation="tanh"))
    check_layer(net, (5, 3), backend_variant)


def test_hand_worked_value(xp, device, dtype):
    params = {
        "centre": xp.asarray([[1.0, 2.0]], dtype=dtype, device=device),
        "sharpness": xp.asarray([0.5], dtype=dtype, device=device),
    }
    x = xp.asarray([[1.0, 2.0], [2.0, 1.0]], dtype=dtype, device=device)
    y, _ = RadialBasis(2, 1).forward(params, x)
    assert_close(y, xp.asarray([[1.0], [math.exp(-1.0)]], dtype=dtype, device=device))


def test_gradients_far_from_the_centre():
    check_gradients(RadialBasis(2, 3), 2.0 + np.random.default_rng(0).standard_normal((5, 2)))


def test_rows_of_another_width_are_refused():
    with pytest.raises(mlpx.errors.InvalidInputError, match="4 features"):
        RadialBasis(3, 4).output_shape((7, 4))
