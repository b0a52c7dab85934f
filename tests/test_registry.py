"""Backends are found by entry point, answer for themselves, and bring nothing heavy with them."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from mlpx import machine, registry, transfer
from mlpx.errors import BackendMissingError, ConfigError, DeviceMismatchError, InvalidTypeError
from mlpx.namespace import describe, is_tracer, namespace_of, standard_namespace
from mlpx.ops.affine import affine
from mlpx.ops.definition import which
from mlpx.registry import Availability, Backend

HERE = Path(__file__).parent
STRANGER = HERE / "stranger"
GUIDE = HERE.parent / "docs" / "how-to" / "write-a-backend.md"
HEAVY = {"torch", "jax", "jaxlib", "cupy", "numba", "matplotlib", "sklearn"}


def run_python(code: str, *path: Path, **environment: str) -> str:
    """Output of a fresh interpreter that can import what this one can, and more."""
    search = [str(part) for part in path] + [part for part in sys.path if part]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(search)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def needs(name: str) -> Backend:
    ok, reason, cure = registry.availability(name)
    if not ok:
        pytest.skip(f"{name}: {reason}. Cure: {cure}")
    return registry.require(name)


@pytest.fixture
def register():
    """Make backends known for one test."""
    made = []

    def add(backend: Backend) -> Backend:
        registry.register(backend)
        made.append(backend.name)
        return backend

    yield add
    for name in made:
        registry.unregister(name)


class Plain(Backend):
    """A backend whose arrays are NumPy's subclass below."""

    name = "plain"
    libraries = (__name__.partition(".")[0],)

    def probe(self) -> Availability:
        return Availability(True)


class PlainArray(np.ndarray):
    pass


class Faulty(Plain):
    name = "faulty"
    libraries = ("faulty",)

    def probe(self) -> Availability:
        raise RuntimeError("no such luck")


def test_names_come_from_the_projects_entry_points_numpy_first():
    declared = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["entry-points"][
        registry.ENTRY_POINT_GROUP
    ]
    assert set(declared) <= set(registry.names())
    assert registry.names()[0] == "numpy"
    assert list(registry.names()[1:]) == sorted(registry.names()[1:])
    for name in declared:
        assert registry.find(name).name == name


def test_importing_mlpx_and_all_plugins_imports_no_array_library():
    out = run_python(
        """
        import json, sys
        import mlpx.registry, mlpx.transfer, mlpx.namespace
        for name in mlpx.registry.names():
            mlpx.registry.find(name)
        import numpy as np
        mlpx.registry.kernel_for("gelu", np.ones(3))
        assert str(mlpx.transfer.device("numpy")) == "numpy"
        print(json.dumps(sorted(sys.modules)))
        """
    )
    assert {"mlpx_torch", "mlpx_jax", "mlpx_cupy"} <= set(json.loads(out))
    assert not HEAVY & set(json.loads(out))


def test_a_missing_library_is_answered_without_importing_anything():
    out = run_python(
        """
        import importlib.util, sys
        real = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name in ("torch", "jax", "cupy") else real(name, *rest)
        import mlpx.transfer
        for name, found in mlpx.transfer.backends().items():
            print(name, found.ok, found.cure)
        assert not {"torch", "jax", "cupy"} & set(sys.modules)
        """
    )
    assert 'torch False pip install "mlpx[torch]"' in out
    assert 'jax False pip install "mlpx[jax]"' in out
    assert "cupy False" in out
    assert "numpy True" in out


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import ctypes; ctypes.CDLL('libnowhere.so.9')", "installed but does not import (OSError: libnowhere.so.9"),
        ("raise ImportError('built for another NumPy')", "built for another NumPy"),
        ("import no_such_dependency", "No module named 'no_such_dependency'"),
    ],
)
def test_a_library_that_fails_to_import_is_an_answer(tmp_path, monkeypatch, source, reason):
    package = tmp_path / "brokenlib"
    package.mkdir()
    (package / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    found = machine.importable("brokenlib", cure="pip install brokenlib")
    assert not found.ok
    assert reason in found.reason
    assert found.cure == "reinstall it: pip install brokenlib"


def test_folders_left_by_an_uninstall_are_not_a_library(tmp_path, monkeypatch):
    (tmp_path / "leftover" / "__pycache__").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    assert machine.importable("leftover", cure="C") == Availability(False, "leftover is not installed", "C")


def test_a_library_that_is_too_old_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "oldlib.py").write_text("raise SystemExit('imported')")
    metadata = tmp_path / "oldlib-1.9.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: oldlib\nVersion: 1.9.2\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = machine.importable("oldlib", minimum="1.10", cure="C")
    assert found == Availability(False, "oldlib 1.9.2 is older than 1.10", "C")


