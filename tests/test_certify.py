"""The certificate: right backends pass, and every planted defect is caught, by the section that is there for it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlpx import registry
from mlpx.certify import Absent, Certificate, Check, DeviceRecord, capabilities, certify, compare, read, write
from mlpx.certify.precision import bits_kept
from mlpx.certify.processes import certified_elsewhere
from mlpx.certify.random_bits import PINNED, start_key
from mlpx.certify.record import SECTIONS
from mlpx.certify.specimens import optimizers, specimens
from mlpx.cli import main
from mlpx.errors import BackendMissingError, ConfigError, DataFileError
from mlpx.namespace import namespace_of
from mlpx.ops.affine import Residuals as AffineResiduals
from mlpx.ops.affine import affine, affine_backward
from mlpx.ops.definition import OPS
from mlpx.ops.gated import gelu
from mlpx.optim.base import OPTIMIZERS
from mlpx.random.threefry import threefry2x32
from mlpx.registry import Availability
from mlpx.testing import budgets
from mlpx.testing.strict_backend import StrictBackend
from mlpx.testing.trials import GRADIENT_OF

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[1] / "docs"
DEVICE = "strict:device1"
TF32, BFLOAT16 = 10, 7


# ------------------------------------------------------------------ what passes


@pytest.fixture(scope="module")
def numpy_certificate():
    return certify(["numpy"])


def test_numpy_passes_every_section(numpy_certificate):
    assert numpy_certificate.passed, numpy_certificate.table()
    (record,) = numpy_certificate.devices
    assert (record.device, record.backend, record.version) == ("numpy", "numpy", np.__version__)
    assert record.dtypes == ("float64", "float32")
    assert all(record.of(section) for section in SECTIONS)
    assert record.description


def test_every_case_is_measured_forward_and_backward_in_every_dtype(numpy_certificate):
    (record,) = numpy_certificate.devices
    measured = {(check.name, check.quantity, check.dtype) for check in record.of("ops") if check.error is not None}
    for op in OPS.values():
        for case in op.cases:
            for dtype in record.dtypes:
                assert (case.name, "y", dtype) in measured
                assert any(name == case.name and what.startswith(GRADIENT_OF) for name, what, kind in measured if kind == dtype)


def test_every_error_is_beside_a_budget_and_within_it(numpy_certificate):
    for check in numpy_certificate.devices[0].checks:
        if check.error is not None:
            assert 0 <= check.error <= check.budget < math.inf


def test_every_network_trains_a_hundred_steps_and_every_optimizer_takes_one(numpy_certificate):
    (record,) = numpy_certificate.devices
    assert {check.name for check in record.of("networks")} == {specimen.name for specimen in specimens()}
    for specimen in specimens():
        assert any(
            (one.name, one.quantity, one.way, one.dtype) == (specimen.name, "params after 100 steps", "compiled", "float64")
            for one in record.of("training")
        )
    stepped = {one.quantity for one in record.of("networks") if "after one step" in one.quantity}
    assert stepped == {f"params after one step of {name}" for name in optimizers()}


def test_every_optimizer_there_is_takes_part(numpy_certificate):
    taking_part = {optimizer.name for optimizer in optimizers().values()}
    taking_part |= {check.name for check in numpy_certificate.devices[0].of("training")}
    assert {name for name in OPTIMIZERS if OPTIMIZERS[name].__module__.startswith("mlpx.")} <= taking_part


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_other_libraries_pass(name):
    if not registry.availability(name).ok:
        pytest.skip(registry.availability(name).reason)
    found = certify([f"{name}:cpu"], sections=["transfers", "precision"])
    assert found.passed, found.table()
    assert found.devices[0].dtypes == ("float64", "float32")


def test_a_backend_registered_in_this_process_passes_on_each_of_its_devices():
    found = certify(["strict"], sections=["random"])
    assert [record.device for record in found.devices] == ["strict:device1", "strict:device2", "strict:cpu"]
    assert found.passed


def test_draws_are_those_of_jax():
    jax = pytest.importorskip("jax")
    words = jax.random.wrap_key_data(np.asarray(start_key()).view(np.uint32), impl="threefry2x32")
    from mlpx.certify.random_bits import digest

    children = np.asarray(jax.random.key_data(jax.random.split(words, 5))).view(np.int32)
    child = np.asarray(jax.random.key_data(jax.random.fold_in(words, 2**32 - 1))).view(np.int32)
    assert (digest(children), digest(child)) == (PINNED["split"], PINNED["fold_in"])


def test_no_relu_of_the_specimens_is_near_its_kink():
    """Where rounding could flip a gate in float32, two right backends would differ by far more than their budget."""
    specimen = specimens()[0]
    layers = [specimen.net.layout.entries[f"{layer}.{part}"] for layer in range(2) for part in ("weight", "bias")]
    w0, b0, w1, b1 = (specimen.params[one.offset : one.offset + one.size].reshape(one.shape) for one in layers)
    for x in specimen.x:
        first = x @ w0.T + b0
        second = np.maximum(first, 0) @ w1.T + b1
        for z, m in ((first, w0.shape[1]), (second, w1.shape[1])):
            assert np.min(np.abs(z)) > budgets.product(m) * np.finfo(np.float32).eps * np.max(np.abs(z)) / 2


# ------------------------------------------------------------------ what is planted


class Planted(StrictBackend):
    """array-api-strict with a defect: kernels of its own, or an overridden method."""

    def __init__(self, **kernels):
        self.kernels = {name.replace("__", "."): kernel for name, kernel in kernels.items()}


@pytest.fixture
def plant():
    """Put a backend in the place of the strict one, for one test."""
    before = registry.find("strict")
    yield lambda backend: (registry.register(backend), backend)[1]
    registry.register(before)


def failures(section, sections=None):
    found = certify([DEVICE], sections=sections or [section])
    assert not found.passed, f"nothing in {section} caught it"
    assert "✗" in found.table()
    return [check for check in found.devices[0].failures if check.section == section]


def rounded(x, bits):
    """x rounded to so many explicit bits of mantissa, by Veltkamp's splitting."""
    digits = {"float32": 24, "float64": 53}[str(x.dtype).rpartition(".")[2]]
    shifted = x * float(2 ** (digits - 1 - bits) + 1)
    return shifted - (shifted - x)


