"""Tasks: `nox -s lint`, `tests`, `matrix`, `bench`. With `--no-venv` they use the environment they are started in."""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, import directions, docstrings, and the rules of this house."""
    _install(session, "ruff>=0.11", "pyright>=1.1.400", "import-linter>=2.3", "numpydoc>=1.8", "-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("pyright")
    session.run("lint-imports")
    session.run("python", "tests/lint/house_rules.py")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that runs on NumPy alone, in under two minutes."""
    _install(session, "-e", ".[test]")
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session
def matrix(session: nox.Session) -> None:
    """All tests on NumPy, array-api-strict, PyTorch and JAX; none of them may be missing."""
    _install(session, "torch==2.13.0")
    _install(session, "jax", "jaxlib", "-e", ".[test]")
    environment = {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    required = "numpy,strict,torch,jax"
    session.run("pytest", "-n", "auto", "--require-backends", required, *session.posargs, env=environment)


@nox.session
def bench(session: nox.Session) -> None:
    """The device check on NumPy: every section of the script that runs on a GPU machine."""
    _install(session, "-e", ".[test]")
    session.run("python", "benchmarks/device_check.py", "--device", "numpy", *session.posargs)


def _install(session: nox.Session, *packages: str) -> None:
    if session.virtualenv.is_sandboxed:
        session.install(*packages)