@pytest.mark.parametrize(
    ("text", "numbers"), [("2.13.0+cpu", (2, 13, 0)), ("14.0.0a1", (14, 0, 0)), ("15", (15,)), ("dev", ())]
)
def test_release_numbers(text, numbers):
    assert machine.release(text) == numbers


def test_host_memory_is_within_what_the_machine_has():
    found = machine.host_memory()
    if found is None:
        pytest.skip("this system does not tell")
    assert 0 < found.free <= found.total <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_containers_memory_limit_counts(tmp_path, monkeypatch):
    gib = 2**30
    (tmp_path / "memory.max").write_text(f"{2 * gib}\n")
    (tmp_path / "memory.current").write_text(f"{gib}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {gib // 2}\n")
    limit = machine._container_limit(tmp_path)
    assert limit == (2 * gib, gib // 2)
    (tmp_path / "memory.max").write_text("max\n")
    assert machine._container_limit(tmp_path) == (None, 0)
    monkeypatch.setattr(machine, "_container_limit", lambda: limit)
    monkeypatch.setattr(machine, "_reclaimable", lambda: 64 * gib)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * gib // 4096}.__getitem__)
    assert machine.host_memory() == machine.Memory(3 * gib // 2, 2 * gib)


def test_a_faulty_probe_is_an_answer(register):
    register(Faulty())
    found = transfer.backends()["faulty"]
    assert not found.ok
    assert "no such luck" in found.reason
    with pytest.raises(BackendMissingError, match=r"faulty.*no such luck.*Cure: reinstall or remove"):
        registry.require("faulty")


def test_register_replaces_and_unregister_restores(register):
    numpy = registry.find("numpy")

    class Other(Plain):
        name = "numpy"
        libraries = ("numpy",)

    register(Other())
    assert isinstance(registry.find("numpy"), Other)
    assert isinstance(registry.backend_of(np.ones(2)), Other)
    registry.unregister("numpy")
    assert type(registry.find("numpy")) is type(numpy)
    assert type(registry.backend_of(np.ones(2))) is type(numpy)


def test_unknown_backends_are_config_errors_with_the_nearest_name():
    for ask in (registry.find, registry.require, registry.availability):
        with pytest.raises(ConfigError, match=r"unknown backend 'torhc'; did you mean 'torch'\? \(allowed: cupy, jax, numpy"):
            ask("torhc")


def test_an_array_of_an_unknown_library_is_refused_by_its_type():
    with pytest.raises(InvalidTypeError, match=r"no backend owns decimal\.Decimal \(known: numpy, "):
        registry.backend_of(__import__("decimal").Decimal(1))


def test_a_subclass_belongs_to_the_nearest_library_that_is_known(register):
    array = np.ones(3).view(PlainArray)
    assert registry.backend_of(array).name == "numpy"
    register(Plain())
    assert registry.backend_of(array).name == "plain"
    assert registry.backend_of(np.ones(3)).name == "numpy"


def test_kernels_stand_in_for_ops_of_their_name_on_their_librarys_arrays(register):
    def twin(a, weight, bias):
        return "twin", (a, weight, bias)

    class WithKernels(Plain):
        kernels: ClassVar = {"affine": twin}

    register(WithKernels())
    mine, plain = np.ones((2, 3)).view(PlainArray), np.ones((2, 3))
    assert registry.kernel_for("affine", mine) is twin
    assert registry.kernel_for("affine.backward", mine) is None
    assert registry.kernel_for("affine", plain) is not twin
    assert which(affine, mine).endswith("twin")
    assert affine(mine, mine, mine[0])[0] == "twin"


def test_precisions_are_refused_when_asked_for_not_when_entered():
    numpy = registry.find("numpy")
    with numpy.precision("ieee"):
        pass
    with pytest.raises(ConfigError, match=r"precision='tf32' is not available on numpy \(available: ieee\)"):
        numpy.precision("tf32")
    with pytest.raises(ConfigError, match="unknown precision 'tf23'; did you mean 'tf32'"):
        numpy.precision("tf23")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX, where another test has used it, says so at every fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_library_that_does_not_survive_a_fork_is_refused_in_the_child(register):
    class Fragile(Plain):
        name = "fragile"
        survives_fork = False

    def child(answers) -> None:
        try:
            registry.require("fragile")
        except BackendMissingError as error:
            answers.put(str(error))
        else:
            answers.put("worked")

    register(Fragile())
    answers = multiprocessing.get_context("fork").SimpleQueue()

    def ask() -> str:
        process = multiprocessing.get_context("fork").Process(target=child, args=(answers,))
        process.start()
        process.join()
        return answers.get()

    assert ask() == "worked"  # the parent has not used it yet
    registry.require("fragile")
    assert "was in use when this process was forked" in ask()
    assert "get_context('spawn')" in ask()
    registry.require("fragile")  # the parent goes on


# ---- namespaces


def test_plain_numpy_and_the_wrappers_of_others():
    assert namespace_of(np.ones(2), np.float32(1), np.ones(())) is np
    assert standard_namespace("numpy") is np
    assert standard_namespace("array_api_strict").__name__ == "array_api_strict"
    with pytest.raises(ModuleNotFoundError):
        standard_namespace("no_such_library")


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_a_backends_namespace_is_that_of_its_arrays(name):
    backend = needs(name)
    array = transfer.to_device(np.ones(2, np.float32), name)
    assert backend.namespace() is namespace_of(array)
    assert registry.backend_of(array) is backend
    assert backend.version().split(".")[0].isdigit()


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_mixed_libraries_are_named_on_both_sides(name):
    needs(name)
    ours, theirs = np.ones((2, 3), np.float32), transfer.to_device(np.ones(4, np.float32), name)
    for pair in ((ours, theirs), (theirs, ours), (ours, ours, theirs)):
        with pytest.raises(DeviceMismatchError) as caught:
            namespace_of(*pair)
        assert "numpy on cpu, float32, shape (2, 3)" in str(caught.value)
        assert f"{name} on cpu" in str(caught.value)
        assert "mlpx.to_device" in str(caught.value)


def test_two_devices_of_one_library_are_mixed_too():
    strict = pytest.importorskip("array_api_strict", reason="pip install array-api-strict")
    a, b = (strict.asarray([1.0], device=strict.Device(name)) for name in ("device1", "device2"))
    with pytest.raises(DeviceMismatchError, match=r"device1.*and array_api_strict on .*device2"):
        namespace_of(a, b)


def test_torchs_meta_and_cpu_do_not_mix():
    needs("torch")
    import torch

    with pytest.raises(DeviceMismatchError, match=r"torch on cpu.*torch on meta"):
        namespace_of(torch.ones(2), torch.ones(2, device="meta"))


@pytest.mark.parametrize("thing", [None, 1.0, [1.0], "x", {}])
def test_what_is_no_array_is_a_type_error(thing):
    with pytest.raises(InvalidTypeError, match=f"expected an array, got {type(thing).__name__}"):
        namespace_of(np.ones(2), thing)
    assert describe(thing) == type(thing).__qualname__


def test_tracers_are_known_by_their_type():
    needs("jax")
    import jax

    seen = {}

    def look(x):
        seen[type(x).__name__] = (is_tracer(x), registry.backend_of(x).name, namespace_of(x, jax.numpy.ones(2)).__name__)
        with pytest.raises(InvalidTypeError, match=r"JAX tracer .*outside of the transformed function"):
            transfer.to_numpy(x)
        with pytest.raises(InvalidTypeError, match="JAX tracer"):
            transfer.device(x)
        return x.sum()

    x = jax.numpy.ones(2)
    jax.jit(look)(x)
    jax.grad(look)(x)
    jax.vmap(look)(x)
    assert len(seen) == 3
    assert set(seen.values()) == {(True, "jax", "jax.numpy")}
    assert not is_tracer(x)
    assert not is_tracer(np.ones(2))


# ---- a stranger's backend


@pytest.fixture
def stranger(tmp_path) -> Path:
    """A folder in which the example package is installed: its module and its metadata."""
    project = tomllib.loads((STRANGER / "pyproject.toml").read_text())["project"]
    (tmp_path / "mlpx_stranger.py").write_text((STRANGER / "mlpx_stranger.py").read_text())
    metadata = tmp_path / "mlpx_stranger-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("".join(lines))
    return tmp_path


def test_a_strangers_package_is_found_by_its_entry_point_and_works(stranger):
    pytest.importorskip("array_api_strict", reason="pip install array-api-strict")
    out = run_python(
        """
        import sys
        import numpy as np
        from mlpx import registry, transfer
        from mlpx.errors import DeviceMismatchError
        from mlpx.ops.affine import affine
        assert "stranger" in registry.names()
        assert "array_api_strict" not in sys.modules
        assert registry.availability("stranger").ok
        a, w, b = (np.arange(n, dtype=np.float32).reshape(shape) for n, shape in ((6, (2, 3)), (12, (4, 3)), (4, (4,))))
        there = [transfer.to_device(array, "stranger:device1") for array in (a, w, b)]
        assert str(transfer.device(there[0])) == "stranger:device1"
        assert str(transfer.device("stranger")) == "stranger:CPU_DEVICE"
        z, _ = affine(*there)
        assert np.array_equal(transfer.to_numpy(z), a @ w.T + b)
        try:
            affine(there[0], transfer.to_device(w, "stranger:device2"), there[2])
        except DeviceMismatchError:
            print("works")
        """,
        stranger,
    )
    assert out.strip() == "works"


def test_a_plugin_that_breaks_is_an_answer_and_harms_no_other(stranger):
    (stranger / "mlpx_stranger.py").write_text("raise SyntaxError('half a file')")
    out = run_python(
        """
        import numpy as np
        from mlpx import registry
        print(registry.availability("stranger"))
        assert registry.backend_of(np.ones(2)).name == "numpy"
        """,
        stranger,
    )
    assert "half a file" in out
    assert "reinstall or remove the package 'mlpx-stranger'" in out


def test_an_entry_point_must_name_a_backend_of_that_name(stranger):
    entry = stranger / "mlpx_stranger-0.1.dist-info" / "entry_points.txt"
    entry.write_text(entry.read_text().replace("stranger = ", "other = "))
    out = run_python("from mlpx import registry; print(registry.availability('other'))", stranger)
    assert "is no mlpx.registry.Backend instance of that name" in out


def test_the_guide_shows_the_very_package_that_is_tested():
    blocks = re.findall(r"```\w+\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert (STRANGER / "mlpx_stranger.py").read_text() in blocks
    assert (STRANGER / "pyproject.toml").read_text() in blocks


def test_the_guide_speaks_of_every_method_there_is():
    text = GUIDE.read_text(encoding="utf-8")
    public = {name for name in vars(Backend) if not name.startswith("_")} - {
        "name",
        "libraries",
        "version",
        "no_such_precision",
    }
    assert not {name for name in public if name not in text}