def rounding_affine(bits):
    def affine_in_few_bits(a, weight, bias):
        namespace_of(a, weight, bias)
        return rounded(a, bits) @ rounded(weight, bits).T + bias, AffineResiduals(a, weight)

    return affine_in_few_bits


def rounding_backward(bits):
    def backward_in_few_bits(delta, residuals):
        few = [rounded(one, bits) for one in residuals]
        return affine_backward.definition(rounded(delta, bits), type(residuals)(*few))

    return backward_in_few_bits


def test_the_veltkamp_split_of_these_tests_rounds_to_that_many_bits():
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    mantissas, _ = np.frexp(rounded(x, TF32).astype(np.float64))
    assert np.all(mantissas * 2 ** (TF32 + 1) == np.round(mantissas * 2 ** (TF32 + 1)))
    assert bits_kept(rounded(x, TF32), x) == TF32
    assert bits_kept(x, x) == np.finfo(np.float64).nmant


@pytest.mark.parametrize(("bits", "known"), [(TF32, "as TF32 and float16"), (BFLOAT16, "as bfloat16")])
@pytest.mark.parametrize(
    ("kernels", "caught"),
    [
        (lambda bits: {"affine": rounding_affine(bits)}, "affine: A Wᵀ"),
        (lambda bits: {"affine__backward": rounding_backward(bits)}, "affine: δᵀ A"),
    ],
)
def test_products_of_rounded_numbers_are_caught(plant, bits, known, kernels, caught):
    plant(Planted(**kernels(bits)))
    found = failures("precision")
    assert {check.quantity for check in found if check.name == caught} == {"left operand", "right operand", "sums"}
    assert all(
        f"rounded to {bits} of 23 bits of mantissa ({known})" in check.detail
        for check in found
        if check.dtype == "float32" and check.quantity != "sums"
    )
    assert {check.way for check in found} == {"eager", "static", "compiled"}


