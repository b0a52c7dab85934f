"""What a user gets: an import that is light and quick, and a wheel with everything in it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from mlpx import registry

ROOT = Path(__file__).parents[1]
NOT_LOADED = {
    "cupy", "torch", "jax", "jaxlib", "numba", "array_api_strict", "mlpx_numpy", "mlpx_cupy", "mlpx_torch", "mlpx_jax",
    "rich", "typer", "click", "sklearn", "scipy", "pandas", "matplotlib", "pyarrow", "pytest", "importlib.metadata",
}  # fmt: skip
SECONDS = 0.3
RUNS = 7


def in_a_fresh_interpreter(code: str, cache: Path, **environment: str) -> str:
    """What a program prints, its byte code kept in `cache` as an installation would have it."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cache,
        env={**inherited, "PYTHONPYCACHEPREFIX": str(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_mlpx_loads_no_array_library_but_numpy_and_nothing_heavy(tmp_path):
    code = "import sys, numpy; before = set(sys.modules); import mlpx; print(*sorted(set(sys.modules) - before))"
    loaded = in_a_fresh_interpreter(code, tmp_path).split()
    assert "mlpx.train.trainer" in loaded
    assert [name for name in loaded if name in NOT_LOADED or name.partition(".")[0] in NOT_LOADED] == []


def test_importing_mlpx_takes_little_longer_than_importing_numpy(tmp_path):
    """The fastest of several: whatever else a machine does makes an import slower, never faster."""
    code = "import time, numpy; t = time.perf_counter(); import mlpx; print(time.perf_counter() - t)"
    in_a_fresh_interpreter(code, tmp_path)  # compiles the sources
    assert min(float(in_a_fresh_interpreter(code, tmp_path)) for _ in range(RUNS)) < SECONDS


def test_the_version_is_found_when_it_is_asked_for(tmp_path):
    assert in_a_fresh_interpreter("import mlpx; print(mlpx.__version__)", tmp_path).strip()[0].isdigit()
    code = "import mlpx\ntry: mlpx.no_such_name\nexcept AttributeError as error: print(error)"
    assert "no attribute 'no_such_name'" in in_a_fresh_interpreter(code, tmp_path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip('hatchling is not installed (cure: pip install "mlpx[test]")')
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_library_its_backends_and_what_belongs_to_them(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    info = next(top for top in tops if top.endswith(".dist-info"))
    assert tops == {"mlpx", "mlpx_numpy", "mlpx_cupy", "mlpx_torch", "mlpx_jax", info}
    assert {"mlpx/py.typed", f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"} <= set(names)
    in_tree = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mlpx").rglob("*.py")}
    in_tree |= {path.relative_to(ROOT / "backends").as_posix() for path in (ROOT / "backends").rglob("*.py")}
    assert in_tree <= set(names)
    assert not [name for name in names if name.endswith(".pyc") or Path(name).name.startswith("test_")]


def test_the_wheel_declares_its_entry_points(wheel):
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(next(name for name in archive.namelist() if name.endswith("entry_points.txt"))).decode()
    points = ConfigParser()
    points.read_string(text)
    assert dict(points["mlpx.backends"]) == {name: f"mlpx_{name}:backend" for name in ("numpy", "cupy", "torch", "jax")}
    assert dict(points["console_scripts"]) == {"mlpx": "mlpx.cli:main"}
    assert dict(points["pytest11"]) == {"mlpx": "mlpx.testing.pytest_plugin"}


def test_the_wheel_works_unpacked_by_itself(wheel, tmp_path):
    unpacked = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(unpacked)
    code = (
        "import json, mlpx; from mlpx import layers, registry\n"
        "found = {name: one.ok for name, one in mlpx.backends().items()}\n"
        "y = mlpx.Sequential(layers.Dense(2, 3)).init(0)['0.weight'].shape\n"
        "print(json.dumps([mlpx.__file__, list(found), found['numpy'], y]))"
    )
    where, known, works, shape = json.loads(in_a_fresh_interpreter(code, tmp_path, PYTHONPATH=str(unpacked)))
    assert Path(where).is_relative_to(unpacked)
    assert set(known) >= set(registry.names()) - set(registry.registered())
    assert works
    assert shape == [3, 2]
