"""The house stands as planned: rules and budgets kept, imports one way, the promised names there, a step short to read."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import mlpx
from mlpx import errors, layers, losses, optim, random
from mlpx.layers.activation import ACTIVATIONS
from mlpx.layers.initializers import Initializer
from mlpx.step import Batch, Descent, Objective, initial_state, training_step

ROOT = Path(__file__).parents[1]


def house_rules() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house_rules", ROOT / "tests" / "lint" / "house_rules.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RULES = house_rules()

# ---- rules of the house, and budgets


@pytest.mark.parametrize("path", RULES.source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_keeps_the_rules_of_this_house(path):
    assert list(RULES.findings(path)) == []


OFFENCES = {
    "too long a module": ("mlpx/long.py", '"""A module."""\n' + "x = 1\n" * 300, "301 lines; the budget is 300"),
    "too long a function": ("mlpx/step.py", "def f():\n" + "    x = 1\n" * 40, "f has 41 lines; the budget is 40"),
    "an array library": ("mlpx/fast.py", "def f():\n    import torch\n", "imports torch"),
    "a backend": ("mlpx/fast.py", "from mlpx_numpy import backend\n", "imports mlpx_numpy"),
    "array-api-compat": ("mlpx/transfer.py", "import array_api_compat\n", "only namespace.py"),
    "an array put nowhere": ("mlpx/ops/one.py", "def f(xp):\n    return xp.zeros((1,))\n", "must state dtype and device"),
    "a parameter without a word": (
        "mlpx/one.py",
        'def f(x, y):\n    """One.\n\n    Parameters\n    ----------\n    x : int\n    """\n',
        "f documents ['x'], takes ['x', 'y']",
    ),
    "a name that says nothing": ("mlpx/utils.py", "x = 1\n", "name the file after what it holds"),
}


@pytest.mark.parametrize("offence", OFFENCES)
def test_the_rules_bite(offence, tmp_path, monkeypatch):
    place, text, said = OFFENCES[offence]
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.setattr(RULES, "ROOT", tmp_path)
    assert any(said in finding for finding in RULES.findings(path))


def test_a_module_may_break_a_budget_if_it_says_why(tmp_path, monkeypatch):
    path = tmp_path / "mlpx" / "long.py"
    path.parent.mkdir()
    path.write_text('"""A table, over budget because one table belongs in one place."""\n' + "x = 1\n" * 400)
    monkeypatch.setattr(RULES, "ROOT", tmp_path)
    assert list(RULES.findings(path)) == []


def test_imports_run_one_way():
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed (cure: pip install import-linter)")
    run = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


# ---- public names

NAMES = {
    "mlpx": "Sequential Residual Parallel Trainer load backends device to_device to_numpy layers losses optim random errors",
    "mlpx.layers": "Dense Activation Dropout LayerNorm BatchNorm Embedding",
    "mlpx.losses": "get",
    "mlpx.optim": "SGD Adam AdamW RMSprop LBFGS",
    "mlpx.random": "key fold_in split bits uniform normal permutation bernoulli",
    "mlpx.testing": "check_op check_layer check_gradients check_backend",
    "mlpx.errors": "MlpxError InvalidInputError InvalidTypeError ConfigError DeviceMismatchError BackendMissingError "
    "ResourceLimitError DivergenceError DataFileError CheckpointError",
}
NET = "init parameters forward backward summary"
TRAINER = "fit evaluate predict predict_proba params save"
MODEL = "predict predict_proba evaluate"
ACTIVATION_NAMES = "identity step logistic sigmoid tanh relu leaky_relu prelu elu softplus swish silu gelu selu"
LOSS_NAMES = "half_squared_error mse mae huber softmax_cross_entropy sigmoid_cross_entropy poisson quantile"
INITIALISERS = "glorot_uniform glorot_normal he_uniform he_normal lecun_uniform lecun_normal normal uniform"
EXTRAS = "cpu cuda12 cuda13 torch jax sklearn data plot test"
BACKENDS = "numpy cupy torch jax"


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in NAMES for name in NAMES[module].split()])
def test_a_public_name_is_there(module, name):
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    ("owner", "names"), [(mlpx.Sequential, NET), (mlpx.Trainer, TRAINER), (mlpx.train.Model, MODEL)], ids=lambda one: str(one)
)
def test_an_object_has_its_public_names(owner, names):
    assert [name for name in names.split() if not hasattr(owner, name)] == []


def test_everything_that_is_named_by_a_string_is_known():
    assert set(ACTIVATION_NAMES.split()) <= set(ACTIVATIONS)
    assert set(LOSS_NAMES.split()) <= set(losses.LOSSES)
    for name in INITIALISERS.split():
        assert isinstance(layers.initializers.get(name), Initializer)


def test_the_project_declares_its_extras_and_backends():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS.split()) <= set(project["optional-dependencies"])
    assert set(BACKENDS.split()) == set(project["entry-points"]["mlpx.backends"])
    assert [one.partition(">")[0] for one in project["dependencies"]] == [
        "numpy", "array-api-compat", "safetensors", "rich", "typer",
    ]  # fmt: skip


BUILT_INS = {
    "InvalidInputError": ValueError,
    "InvalidTypeError": TypeError,
    "ConfigError": ValueError,
    "DeviceMismatchError": ValueError,
    "BackendMissingError": ImportError,
    "ResourceLimitError": MemoryError,
    "DivergenceError": ArithmeticError,
    "DataFileError": ValueError,
}


def test_every_error_is_ours_and_a_built_in():
    defined = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    assert all(issubclass(kind, errors.MlpxError) for kind in defined.values())
    for name, built_in in BUILT_INS.items():
        assert issubclass(defined[name], built_in)
    leaves = [kind for name, kind in defined.items() if name not in ("MlpxError", "CheckpointError")]
    ours = {errors.MlpxError, errors.CheckpointError, Exception, BaseException, object}
    assert all(set(kind.__mro__[1:]) - ours for kind in leaves)


EXPORTING = {layers: layers.Layer, losses: losses.Loss, optim: (optim.Optimizer, optim.Schedule)}
INTERNAL = {"Equation"}  # what the named losses are made of


@pytest.mark.parametrize("package", EXPORTING, ids=lambda package: package.__name__)
def test_a_package_exports_every_public_class_of_its_kind(package):
    missing = []
    for path in sorted(Path(package.__file__).parent.glob("*.py")):
        module = importlib.import_module(f"{package.__name__}.{path.stem}") if path.stem != "__init__" else package
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__ and issubclass(value, EXPORTING[package])
            if own and not name.startswith("_") and name not in INTERNAL and getattr(package, name, None) is not value:
                missing.append(name)
    assert missing == []


@pytest.mark.parametrize("package", [mlpx, layers, losses, optim, random, mlpx.train], ids=lambda package: package.__name__)
def test_what_a_package_lists_it_also_documents(package):
    """An explicit re-export, `from x import y as y`, is this house's `__all__`."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names if a.asname == a.name]
    assert len(names) == len(set(names))
    undocumented = [name for name in names if callable(getattr(package, name)) and not inspect.getdoc(getattr(package, name))]
    assert undocumented == []