@pytest.mark.parametrize("bits", [TF32, BFLOAT16])
def test_a_library_whose_own_products_round_is_caught(plant, monkeypatch, bits):
    xp = plant(Planted()).namespace()
    kind = type(xp.zeros(()))
    exact = kind.__matmul__
    monkeypatch.setattr(kind, "__matmul__", lambda a, b: exact(rounded(a, bits), rounded(b, bits)))
    assert {check.name for check in failures("precision")} >= {"A Wᵀ", "δ W", "δᵀ A", "affine: A Wᵀ"}


@pytest.mark.parametrize("operand", [0, 1])
def test_one_rounded_operand_is_enough(plant, operand):
    def affine_of_one_rounded(a, weight, bias):
        namespace_of(a, weight, bias)
        left, right = ((rounded(a, TF32), weight), (a, rounded(weight, TF32)))[operand]
        return left @ right.T + bias, AffineResiduals(a, weight)

    plant(Planted(affine=affine_of_one_rounded))
    exact = {check.quantity for check in failures("precision") if check.quantity != "sums"}
    assert exact == {("left operand", "right operand")[operand]}


def test_sums_kept_in_few_bits_are_caught(plant):
    def affine_summed_in_few_bits(a, weight, bias):
        namespace_of(a, weight, bias)
        half = a.shape[1] // 2
        z = rounded(a[:, :half] @ weight[:, :half].T, TF32) + rounded(a[:, half:] @ weight[:, half:].T, TF32)
        return z + bias, AffineResiduals(a, weight)

    plant(Planted(affine=affine_summed_in_few_bits))
    assert "sums" in {check.quantity for check in failures("precision")}


def test_rounding_that_only_a_compiled_step_does_is_caught(plant):
    class Compiling(Planted):
        def compile(self, step, example):
            def compiled(state, batch):
                self.kernels = {"affine": rounding_affine(TF32)}
                try:
                    return step(state, batch)
                finally:
                    self.kernels = {}

            return compiled

    plant(Compiling())
    assert {check.way for check in failures("precision")} == {"compiled"}
    training = failures("training")
    assert {check.way for check in training} == {"compiled"}
    assert {check.quantity for check in training} >= {"params after 100 steps"}


def test_a_backend_that_cannot_promise_ieee_fails(plant):
    class Coarse(Planted):
        def precision(self, name):
            raise ConfigError("only tf32 here")

    plant(Coarse())
    assert [check.detail for check in failures("precision")] == ["only tf32 here"]


def wrong_gelu(mistake):
    def gelu_backward(da, residuals):
        right = gelu.gradient.definition(da, residuals)
        return {
            "sign": lambda: -right,
            "scale": lambda: right * 1.0001,
            "term": lambda: da * residuals.s,
            "shape": lambda: right[:1, ...],
            "dtype": lambda: namespace_of(right).astype(right, namespace_of(right).float64),
            "nan": lambda: right * (da * 0 + math.nan),
        }[mistake]()

    return gelu_backward


@pytest.mark.parametrize("mistake", ["sign", "scale", "term", "shape", "dtype", "nan"])
def test_a_wrong_backward_kernel_is_caught(plant, mistake):
    plant(Planted(gelu__backward=wrong_gelu(mistake)))
    found = failures("ops")
    assert {check.name for check in found} == {"gelu"}
    assert "gradient of z" in {check.quantity for check in found} or all("gradient of z" in check.detail for check in found)


