"""Update rules: the same numbers as PyTorch's, on every library, from arrays that stay as they were."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlpx import optim, registry
from mlpx.errors import ConfigError, DeviceMismatchError, InvalidTypeError
from mlpx.namespace import namespace_of
from mlpx.ops.definition import OPS, UPDATES
from mlpx.optim.adam import adam_update
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values, expect_kind
from mlpx.testing.variants import available_variants, variant

STEPS = 20
RATE = 0.03
VARIANTS = available_variants()
BUDGET = STEPS * budgets.of("elementwise")

RULES = {
    "sgd": optim.SGD(RATE),
    "sgd-momentum": optim.SGD(RATE, momentum=0.9),
    "sgd-nesterov": optim.SGD(RATE, momentum=0.8, nesterov=True),
    "adam": optim.Adam(RATE),
    "adam-settings": optim.Adam(RATE, beta1=0.5, beta2=0.9, eps=1e-3),
    "adam-no-memory": optim.Adam(RATE, beta1=0.0, beta2=0.0),
    "adamw": optim.AdamW(RATE, weight_decay=0.1),
    "rmsprop": optim.RMSprop(RATE),
    "rmsprop-momentum": optim.RMSprop(RATE, decay=0.99, momentum=0.9),
}

rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
variants = pytest.mark.parametrize("place", VARIANTS, ids=str)


def gradients_of(place: np.ndarray) -> np.ndarray:
    """∂/∂p of ½ pᵀ diag(c) p + sin-shaped bumps: neither constant nor of one sign."""
    return np.linspace(-1.0, 3.0, place.size, dtype=place.dtype) * place + np.cos(3.0 * place)


def start(dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(3).standard_normal(17).astype(dtype)


def follow(rule: optim.Optimizer, params: np.ndarray, steps: int) -> np.ndarray:
    """Parameters after some updates on NumPy."""
    state, rate = rule.init(params), np.asarray(RATE, dtype=params.dtype)
    for _ in range(steps):
        params, state = rule.update(params, gradients_of(params), state, rate)
    return params


def torch_twin(rule: optim.Optimizer, parameter):
    import torch

    if isinstance(rule, optim.SGD):
        return torch.optim.SGD([parameter], lr=RATE, momentum=rule.momentum, nesterov=rule.nesterov)
    if isinstance(rule, optim.RMSprop):
        return torch.optim.RMSprop([parameter], lr=RATE, alpha=rule.decay, eps=rule.eps, momentum=rule.momentum)
    settings = {"lr": RATE, "betas": (rule.beta1, rule.beta2), "eps": rule.eps}
    if isinstance(rule, optim.AdamW):
        return torch.optim.AdamW([parameter], weight_decay=rule.weight_decay, **settings)
    return torch.optim.Adam([parameter], **settings)


@rules
def test_twenty_updates_equal_torch(rule):
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.tensor(start()))
    twin = torch_twin(rule, parameter)
    for _ in range(STEPS):
        parameter.grad = torch.tensor(gradients_of(parameter.detach().numpy()))
        twin.step()
    assert_values(follow(rule, start(), STEPS), parameter.detach().numpy(), dtype="float64", budget=BUDGET, what=repr(rule))


@variants
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@rules
def test_update_on_every_library(rule, dtype, place):
    if dtype not in place.floating:
        pytest.skip(f"{place} does not compute in {dtype}")
    params, grads = start(dtype), gradients_of(start(dtype))
    x, g, rate = place.put(params), place.put(grads), place.put(np.asarray(RATE, dtype=dtype))

    def two_updates(x, g, rate):
        once, state = rule.update(x, g, rule.init(x), rate)
        twice, state = rule.update(once, g, state, rate)
        return (twice, *[part for part in state if not isinstance(part, tuple)])

    results = place.wrap(two_updates)(x, g, rate)
    for result in results[1:]:
        count = tuple(result.shape) == ()
        expect_kind(result, type(x), place.result_device, place.dtype("int32") if count else x.dtype, None, repr(rule))
    expect_kind(results[0], type(x), place.result_device, x.dtype, (17,), repr(rule))
    assert np.array_equal(place.get(x), params)
    assert np.array_equal(place.get(g), grads)
    if not place.materialises:
        return
    exact = two_updates(*(np.asarray(a, dtype=np.float64) for a in (params, grads, np.asarray(RATE, dtype=dtype))))
    for result, reference in zip(results, exact, strict=True):
        assert_values(
            np.asarray(place.get(result), np.float64),
            reference,
            dtype=dtype,
            budget=2 * budgets.of("elementwise"),
            what=str(rule),
        )


def test_first_step_of_adam_is_the_rate_even_in_float32():
    # Hand-worked: at t = 1 both corrections cancel, so p - lr g / (|g| + eps) = -1 for p = 0, g = 1, lr = 1, eps = 1e-30.
    one = np.ones(1, dtype=np.float32)
    rule = optim.Adam(1.0, eps=1e-30)
    after, state = rule.update(0 * one, one, rule.init(one), np.float32(1))
    assert_values(after, -one, dtype="float32", budget=budgets.of("elementwise"), what="first step")
    assert int(state.t) == 1


def test_adamw_decays_what_has_no_gradient():
    # Hand-worked: g = 0 gives p (1 - lr wd) = 2 (1 - 0.5 · 0.1) = 1.9.
    rule = optim.AdamW(0.5, weight_decay=0.1)
    p = np.asarray([2.0])
    after, _ = rule.update(p, np.zeros(1), rule.init(p), np.asarray(0.5))
    assert_values(after, np.asarray([1.9]), dtype="float64", budget=budgets.of("elementwise"), what="decayed")


def test_plain_descent_and_rmsprop_keep_no_velocity():
    p = start()
    assert optim.SGD().init(p).velocity == ()
    assert optim.RMSprop().init(p).velocity == ()
    assert optim.SGD(momentum=0.5).init(p).velocity.shape == p.shape


def test_arrays_of_two_devices_are_refused():
    one, other = variant("strict:device1").put(start()), variant("strict:device2").put(start())
    rule = optim.Adam()
    with pytest.raises(DeviceMismatchError, match=r"device1.*device2"):
        rule.update(one, other, rule.init(one), namespace_of(one).asarray(RATE, device=one.device))


def test_update_rules_are_listed_apart_from_differentiable_ops():
    assert set(UPDATES) >= {"sgd", "sgd_momentum", "adam", "adamw", "rmsprop", "rmsprop_momentum", "ema"}
    assert not set(UPDATES) & set(OPS)


def test_a_kernel_of_that_name_stands_in(monkeypatch):
    seen = []
    monkeypatch.setattr(registry, "kernel_for", lambda name, array: lambda *a, **k: seen.append((name, k)) or a)
    p = start()
    adam_update(p, p, p, p, 0, 1.0, beta1=0.9)
    assert seen == [("adam", {"beta1": 0.9})]


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), float("inf"), True, "0.1", None, [0.1, 0.2]])
@pytest.mark.parametrize("made", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop])
def test_learning_rates_that_are_none(made, rate):
    with pytest.raises(ConfigError, match=r"learning_rate=.*finite number in \(0, inf\)"):
        made(rate)


@pytest.mark.parametrize(
    ("made", "setting", "value", "accepted"),
    [
        (optim.SGD, "momentum", 1, r"\[0, 1\)"),
        (optim.SGD, "momentum", -0.1, r"\[0, 1\)"),
        (optim.SGD, "nesterov", True, "momentum"),
        (optim.Adam, "beta1", 1.0, r"\[0, 1\)"),
        (optim.Adam, "beta2", 1, r"\[0, 1\)"),
        (optim.Adam, "eps", 0, r"\(0, inf\)"),
        (optim.AdamW, "weight_decay", -1e-3, r"\[0, inf\)"),
        (optim.RMSprop, "decay", 1, r"\[0, 1\)"),
        (optim.RMSprop, "eps", -1e-8, r"\(0, inf\)"),
        (optim.RMSprop, "momentum", float("nan"), r"\[0, 1\)"),
        (optim.LBFGS, "history", 0, "≥ 1"),
        (optim.LBFGS, "history", 2.5, "whole number"),
        (optim.LBFGS, "tolerance_gradient", -1.0, r"\[0, inf\)"),
        (optim.LBFGS, "tolerance_change", "0", r"\[0, inf\)"),
        (optim.LBFGS, "max_evaluations", True, "whole number"),
    ],
)
def test_settings_out_of_range(made, setting, value, accepted):
    with pytest.raises(ConfigError, match=f"{setting}={value!r}.*{accepted}"):
        made(**{setting: value})


@pytest.mark.parametrize("made", [lambda **k: optim.SGD(**k), lambda **k: optim.get({"name": "sgd", **k})])
def test_unknown_keyword_names_the_nearest(made):
    with pytest.raises(InvalidTypeError, match=r"SGD takes no argument 'momentun'; did you mean 'momentum'"):
        made(momentun=0.9)


def test_get():
    assert optim.get("adam") == optim.Adam()
    assert optim.get("lbfgs") == optim.LBFGS()
    rule = optim.SGD(0.1)
    assert optim.get(rule) is rule
    with pytest.raises(ConfigError, match="unknown optimizer 'adamm'; did you mean 'adam'"):
        optim.get("adamm")
    with pytest.raises(ConfigError, match="unknown optimizer None"):
        optim.get({})
    with pytest.raises(InvalidTypeError, match="float"):
        optim.get(0.1)


@pytest.mark.parametrize("rule", [*RULES.values(), optim.LBFGS(history=3), optim.Adam(optim.WarmUp(optim.Cosine(0.1, 50), 5))])
def test_configuration_makes_an_equal_optimizer(rule):
    again = optim.get(json.loads(json.dumps(rule.config())))
    assert again == rule
    assert hash(again) == hash(rule)
    assert repr(again) == repr(rule)
    assert eval(repr(rule), vars(optim)) == rule


def test_optimizers_differ_by_type_and_settings():
    assert optim.Adam(0.1) != optim.Adam(0.2)
    assert optim.Adam(0.1) != optim.AdamW(0.1)
    assert optim.SGD(0.1) != 0.1


def test_a_users_rule_is_found_by_its_name():
    class SignDescent(optim.Optimizer):
        name = "sign_descent"

        def __init__(self, learning_rate=0.1):
            super().__init__(learning_rate)

        def init(self, params):
            return ()

        def update(self, params, grads, state, learning_rate):
            return params - learning_rate * namespace_of(grads).sign(grads), state

    assert optim.get(SignDescent(0.5).config()) == SignDescent(0.5)
    with pytest.raises(ConfigError, match="sign_descent"):
        optim.get("sign")


@variants
def test_average_of_parameters(place):
    # Hand-worked, decay 0.9: a = 0.1 · 1 = 0.1, then 0.9 · 0.1 + 0.1 · 2 = 0.29; read: 0.29 / (1 - 0.81).
    zero, one, two = (place.put(np.full(3, value)) for value in (0.0, 1.0, 2.0))

    def averaged(zero, one, two, count):
        average = optim.ema_update(optim.ema_update(zero, one, decay=0.9), two, decay=0.9)
        return average, optim.ema_read(average, count, decay=0.9)

    average, read = place.wrap(averaged)(zero, one, two, place.put(np.asarray(2, dtype=np.int32)))
    for result, value in ((average, 0.29), (read, 0.29 / 0.19)):
        expect_kind(result, type(zero), place.result_device, zero.dtype, (3,), "average")
        if place.materialises:
            assert_values(
                place.get(result), np.full(3, value), dtype="float64", budget=budgets.of("elementwise"), what="average"
            )