# ---- examples in docstrings

LIBRARY = [path.relative_to(ROOT).with_suffix("") for path in RULES.source_files() if path.is_relative_to(ROOT / "mlpx")]
EXAMPLES = [path for path in LIBRARY if "\n    >>> " in (ROOT / path).with_suffix(".py").read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_the_examples_in_docstrings_run(path):
    module = importlib.import_module(".".join(path.parts).removesuffix(".__init__"))
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


# ---- one training step, read

PLUMBING = {
    "namespace.py": "finds the library of an array; its look-ups say nothing of training",
    "registry.py": "looks for a kernel in place of a definition; there is none here",
    "ops/definition.py": "calls the definition",
}
DOORS = {
    "layers/base.py": "refuses input of a wrong width",
    "losses/targets.py": "refuses targets that do not fit",
    "ops/targets.py": "refuses labels that do not fit",
}
READING = {
    "step.py": "the order of things",
    "network.py": "the public door of a whole network",
    "compositions.py": "forward through the blocks, and back",
    "parameters.py": "names in the flat vector",
    "layers/dense.py": "weights and the activation behind them",
    "layers/activation.py": "which equation the activation is",
    "losses/base.py": "the mean over rows",
    "optim/schedules.py": "the learning rate of this step",
    "optim/adam.py": "equation: Adam",
    "ops/affine.py": "equation: Z = A Wᵀ + b",
    "ops/rectifiers.py": "equation: relu",
    "ops/cross_entropy.py": "equation: softmax cross entropy",
}


def files_of_a_warm_step() -> set[str]:
    """The files of mlpx in which a function runs during one step that runs for the second time."""
    net = mlpx.Sequential(layers.Dense(8, 16, activation="relu"), layers.Dense(16, 3))
    descent = Descent(optim.Adam(1e-3))
    step = training_step(Objective(net, losses.get("softmax_cross_entropy")), descent)
    state = initial_state(net.init(0), descent.optimizer, 0)
    batch = Batch(np.ones((5, 8), dtype=np.float32), np.asarray([0, 1, 2, 0, 1], dtype=np.int32))
    state, _ = step(state, batch)
    home, seen = str(Path(mlpx.__file__).parent), set()

    def note(frame, event, argument) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(home):
            seen.add(Path(frame.f_code.co_filename).relative_to(home).as_posix())

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        step(state, batch)
    finally:
        sys.setprofile(before)
    return seen


def test_one_training_step_is_read_in_the_files_listed_here_and_no_other():
    """The plan hopes for eight; these twelve are what a step of two layers runs, four of them one equation each.

    Whoever adds a file to a step's path adds it here, and says what a reader finds in it.
    """
    seen = files_of_a_warm_step()
    assert seen - PLUMBING.keys() - DOORS.keys() == READING.keys()
    assert PLUMBING.keys() <= seen