def test_a_right_kernel_passes_and_is_named_as_what_ran(plant):
    def right_gelu(da, residuals):
        c, s, e = residuals
        du = 3 * 2 * math.sqrt(2 / math.pi) * 0.044715 * (c * c) + 2 * math.sqrt(2 / math.pi)
        return da * (s + c * du * (e / ((1 + e) * (1 + e))))

    plant(Planted(gelu__backward=right_gelu))
    found = certify([DEVICE], sections=["ops", "kernels"])
    assert found.passed, found.table()
    ran = {
        check.quantity: check.ran for check in found.devices[0].of("ops") if check.name == "gelu" and check.error is not None
    }
    assert ran["y"] == "definition"
    assert ran["gradient of z"].endswith("right_gelu")
    assert found.devices[0].of("kernels")[0].detail.endswith("calls")


def test_a_kernel_under_a_name_that_nothing_looks_up_is_caught(plant):
    plant(Planted(gelu_backward=wrong_gelu("sign")))
    (failed,) = failures("kernels", ["ops", "kernels"])
    assert "registered for 'gelu_backward' and did not run" in failed.detail


def test_a_kernel_that_hands_back_to_the_definition_is_caught(plant):
    def shy_gelu(z):
        return gelu.definition(z)

    plant(Planted(gelu=shy_gelu))
    assert "handed all of its" in failures("kernels", ["ops", "kernels"])[0].detail
    assert {check.name for check in failures("ops")} == {"gelu"}


def test_a_kernel_may_call_the_definition_on_parts_of_its_input(plant):
    def gelu_by_halves(z):
        xp, half = namespace_of(z), z.shape[0] // 2
        (a, kept), (b, more) = gelu.definition(z[:half, ...]), gelu.definition(z[half:, ...])
        return xp.concat([a, b]), type(kept)(*(xp.concat([x, y]) for x, y in zip(kept, more, strict=True)))

    plant(Planted(gelu=gelu_by_halves))
    assert certify([DEVICE], sections=["ops", "kernels"]).passed


def test_a_kernel_that_the_registry_does_not_hand_out_is_caught(plant):
    class Elsewhere(Planted):
        libraries = ("a_library_of_another_name",)

    plant(Elsewhere(gelu__backward=wrong_gelu("sign")))
    assert "did not run" in failures("kernels", ["ops", "kernels"])[0].detail
    assert any("did not run" in check.detail for check in failures("ops") if check.name == "gelu")


def test_a_kernel_that_takes_its_numbers_to_the_host_is_caught(plant):
    def gelu_on_the_host(z):
        backend = registry.find("strict")
        device = backend.device_name(z)
        a, residuals = gelu.definition(backend.to_numpy(z))
        return backend.from_numpy(a, device), type(residuals)(*(backend.from_numpy(one, device) for one in residuals))

    plant(Planted(gelu=gelu_on_the_host))
    (failed,) = failures("transfers")
    assert (failed.name, failed.quantity) == ("gelu", "no read by the host")
    assert "strict.to_numpy" in failed.detail


def test_a_kernel_that_looks_at_a_value_is_caught(plant):
    def affine_that_looks(a, weight, bias):
        if not math.isfinite(float(namespace_of(a, weight, bias).sum(a))):
            raise FloatingPointError
        return affine.definition(a, weight, bias)

    plant(Planted(affine=affine_that_looks))
    assert "__float__" in next(check for check in failures("transfers") if check.name == "affine").detail


def test_a_kernel_that_silently_converts_host_arrays_is_caught(plant):
    def obliging_affine(a, weight, bias):
        backend = registry.find("strict")
        a, weight, bias = (
            backend.from_numpy(one, "device1") if isinstance(one, np.ndarray) else one for one in (a, weight, bias)
        )
        return affine.definition(a, weight, bias)

    plant(Planted(affine=obliging_affine))
    found = next(check for check in failures("transfers") if check.quantity == "refusal of the host's arrays")
    assert (found.name, found.detail) == ("affine", "as argument 1: was accepted; it must raise DeviceMismatchError")


class SharesMemory(Planted):
    def from_numpy(self, array, device):
        return self.namespace().asarray(np.asarray(array), device=self.native_device(device), copy=False)


