"""Tasks: `nox -s lint`, `tests`, `matrix`, `bench`, `mutants`; with `--no-venv` in the environment they are started in."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"

LINT = nox.project.load_toml("pyproject.toml")["dependency-groups"]["lint"]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # there is a process a core


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, import directions, docstrings, and the rules of this house."""
    _install(session, *LINT, "-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("pyright")
    session.run("lint-imports", "--no-cache")
    session.run("numpydoc", "lint", *_sources(), silent=True)
    session.run("python", "tests/lint/house_rules.py")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything, on the array libraries that are there; NumPy and array-api-strict must be."""
    _install(session, "-e", ".[test]")
    session.run("pytest", "-n", "auto", "--require-backends", "numpy,strict", *session.posargs, env=ONE_THREAD)


@nox.session
def matrix(session: nox.Session) -> None:
    """Everything, on NumPy, array-api-strict, PyTorch and JAX; none of them may be missing."""
    _install(session, "torch==2.13.0")
    _install(session, "jax", "jaxlib", "-e", ".[test]")
    environment = {**ONE_THREAD, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    everything = ["-m", "slow or not slow", "--require-backends", "numpy,strict,torch,jax"]
    session.run("pytest", "-n", "auto", *everything, *session.posargs, env=environment)


@nox.session
def bench(session: nox.Session) -> None:
    """The device check on NumPy: every section of the script that runs on a GPU machine."""
    _install(session, "-e", ".[test]")
    session.run("python", "benchmarks/device_check.py", "--device", "numpy", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant every defect of tests/mutants/mutants.toml and see its test fail; `-- --stale` runs those without a result."""
    _install(session, "torch==2.13.0")
    _install(session, "jax", "jaxlib", "-e", ".[test]")
    session.run("python", "tests/mutants/run.py", *session.posargs)


def _install(session: nox.Session, *packages: str) -> None:
    if session.virtualenv.is_sandboxed:
        session.install(*packages)


def _sources() -> list[str]:
    """The files whose docstrings users read."""
    return sorted(str(path) for folder in ("mlpx", "backends") for path in Path(folder).rglob("*.py"))
