"""Learning-rate schedules: hand-computed values, on every library, traced or not."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mlpx import optim
from mlpx.errors import ConfigError, InvalidTypeError
from mlpx.namespace import namespace_of
from mlpx.optim import schedules
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values, expect_kind
from mlpx.testing.variants import available_variants

variants = pytest.mark.parametrize("place", available_variants(), ids=str)


def inverse_time(step):
    return 0.5 / (1.0 + 0.25 * namespace_of(step).astype(step, namespace_of(step).float32))


# Each value worked by hand from the equation in the class's docstring.
VALUES = [
    (optim.Constant(0.3), {0: 0.3, 10**6: 0.3}),
    (optim.StepDecay(0.8, every=10, factor=0.5), {0: 0.8, 9: 0.8, 10: 0.4, 19: 0.4, 20: 0.2, 35: 0.1}),
    (optim.StepDecay(1.0, every=1000), {999: 1.0, 1000: 0.1, 2000: 0.01}),
    (optim.Exponential(0.8, 0.25, every=2), {0: 0.8, 1: 0.4, 2: 0.2, 4: 0.05}),
    (optim.Exponential(1e-3, 10.0, every=100), {0: 1e-3, 100: 1e-2, 300: 1.0}),
    (optim.Cosine(1.0, 100), {0: 1.0, 25: 0.5 + 0.25 * math.sqrt(2), 50: 0.5, 100: 0.0, 101: 0.0, 10**6: 0.0}),
    (optim.Cosine(0.9, 60, final=0.1), {0: 0.9, 20: 0.7, 30: 0.5, 40: 0.3, 60: 0.1, 61: 0.1}),
    (optim.WarmUp(0.8, 4), {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 4: 0.8, 10**6: 0.8}),
    (optim.WarmUp(optim.StepDecay(1.0, every=2, factor=0.5), 4), {0: 0.25, 1: 0.5, 2: 0.375, 3: 0.5, 4: 0.25}),
    (optim.ReduceOnPlateau(0.25), {0: 0.25, 10**6: 0.25}),
    (optim.FunctionOfStep(inverse_time), {0: 0.5, 4: 0.25, 12: 0.125}),
    (optim.FunctionOfStep(lambda step: 0.125), {7: 0.125}),
]
PLAIN = [schedule for schedule, _ in VALUES if not isinstance(schedule, optim.FunctionOfStep)]


@variants
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("schedule", "values"), VALUES, ids=str)
def test_values(schedule, values, dtype, place):
    if dtype not in place.floating:
        pytest.skip(f"{place} does not compute in {dtype}")
    evaluate = place.wrap(lambda step: schedule(step, place.dtype(dtype)))
    rates = []
    for step in values:
        counted = place.put(np.asarray(step, dtype=np.int32))
        rate = evaluate(counted)
        expect_kind(rate, type(counted), place.result_device, place.dtype(dtype), (), f"{schedule} at {step}")
        rates.append(rate)
    if place.materialises:
        got = np.asarray([float(place.get(rate)) for rate in rates])
        assert_values(
            got, np.asarray(list(values.values())), dtype=dtype, budget=budgets.of("elementwise"), what=repr(schedule)
        )


def test_long_decay_is_right_in_float32():
    # 0.999^5000 = exp(5000 log 0.999); a base rounded to float32 would be wrong by 5000 half units.
    schedule = optim.Exponential(1.0, 0.999)
    got = schedule(np.asarray(5000, dtype=np.int32), np.float32)
    assert_values(
        np.asarray(got),
        np.asarray(0.999**5000),
        dtype="float32",
        budget=5000 * -math.log(0.999) + budgets.of("elementwise"),
        what="rate",
    )


@pytest.mark.parametrize(
    ("mode", "history", "cuts"),
    [
        ("min", [], 0),
        ("min", [3.0, 2.0, 1.0], 0),
        ("min", [1.0, 1.0, 1.0], 0),
        ("min", [1.0, 1.0, 1.0, 1.0], 1),  # patience 2: the third epoch without improvement cuts
        ("min", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 1),
        ("min", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 2),
        ("min", [1.0, 1.0, 1.0, 0.95, 1.0], 1),  # 0.95 is within min_delta
        ("min", [1.0, 1.0, 1.0, 0.8, 1.0, 1.0], 0),
        ("min", [1.0, math.nan, math.nan, math.nan], 1),
        ("max", [0.1, 0.5, 0.9], 0),
        ("max", [0.9, 0.5, 0.5, 0.5], 1),
    ],
)
def test_plateaus(mode, history, cuts):
    schedule = optim.ReduceOnPlateau(1.0, factor=0.25, patience=2, min_delta=0.1, mode=mode)
    assert schedule.scale(history) == 0.25**cuts


def test_plateaus_cut_where_torch_cuts():
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(11)
    twin = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        twin, factor=0.5, patience=3, threshold=0.01, threshold_mode="abs", min_lr=0.03, eps=0
    )
    schedule = optim.ReduceOnPlateau(0.5, factor=0.5, patience=3, min_delta=0.01, min_rate=0.03)
    history = []
    for epoch in range(60):
        history.append(1 / (1 + epoch) + 0.2 * generator.random())
        scheduler.step(history[-1])
        assert 0.5 * schedule.scale(history) == twin.param_groups[0]["lr"]
    assert twin.param_groups[0]["lr"] == 0.03


def test_warm_up_hands_the_plateau_through():
    schedule = optim.WarmUp(optim.ReduceOnPlateau(1.0, patience=0, monitor="loss"), 10)
    assert schedule.monitor == "loss"
    assert schedule.scale([1.0, 1.0]) == 0.1
    assert optim.Constant(1.0).monitor is None
    assert optim.Constant(1.0).scale([1.0, 1.0]) == 1.0


@pytest.mark.parametrize("schedule", PLAIN, ids=str)
def test_configuration_makes_an_equal_schedule(schedule):
    again = schedules.get(json.loads(json.dumps(schedule.config())))
    assert again == schedule
    assert eval(repr(schedule), vars(optim)) == schedule
    assert optim.Adam(schedule.config()).learning_rate == schedule


def test_a_function_is_recorded_but_not_made_again():
    schedule = schedules.get(inverse_time)
    config = json.loads(json.dumps(schedule.config()))
    assert config["function"].endswith("inverse_time")
    with pytest.raises(ConfigError, match=r"inverse_time.*pass the function itself"):
        schedules.get(config)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: optim.Constant(0.0), r"rate=0.0.*\(0, inf\)"),
        (lambda: optim.StepDecay(0.1, every=0), "every=0.*≥ 1"),
        (lambda: optim.StepDecay(0.1, every=5, factor=1.5), r"factor=1.5.*\(0, 1\]"),
        (lambda: optim.Exponential(0.1, 0.0), r"decay=0.0.*\(0, inf\)"),
        (lambda: optim.Cosine(0.1, 2.5), "steps=2.5.*whole number"),
        (lambda: optim.Cosine(0.1, 10, final=-1), r"final=-1.*\[0, inf\)"),
        (lambda: optim.WarmUp(0.0, 10), "schedule=0.0"),
        (lambda: optim.WarmUp(0.1, 0), "steps=0"),
        (lambda: optim.ReduceOnPlateau(0.1, factor=1.0), r"factor=1.0.*\(0, 1\)"),
        (lambda: optim.ReduceOnPlateau(0.1, patience=-1), "patience=-1.*≥ 0"),
        (lambda: optim.ReduceOnPlateau(0.1, min_rate=0.2), r"min_rate=0.2.*\[0, 0.1\]"),
        (lambda: optim.ReduceOnPlateau(0.1, mode="lower"), "mode='lower'.*'min'.*'max'"),
        (lambda: schedules.get({"name": "cosin", "rate": 1.0}), "unknown schedule 'cosin'; did you mean 'cosine'"),
        (lambda: schedules.get("0.1", "learning_rate"), "learning_rate='0.1'"),
    ],
)
def test_settings_out_of_range(make, match):
    with pytest.raises(ConfigError, match=match):
        make()


def test_wrong_and_missing_arguments():
    with pytest.raises(InvalidTypeError, match="Cosine takes no argument 'step'; did you mean 'steps'"):
        optim.Cosine(0.1, step=10)
    with pytest.raises(InvalidTypeError, match="'cosine' needs steps"):
        schedules.get({"name": "cosine", "rate": 0.1})


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda step: 0.999 - 0.001001 * step, r"-0\.0009.* at step 999"),
        (lambda step: np.sqrt(np.float64(step)) * np.nan, "nan at step 0"),
        (lambda step: -1.0 if step == 1 else 1.0, "-1.0 at step 1"),
        (lambda step: -1.0 if step == 500 else 1.0, "-1.0 at step 500"),
        (lambda step: np.inf, "inf at step 0"),
        (lambda step: np.asarray([0.1]), r"shape \(1,\).*step 0"),
        (lambda step: 0.0, None),
    ],
)
def test_rates_no_one_can_train_with(function, match):
    schedule = optim.FunctionOfStep(function)
    if match is None:
        schedules.validate(schedule, 1000)
        return
    with pytest.raises(ConfigError, match=match):
        schedules.validate(schedule, 1000)


@pytest.mark.parametrize("total", [0, 1, 2, 3, 1000])
def test_every_schedule_of_ours_can_be_trained_with(total):
    for schedule in PLAIN:
        schedules.validate(schedule, total)