class LosesHalf(Planted):
    def from_numpy(self, array, device):
        with np.errstate(over="ignore"):
            return super().from_numpy(np.float64(np.float32(array)) if array.dtype == np.float64 else array, device)


class LosesTheSignOfZero(Planted):
    def to_numpy(self, array):
        values = super().to_numpy(array)
        return values + 0 if values.dtype.kind == "f" else values


class LosesOrder(Planted):
    def from_numpy(self, array, device):
        return super().from_numpy(np.ravel(array, order="K").reshape(np.shape(array)), device)


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        (SharesMemory, "shares memory"),
        (LosesHalf, "came back with other bits"),
        (LosesTheSignOfZero, "special numbers: came back with other bits"),
        (LosesOrder, "Fortran order: came back with other bits"),
    ],
)
def test_copies_that_lose_something_are_caught(plant, defect, said):
    plant(defect())
    assert any(said in check.detail for check in failures("transfers") if check.quantity == "round trip")


@pytest.mark.parametrize(
    ("conduct", "said"),
    [
        (lambda z: (z.__setitem__((0, 0), z[0, 0] + 1), gelu.definition(z))[1], "input z was modified"),
        (lambda z: [][1], "raised IndexError"),
    ],
)
def test_misconduct_is_caught(plant, conduct, said):
    plant(Planted(gelu=conduct))
    assert any(said in check.detail for check in failures("ops") if (check.name, check.way) == ("gelu", "eager"))


def test_results_that_change_from_run_to_run_are_caught(plant):
    calls = []

    def unsteady(z):
        calls.append(1)
        a, residuals = gelu.definition(z)
        return a * (1 + len(calls) * float(np.finfo(np.float32).eps)), residuals

    plant(Planted(gelu=unsteady))
    assert any("a second run" in check.detail for check in failures("ops") if check.name == "gelu")


def test_random_words_of_another_stream_are_caught(plant):
    plant(Planted(threefry2x32=lambda key, high, low: threefry2x32.__wrapped__(key, high, low, 16)))
    assert {check.name for check in failures("random")} == set(PINNED)


def test_a_change_of_the_stream_itself_is_caught(plant, monkeypatch):
    monkeypatch.setitem(PINNED, "bits", "0" * 16)
    assert [check.name for check in failures("random")] == ["bits", "bits"]


def test_an_optimizer_kernel_with_a_wrong_bias_correction_is_caught(plant):
    from mlpx.optim.adam import adam_update

    def adam_off_by_one(params, grads, m, v, t, learning_rate, **settings):
        return adam_update.definition(params, grads, m, v, t + 1, learning_rate, **settings)

    plant(Planted(adam=adam_off_by_one))
    assert {check.name for check in failures("training")} >= {"adam", "relu mlp"}
    assert {check.quantity for check in failures("networks")} == {"params after one step of adam"}


def test_a_compile_that_breaks_or_drops_something_is_caught(plant):
    class Breaks(Planted):
        def compile(self, step, example):
            raise RuntimeError("no compiler here")

    class ForgetsMomentum(Planted):
        def compile(self, step, example):
            def compiled(state, batch):
                after, metrics = step(state, batch)
                return (after._replace(optimizer=state.optimizer) if hasattr(after, "optimizer") else after), metrics

            return compiled

    plant(Breaks())
    found = failures("training")
    assert {check.name for check in found} == {specimen.name for specimen in specimens()}
    assert all("no compiler here" in check.detail for check in found)
    plant(ForgetsMomentum())
    assert "params after 100 steps" in {check.quantity for check in failures("training")}


def test_a_section_that_breaks_is_a_failure_and_the_others_still_run(plant):
    class Breaks(Planted):
        def synchronize(self, device):
            raise RuntimeError("the device has gone")

    plant(Breaks())
    found = certify([DEVICE], sections=["random", "kernels"])
    assert [check.detail for check in found.devices[0].failures] == ["raised RuntimeError: the device has gone"]


