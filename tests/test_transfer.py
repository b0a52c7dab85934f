"""Arrays move between libraries bit for bit, and nothing that was moved shares memory with what was given."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from mlpx import registry, transfer
from mlpx.errors import BackendMissingError, ConfigError, InvalidInputError, InvalidTypeError
from mlpx.namespace import namespace_of
from mlpx.registry import Device
from mlpx.testing.strict_backend import register_strict

register_strict()

DEVICES = ("numpy", "torch:cpu", "jax:cpu", "strict:device1")
DTYPES = ("float32", "float64", "int32", "int64", "bool", "uint8")


def needs(*specs: str) -> None:
    for spec in specs:
        ok, reason, cure = registry.availability(spec.partition(":")[0])
        if not ok:
            pytest.skip(f"{spec}: {reason}. Cure: {cure}")


def numbers(dtype: str, *shape: int) -> np.ndarray:
    """Every kind of number the dtype has: both ends, both zeros, the not finite ones, and a few in between."""
    if dtype == "bool":
        edges = [True, False]
    elif dtype.startswith("float"):
        kind = np.finfo(dtype)
        edges = [kind.max, kind.min, kind.tiny, kind.smallest_subnormal, -0.0, 0.0, np.inf, -np.inf, np.nan, 1 / 3]
    else:
        kind = np.iinfo(dtype)
        edges = [kind.max, kind.min, 0, 1, 2]
    return np.resize(np.array(edges, dtype), shape)


def layouts(dtype: str) -> dict[str, np.ndarray]:
    base = numbers(dtype, 4, 6)
    readonly = base.copy()
    readonly.flags.writeable = False
    return {
        "contiguous": base,
        "fortran": np.asfortranarray(base),
        "transposed": base.T,
        "strided": base[::2, 1::3],
        "negative stride": base[::-1, ::-2],
        "broadcast": np.broadcast_to(base[0], (3, 6)),
        "read-only": readonly,
        "0-d": numbers(dtype),
        "one": numbers(dtype, 1),
        "empty": base[:0],
        "empty of 3 axes": np.empty((2, 0, 3), dtype),
        "big-endian": base.astype(base.dtype.newbyteorder(">")),
        "little-endian": base.astype(base.dtype.newbyteorder("<")),
        "unaligned": np.frombuffer(b"\0" + base.tobytes(), base.dtype, offset=1).reshape(base.shape),
    }


LAYOUTS = tuple(layouts("float32"))


def same_bits(found: np.ndarray, expected: np.ndarray) -> bool:
    native = np.ascontiguousarray(expected.astype(expected.dtype.newbyteorder("=")))
    return found.dtype == native.dtype and found.shape == expected.shape and found.tobytes() == native.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spec", DEVICES)
def test_round_trips_keep_every_bit(spec, layout, dtype):
    needs(spec)
    given = layouts(dtype)[layout]
    kept = given.tobytes()
    there = transfer.to_device(given, spec)
    back = transfer.to_numpy(there)
    assert str(transfer.device(there)) == spec
    assert tuple(there.shape) == given.shape
    assert same_bits(back, given)
    assert back.dtype.isnative
    assert back.flags.writeable
    assert back.flags.c_contiguous
    assert given.tobytes() == kept


@pytest.mark.parametrize("target", DEVICES)
@pytest.mark.parametrize("source", DEVICES)
def test_every_pair_of_devices_makes_a_copy_of_its_own(source, target):
    needs(source, target)
    for dtype in DTYPES:
        expected = numbers(dtype, 3, 5)
        first = transfer.to_device(expected, source)
        second = transfer.to_device(first, target)
        for overwritten, other in ((first, second), (second, first)):
            if registry.backend_of(overwritten).name == "jax":  # it cannot be written to
                continue
            before = transfer.to_numpy(other)
            overwritten[...] = namespace_of(overwritten).zeros_like(overwritten) + 1 if dtype != "bool" else False
            assert same_bits(transfer.to_numpy(other), before)
            assert not same_bits(transfer.to_numpy(overwritten), expected)
            first, second = transfer.to_device(expected, source), transfer.to_device(expected, target)


@pytest.mark.parametrize("spec", DEVICES)
@pytest.mark.parametrize("size", [1, 16, 4096, 1 << 18])
def test_the_callers_numpy_memory_is_never_shared(spec, size):
    needs(spec)
    given = np.zeros(size, np.float32)  # aligned or not: JAX takes over what is aligned to 64 bytes
    there = transfer.to_device(given, spec)
    given += 1
    back = transfer.to_numpy(there)
    assert not back.any()
    back += 1
    assert not transfer.to_numpy(there).any()


def test_numpy_to_numpy_shares_nothing():
    given = np.arange(6.0).reshape(2, 3)
    for copy in (transfer.to_device(given, "numpy"), transfer.to_numpy(given)):
        assert copy is not given
        assert not np.shares_memory(copy, given)
        assert type(copy) is np.ndarray
    record = given.view(np.recarray)
    assert type(transfer.to_numpy(record)) is np.ndarray
    assert transfer.to_numpy(np.float32(2)).shape == ()


@pytest.mark.parametrize("spec", DEVICES)
def test_python_numbers_and_nested_lists_are_taken(spec):
    needs(spec)
    assert transfer.to_numpy(transfer.to_device([[1.5, 2], [3, 4]], spec)).tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert transfer.to_numpy(transfer.to_device((1, 2), spec)).dtype == np.int64
    assert transfer.to_numpy(transfer.to_device(True, spec)).dtype == np.bool_
    assert transfer.to_numpy(transfer.to_device(2.5, spec)).shape == ()
    assert transfer.to_numpy(transfer.to_device([], spec)).shape == (0,)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([[1.0, 2.0], [3.0]], InvalidInputError, "rows of one length"),
        (["a", "b"], InvalidTypeError, "expected an array of numbers of at most 64 bits, got dtype <U1"),
        ([1, None], InvalidTypeError, "got dtype object"),
        (np.array(["2020-01-01"], "datetime64[D]"), InvalidTypeError, "datetime64"),
        (np.zeros(2, [("a", "f4")]), InvalidTypeError, "expected an array of numbers"),
        (np.zeros(2, np.longdouble), InvalidTypeError, "at most 64 bits"),
        (None, InvalidTypeError, "expected an array, got NoneType"),
        ({"a": 1}, InvalidTypeError, "expected an array, got dict"),
        ("text", InvalidTypeError, "expected an array, got str"),
        ((n for n in range(3)), InvalidTypeError, "expected an array, got generator"),
    ],
)
@pytest.mark.parametrize("spec", ["numpy", "torch:cpu"])
def test_what_is_no_array_of_numbers_is_refused(spec, given, error, words):
    needs(spec)
    if getattr(given, "dtype", None) == np.longdouble and np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("this system has no longer double")
    with pytest.raises(error, match=words):
        transfer.to_device(given, spec)


def test_tables_and_sparse_matrices_say_what_to_call():
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")
    with pytest.raises(InvalidTypeError, match=r"got DataFrame; call its \.to_numpy\(\) first"):
        transfer.to_numpy(pandas.DataFrame({"a": [1.0]}))
    with pytest.raises(InvalidTypeError, match=r"sparse csr_matrix; call its \.toarray\(\) first"):
        transfer.to_device(sparse.csr_matrix(np.eye(2)), "numpy")


# ---- names of devices


def test_auto_and_arrays_and_devices_stand_for_devices():
    automatic = transfer.device("auto")
    assert transfer.device() == automatic
    assert str(automatic) == ("cupy:0" if registry.availability("cupy").ok else "numpy")
    assert transfer.device(automatic) is automatic
    assert transfer.device(np.ones(2)) == transfer.device("numpy") == transfer.device("numpy:cpu")
    assert str(Device(registry.find("numpy"), "cpu")) == "numpy"
    assert transfer.device("numpy").namespace is np
    assert transfer.device("numpy").native == "cpu"


@pytest.mark.parametrize("spec", [spec for spec in DEVICES if spec != "numpy"])
def test_a_devices_name_finds_it_again(spec):
    needs(spec)
    device = transfer.device(spec)
    assert str(device) == spec
    made = device.namespace.zeros(2, dtype=device.namespace.float32, device=device.native)
    assert transfer.device(made) == device
    assert transfer.device(spec.partition(":")[0]).backend is device.backend


def test_auto_picks_a_working_gpu(monkeypatch):
    class Working(type(registry.find("numpy"))):
        name = "cupy"

        def devices(self):
            return ("0", "1")

    registry.register(Working())
    try:
        assert str(transfer.device("auto")) == "cupy:0"
        assert transfer.backends()["cupy"].ok
    finally:
        registry.unregister("cupy")


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("torhc:cpu", ConfigError, "unknown backend 'torhc'; did you mean 'torch'"),
        ("cpu", ConfigError, "unknown device 'cpu': .* did you mean 'numpy'"),
        ("cuda:1", ConfigError, "unknown device 'cuda:1': .* did you mean 'cupy'.*torch"),
        ("numpy:3", BackendMissingError, r"no device 'numpy:3' on this machine \(present: numpy\)"),
        ("torch:cuda:99", BackendMissingError, r"no device 'torch:cuda:99' .*\(present: torch:cpu.*'auto'"),
        ("jax:cuda:99", BackendMissingError, r"no device 'jax:cuda:99' .*\(present: .*jax:cpu"),
        (None, InvalidTypeError, "expected a device name, a device or an array, got NoneType"),
        (0, InvalidTypeError, "got int"),
    ],
)
def test_devices_that_are_not_there_are_named_with_those_that_are(spec, error, words):
    if error is BackendMissingError:
        needs(spec)
    with pytest.raises(error, match=words):
        transfer.device(spec)


# ---- PyTorch


def test_tensors_that_require_a_gradient_come_in_detached():
    needs("torch")
    import torch

    tensor = torch.ones(3, requires_grad=True)
    for copy in (tensor, tensor * 2):
        moved = transfer.to_device(copy, "torch:cpu")
        assert not moved.requires_grad
        assert moved.data_ptr() != copy.data_ptr()
        assert transfer.to_numpy(copy).tolist() == copy.tolist()
    assert tensor.requires_grad


def test_tensors_without_values_in_memory_are_refused():
    needs("torch")
    import torch

    for tensor, words in (
        (torch.ones(2, device="meta"), "got one on torch's meta device"),
        (torch.eye(2).to_sparse(), r"got a sparse_coo one; call its \.to_dense"),
        (torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged), "got a nested one|got a jagged one"),
    ):
        for target in ("numpy", "torch:cpu"):
            with pytest.raises(InvalidTypeError, match=words):
                transfer.to_device(tensor, target)
        with pytest.raises(InvalidTypeError, match=words):
            transfer.device(tensor)


def test_tensors_that_are_lazily_negated_conjugated_or_half_width_come_out_right():
    needs("torch")
    import torch

    z = torch.tensor([1 + 2j, 3 - 4j])
    assert transfer.to_numpy(z.conj()).tolist() == [1 - 2j, 3 + 4j]
    assert transfer.to_numpy(z.conj().imag).tolist() == [-2.0, 4.0]
    assert transfer.to_numpy(torch.tensor([1.5, -3.0], dtype=torch.bfloat16)).tolist() == [1.5, -3.0]
    assert transfer.to_numpy(torch.ones(1, dtype=torch.bfloat16)).dtype == np.float32
    assert transfer.to_numpy(torch.ones(1, dtype=torch.float16)).dtype == np.float16


def test_torch_steps_run_without_autograd_and_repeat_bit_for_bit():
    needs("torch")
    import torch

    def step(state, batch):
        return state - batch.T @ (batch @ state), {"grad": torch.is_grad_enabled()}

    weights = torch.linspace(-1, 1, 32).reshape(8, 4).requires_grad_()
    batch = torch.sin(torch.arange(128.0)).reshape(16, 8)
    compiled = registry.find("torch").compile(step, (weights, batch))
    first, metrics = compiled(weights, batch)
    assert metrics == {"grad": False}
    assert not first.requires_grad
    assert torch.equal(first, compiled(weights, batch)[0])
    assert torch.is_grad_enabled()
    assert compiled.__name__ == "step"


@pytest.mark.parametrize(("setting", "compiles"), [(None, False), ("0", False), ("1", True)])
def test_torchs_compiler_runs_only_where_the_environment_asks(monkeypatch, setting, compiles):
    needs("torch")
    import torch

    monkeypatch.delenv("MLPX_TORCH_COMPILE", raising=False)
    if setting is not None:
        monkeypatch.setenv("MLPX_TORCH_COMPILE", setting)
    monkeypatch.setattr(torch, "compile", lambda step: lambda *arguments: ("compiled", step(*arguments)))
    run = registry.find("torch").compile(lambda state, batch: (torch.is_grad_enabled(), state + batch), ())
    assert run(1, 2) == (("compiled", (False, 3)) if compiles else (False, 3))


def _torch_precision() -> tuple[str, ...]:
    import torch

    own = [m.fp32_precision for m in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul) if hasattr(m, "fp32_precision")]
    return (torch.get_float32_matmul_precision(), *own)


@pytest.mark.parametrize("before", ["highest", "high", "medium"])
@pytest.mark.parametrize(("asked", "inside"), [("ieee", "highest"), ("tf32", "high")])
def test_torchs_precision_is_set_for_a_while_and_put_back(before, asked, inside):
    needs("torch")
    import torch

    untouched = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(before)
        outside = _torch_precision()
        seen = None
        with suppress(ZeroDivisionError), registry.find("torch").precision(asked):
            seen = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32
            raise ZeroDivisionError
        assert seen == (inside, asked == "tf32")
        assert _torch_precision() == outside
    finally:
        torch.set_float32_matmul_precision(untouched)


def test_torchs_newer_settings_survive_too():
    needs("torch")
    import torch

    matmul = torch.backends.mkldnn.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("this PyTorch has one setting only")
    outside = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        with registry.find("torch").precision("ieee"):
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = outside


def test_the_meta_variant_gives_shapes_and_no_values():
    needs("torch")
    import torch

    run = registry.find("torch").trace_variants()["meta"]
    twice = run(lambda pair, names: (pair[0] * 2, names["x"]))
    out, x = twice((torch.ones(3), torch.ones(2)), {"x": torch.ones(4)})
    assert (out.device.type, x.device.type) == ("meta", "meta")
    with pytest.raises(Exception, match=r"meta"):
        run(lambda x: float(x[0]))(torch.ones(3))


# ---- JAX


def test_jax_steps_are_compiled_once_and_overwrite_the_state_they_are_given():
    needs("jax")
    import jax

    traced = []

    def step(state, batch):
        traced.append(batch.shape)
        return {"w": state["w"] - batch, "n": state["n"] + 1}, {"loss": batch.sum()}

    backend = registry.find("jax")
    state = {"w": backend.from_numpy(np.zeros(64, np.float32), "cpu"), "n": backend.from_numpy(np.zeros((), np.int32), "cpu")}
    batch = backend.from_numpy(np.ones(64, np.float32), "cpu")
    run = backend.compile(step, (state, batch))
    given = state["w"]
    for _ in range(3):
        state, metrics = run(state, batch)
    assert traced == [(64,)]
    assert given.is_deleted()
    assert not batch.is_deleted()
    assert transfer.to_numpy(state["w"]).tolist() == [-3.0] * 64
    assert int(state["n"]) == 3
    assert float(metrics["loss"]) == 64.0
    with jax.checking_leaks():
        backend.trace_variants()["jit"](lambda x: x + 1)(batch)


def test_jaxs_precision_is_set_for_a_while():
    needs("jax")
    import jax

    outside = jax.config.jax_default_matmul_precision
    for asked, inside in (("ieee", "highest"), ("tf32", "tensorfloat32")):
        with registry.find("jax").precision(asked):
            assert jax.config.jax_default_matmul_precision == inside
            lowered = jax.jit(lambda a: a @ a).lower(np.ones((2, 2), np.float32)).as_text()
            assert ("HIGHEST" in lowered) == (asked == "ieee")
        assert jax.config.jax_default_matmul_precision == outside


@pytest.mark.parametrize("name", ["torch", "jax"])
@pytest.mark.parametrize("asked", ["bf16", "fp16"])
def test_precisions_that_a_library_does_not_really_have_are_refused(name, asked):
    needs(name)
    with pytest.raises(ConfigError, match=rf"precision='{asked}' is not available on {name} \(available: ieee, tf32\)"):
        registry.find(name).precision(asked)


def test_jax_without_64_bit_dtypes_refuses_them_instead_of_narrowing():
    needs("jax")
    code = """if True:
        import numpy as np
        from mlpx import transfer, registry
        from mlpx.errors import ConfigError
        for dtype in ("float64", "int64", "uint64", "complex128"):
            for ask in (lambda: transfer.to_device(np.ones(2, dtype), "jax"), lambda: registry.find("jax").check_dtype(dtype)):
                try:
                    ask()
                except ConfigError as error:
                    assert f"JAX would turn {dtype} into" in str(error), error
                    assert "JAX_ENABLE_X64=1" in str(error) and "jax_enable_x64" in str(error)
                else:
                    raise SystemExit(f"{dtype} was taken")
        for dtype in ("float32", "int32", "bool", "uint8"):
            assert transfer.to_numpy(transfer.to_device(np.ones(2, dtype), "jax")).dtype == dtype
        assert str(transfer.to_device([1.5, 2.0], "jax").dtype) == "float32"
        assert str(transfer.to_device([1, 2], "jax").dtype) == "int32"
        try:
            transfer.to_device([2**40], "jax")
        except ConfigError:
            print("refused")
        import jax
        jax.config.update("jax_enable_x64", True)
        assert str(transfer.to_device(np.ones(2), "jax").dtype) == "float64"
    """
    environment = {**os.environ, "JAX_ENABLE_X64": "0", "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "refused\n"


def test_jax_on_two_devices_and_odd_dtypes():
    needs("jax")
    code = """if True:
        import jax, numpy as np
        from mlpx import transfer, registry
        from mlpx.errors import InvalidTypeError, DeviceMismatchError
        from mlpx.namespace import namespace_of
        assert registry.find("jax").devices() == ("cpu", "cpu:1")
        x = transfer.to_device(np.arange(4, dtype=np.float32), "jax:cpu:1")
        assert str(transfer.device(x)) == "jax:cpu:1"
        y = transfer.to_device(x, "jax:cpu")
        assert str(transfer.device(y)) == "jax:cpu"
        z = transfer.to_device(y, "jax:cpu")
        assert z.unsafe_buffer_pointer() != y.unsafe_buffer_pointer()
        try:
            namespace_of(x, y)
        except DeviceMismatchError:
            print("mixed")
        mesh = jax.sharding.Mesh(jax.devices(), "i")
        spread = jax.device_put(np.arange(4.0), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("i")))
        for bad, ask in ((spread, transfer.device), (jax.random.key(0), transfer.to_numpy)):
            try:
                ask(bad)
            except InvalidTypeError as error:
                print(error)
        half = transfer.to_numpy(jax.numpy.ones(2, jax.numpy.bfloat16))
        assert half.dtype == np.float32 and half.tolist() == [1, 1]
        registry.find("jax").synchronize("cpu:1")
        assert registry.find("jax").memory("cpu").total > 0
    """
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    mixed, spread, key = done.stdout.splitlines()
    assert mixed == "mixed"
    assert "got one spread over 2" in spread
    assert "jax.random.key_data" in key


def test_a_platform_that_jax_cannot_start_is_named_with_the_cure():
    needs("jax")
    code = """if True:
        from mlpx import transfer
        from mlpx.errors import BackendMissingError
        try:
            transfer.device("jax")
        except BackendMissingError as error:
            print(error)
    """
    environment = {**os.environ, "JAX_PLATFORMS": "tpu", "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "JAX finds no device" in done.stdout
    assert "unset JAX_PLATFORMS" in done.stdout