def test_a_process_that_dies_is_a_failure():
    (record,) = certified_elsewhere("a backend that is nowhere", None)
    assert not record.passed
    assert "ended with status 1" in record.failures[0].detail


def test_a_process_that_hangs_is_given_up():
    (record,) = certified_elsewhere("numpy", None, seconds=0.01)
    assert "was given up" in record.failures[0].detail


# ------------------------------------------------------------------ what is asked for


def test_an_absent_backend_is_a_line_with_reason_and_cure(monkeypatch):
    class Absentee(StrictBackend):
        name = "absentee"
        libraries = ("absentee",)

        def probe(self):
            return Availability(False, "it has not been invented", "wait")

    registry.register(Absentee())
    monkeypatch.setattr("mlpx.certify.certification._present", lambda: {"numpy": None})
    try:
        found = certify(sections=["random"])
        with pytest.raises(BackendMissingError, match=r"not been invented.*Cure: wait"):
            certify(["absentee"])
    finally:
        registry.unregister("absentee")
    assert Absent("absentee", "it has not been invented", "wait") in found.absent
    assert found.passed
    assert "absentee: it has not been invented\n      → wait" in found.table()


def test_by_default_everything_that_works_is_certified_but_the_language_police():
    from mlpx.certify.certification import _present

    assert set(_present()) == {name for name in registry.names() if registry.availability(name).ok} - {"strict"}


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="unknown section 'op'; did you mean 'ops'"):
        certify(["numpy"], sections=["op"])
    with pytest.raises(ConfigError, match="unknown backend 'nunpy'"):
        certify(["nunpy"])


# ------------------------------------------------------------------ the record


def test_a_certificate_survives_its_file(numpy_certificate, tmp_path):
    file = tmp_path / "here.json"
    write(numpy_certificate, file)
    assert read(file) == numpy_certificate
    values = json.loads(file.read_text(encoding="utf-8"))
    assert values["passed"] is True
    assert {"made", "mlpx", "commit", "python", "numpy", "system", "processor", "environment"} <= values["origin"].keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "no mlpx certificate"),
        ("[", "not a certificate|Expecting|nested|value"),
        ('{"format": "mlpx certificate", "format_version": 99}', "format version 99"),
        ('{"format": "mlpx certificate", "format_version": 1, "devices": [{}]}', "damaged"),
    ],
)
def test_a_file_that_is_no_certificate_is_refused_with_its_name(tmp_path, text, said):
    file = tmp_path / "odd.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataFileError, match=said) as caught:
        read(file)
    assert "odd.json" in str(caught.value)


def certificate_of(*checks, device="numpy", **origin):
    return Certificate((DeviceRecord(device, device.partition(":")[0], checks=checks),), origin={"mlpx": "1", **origin})


GELU = Check("ops", "gelu", "y", "eager", "float32", True, error=2.0, budget=16.0, ran="definition")


def test_equal_certificates_differ_in_nothing(numpy_certificate):
    found = compare(numpy_certificate, numpy_certificate)
    assert found.passed
    assert found.table() == "no change"


@pytest.mark.parametrize(
    ("after", "field", "said", "passed"),
    [
        (certificate_of(replace(GELU, error=5.0)), "grown", "2 → 5 eps (budget 16)", True),
        (certificate_of(replace(GELU, error=1.0)), "shrunk", "2 → 1 eps", True),
        (certificate_of(replace(GELU, error=40.0, passed=False)), "broken", "error 40 eps (budget 16)", False),
        (certificate_of(GELU, replace(GELU, name="mish")), "added", "mish", True),
        (certificate_of(), "removed", "gelu", True),
        (certificate_of(replace(GELU, ran="fast.gelu")), "ran", "definition → fast.gelu", True),
        (certificate_of(GELU, mlpx="2"), "versions", "mlpx: 1 → 2", True),
        (certificate_of(GELU, device="torch:cpu"), "devices", "torch:cpu is new", True),
        (certificate_of(replace(GELU, name="all of it", passed=False)), "broken", "all of it", False),
    ],
)
def test_what_changed_is_said(after, field, said, passed):
    found = compare(certificate_of(GELU), after)
    assert any(said in line for line in getattr(found, field))
    assert said in found.table()
    assert found.passed is passed


def test_what_failed_before_and_passes_now_is_said_and_is_no_failure():
    found = compare(certificate_of(replace(GELU, passed=False)), certificate_of(GELU))
    assert found.passed
    assert found.mended


def test_a_new_check_that_fails_was_not_passed_before():
    before = certificate_of(replace(GELU, passed=False))
    assert compare(before, certificate_of(replace(GELU, passed=False), replace(GELU, name="mish", passed=False))).passed


# ------------------------------------------------------------------ the command


def test_the_command_prints_a_table_and_writes_the_file(tmp_path, capsys):
    file = tmp_path / "numpy.json"
    assert main(["certify", "--device", "numpy", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    assert "numpy" in said
    assert "all within their budgets" in said
    assert read(file).passed


def test_the_command_fails_where_a_check_fails(plant, capsys):
    plant(Planted(gelu_backward=wrong_gelu("sign")))
    assert main(["certify", "--device", DEVICE]) == 1
    assert "strict:device1 fails:" in capsys.readouterr().out


def test_the_command_compares_two_files(tmp_path, capsys):
    files = [tmp_path / name for name in ("a.json", "b.json")]
    write(certificate_of(GELU), files[0])
    write(certificate_of(replace(GELU, error=40.0, passed=False)), files[1])
    assert main(["certify", "--compare", str(files[0]), str(files[1])]) == 1
    assert "Passed before, fails now:" in capsys.readouterr().out
    assert main(["certify", "--compare", str(files[0]), str(files[0])]) == 0
    assert main(["certify", "--compare", str(files[0]), str(tmp_path / "none.json")]) == 3
    assert main(["certify", "--device", "numpy", "--compare", str(files[0]), str(files[0])]) == 2


def test_the_command_refuses_a_file_it_could_not_write_before_it_measures(tmp_path, capsys):
    assert main(["certify", "--json", str(tmp_path / "no folder" / "a.json")]) == 3
    assert "there is no folder" in capsys.readouterr().err


# ------------------------------------------------------------------ the documentation


def test_the_capability_table_is_up_to_date():
    """In a process of its own: here, other tests may have listed ops of theirs."""
    page = (DOCS / "reference" / "capabilities.md").read_text(encoding="utf-8")
    committed = page.partition(capabilities.KERNELS_HEADING)[0]
    cure = "run: python -m mlpx.certify.capabilities docs/reference/capabilities.md"
    code = "from mlpx.certify import capabilities; print(capabilities.machine_independent())"
    made = subprocess.run([sys.executable, "-X", "utf8", "-c", code], capture_output=True, check=True).stdout.decode()
    assert committed.rstrip() == made.rstrip(), cure


def test_every_op_has_an_equation_in_the_capability_table():
    for op in OPS.values():
        if op.__module__.startswith("mlpx."):
            assert any("=" in line for line in capabilities.equation(op)), op.name


def test_the_page_on_the_certificate_states_the_budgets_that_hold():
    page = (DOCS / "explanation" / "certificate.md").read_text(encoding="utf-8")
    for stated in (
        f"gelu: {budgets.elementwise():g}",
        f"m = 7: {budgets.product(7):.3g}; m = 256: {budgets.product(256):.3g}",
        f"m = 7: {budgets.normalising(7):.3g}",
        f"L = 3, m = 64, k = 256: {round(budgets.network(3, 64, 256), -1):.0f}",
        f"100 steps, m = 256: {round(budgets.trajectory(100, 256), -3):.0f}",
        f"{budgets.trajectory(100, 256) * 2.0**-52:.1e}".replace("e-11", "·10⁻¹¹"),
    ):
        assert stated in page
