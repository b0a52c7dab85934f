"""What mlpx can do on array libraries that it does not ship a backend for.

    python benchmarks/library_survey.py mlx         in an environment with that library: writes its record
    python benchmarks/library_survey.py --page      all records as docs/reference/libraries.md

A record holds `check_backend` of the bare module and of the plug-in in examples/backends, every case of every op, every loss,
the update rules, and a training run against the same run on NumPy.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import platform
import subprocess
import sys
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import mlpx
from mlpx import layers, optim, registry
from mlpx.losses.named import LOSSES
from mlpx.ops import OPS
from mlpx.testing import budgets, check_backend, check_layer, check_loss, check_op, check_optimizer, variant
from mlpx.testing.assertions import assert_values

ROOT = Path(__file__).parents[1]
RECORDS, PAGE = ROOT / "benchmarks" / "results" / "libraries", ROOT / "docs" / "reference" / "libraries.md"
PLUG_INS = ROOT / "examples" / "backends"
MODULES = {"mlx": "mlx.core", "dask": "dask.array", "dpnp": "dpnp"}
NOTES = {
    "dask": "Every array is a graph of tasks that is computed when it is read, so a step is slow, and grows with what it rests "
    "on:\ngood for finding out where a value is read, not for training.",
    "dpnp": "By itself it finds no device: OpenCL does not look where the wheel puts the CPU's driver. The plug-in says "
    "where\nit is.",
    "mlx": "The plug-in adds what `mlx.core` lacks of the standard and mlpx uses. It refuses float64: the dtype exists, but "
    "exp, log\nand tanh of it are only as exact as in float32.",
}
COLUMNS = (
    *("library", "version", "with the plug-in", "probes, bare", "probes, plug-in", "ops", "layers", "losses", "optimizers"),
    *("training", "plug-in, lines"),
)
PARTS = ("ops", "layers", "losses", "optimizers", "training")
SHOWN = 6
RULES = (optim.SGD(0.1), optim.SGD(0.1, momentum=0.9), optim.Adam(), optim.AdamW(), optim.RMSprop())
BLOCKS = (layers.Dense(5, 3, activation="tanh"), layers.BatchNorm(5), layers.LayerNorm(5), layers.Dropout(0.3))
ROWS, WIDTH, CLASSES, EPOCHS, BATCH = 20, 4, 3, 2, 8
STEPS = EPOCHS * -(-ROWS // BATCH)


def plug_in(name: str) -> Any:
    """The backend of the example, registered for this process."""
    spec = importlib.util.spec_from_file_location(f"{name}_backend", PLUG_INS / f"{name}_backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    registry.register(module.backend)
    return module.backend


def survey(name: str) -> dict[str, Any]:
    """The record of one library: as it is first, because a plug-in may change the environment."""
    bare = bare_probes(name)
    backend = plug_in(name)
    found = registry.availability(name)
    if not found.ok:
        raise SystemExit(f"{name}: {found.reason} (cure: {found.cure})")
    record: dict[str, Any] = {
        "library": name,
        "version": version(name),
        "made_with": {"python": platform.python_version(), "numpy": np.__version__, "mlpx": mlpx_version()},
        "system": platform.system(),
        "module": MODULES[name],
        "plug_in_lines": plug_in_lines(name),
        "devices": list(backend.devices()),
        "bare": bare,
        "with_plug_in": probes(name),
    }
    for what, checks in (("ops", op_checks(name)), ("layers", layer_checks(name)), ("losses", loss_checks(name))):
        record[what] = outcomes(checks)
    record["optimizers"] = outcomes(rule_checks(name))
    record["training"] = outcomes([("two epochs of SGD against NumPy", lambda: train_and_compare(name))])
    return record


def bare_probes(name: str) -> dict[str, Any]:
    """`probes` of the module by itself, in a process of its own: a library's first import decides for good what it finds."""
    ran = subprocess.run([sys.executable, __file__, "--bare", name], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def mlpx_version() -> str:
    """As the project states it: a survey may run from the tree, where nothing is installed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def plug_in_lines(name: str) -> int:
    """Lines of the plug-in that are neither empty nor documentation."""
    text = (PLUG_INS / f"{name}_backend.py").read_text(encoding="utf-8")
    return sum(bool(line.strip()) and not line.lstrip().startswith(('"""', "#")) for line in text.splitlines())


def probes(library: Any) -> dict[str, Any]:
    """Counts of `check_backend`, the needs that are not met, and what fails."""
    report = check_backend(library)
    return {
        **{verdict: report.count(verdict) for verdict in ("fine", "deviates", "fails")},
        "ok": report.ok,
        "unmet": [need.name for need in report.unmet],
        "failing": [f"{one.probe}: {one.detail}" for one in report.findings if one.verdict == "fails"],
    }


def op_checks(name: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every case of every op."""
    for op in OPS.values():
        for case in op.cases:
            yield case.name, lambda case=case: check_op(case, name)


def layer_checks(name: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Layers with parameters, statistics and random numbers."""
    for layer in BLOCKS:
        yield repr(layer), lambda layer=layer: check_layer(layer, (7, 5), name)


def loss_checks(name: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every named loss."""
    for loss in LOSSES:
        yield loss, lambda loss=loss: check_loss(loss, variants=name)


def rule_checks(name: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every update rule."""
    for rule in RULES:
        yield repr(rule), lambda rule=rule: check_optimizer(rule, name)


def outcomes(checks: Any) -> dict[str, Any]:
    """How many checks pass, why the others do not, and how long it took."""
    passed, failed, started = 0, {}, time.perf_counter()
    for what, check in checks:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PendingDeprecationWarning)
                check()
            passed += 1
        except Exception as error:
            failed[what] = (str(error).splitlines() or [type(error).__name__])[0][:300]
        print(f"  {what}: {failed.get(what, 'passes')}", flush=True)
    return {"passed": passed, "failed": failed, "seconds": round(time.perf_counter() - started, 1)}


def train_and_compare(name: str) -> None:
    """The same run on NumPy in float64 and on the library: dropout, batch statistics, shuffling, a short last batch.

    In float32, where the library has no more, six steps of a network without kinks do not drift apart either.
    """
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((ROWS, WIDTH)), generator.integers(0, CLASSES, ROWS)
    dtype = variant(name).floating[0]
    flats = []
    for device, wide in (("numpy", "float64"), (name, dtype)):
        net = mlpx.Sequential(
            layers.Dense(WIDTH, 6, activation="tanh"), layers.BatchNorm(6), layers.Dropout(0.3), layers.Dense(6, CLASSES)
        )
        trainer = mlpx.Trainer(net, optimizer=optim.SGD(0.1, momentum=0.9), device=device, dtype=wide, seed=3)
        trainer.fit(x, y, epochs=EPOCHS, batch_size=BATCH, progress=False)
        flats.append(mlpx.to_numpy(trainer.params.flat))
    assert_values(flats[1], flats[0], dtype=dtype, budget=budgets.trajectory(STEPS, ROWS), what="parameters")


def verdict(record: dict[str, Any]) -> str:
    """Works, works except, or does not."""
    if not record["with_plug_in"]["ok"] or record["training"]["failed"]:
        return "does not"
    return "works except" if exceptions(record) else "works"


def exceptions(record: dict[str, Any]) -> list[str]:
    """Needs that are not met, and kinds of checks of which some fail."""
    return [*record["with_plug_in"]["unmet"], *(f"some {part}" for part in PARTS if record[part]["failed"])]


def page(records: list[dict[str, Any]]) -> str:
    """All records as a page of the documentation."""
    lines = [
        "# Other array libraries",
        "",
        "mlpx ships backends for NumPy, CuPy, PyTorch and JAX. Any library that speaks the Array API standard can be one more:",
        "[Write a backend](../how-to/write-a-backend.md). This page says what `benchmarks/library_survey.py` found on some,",
        "with the plug-in of that name in `examples/backends`.",
        "",
        "Probes are those of `mlpx.testing.check_backend` (fine / deviates / fails), first of the library by itself, then with",
        "the plug-in. Ops, layers, losses and optimizers are the checks of `mlpx.testing`, in every dtype that the library",
        "computes in. Training is two epochs of a small network with batch normalisation, dropout and shuffling, held against",
        "the same run on NumPy in float64.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + " --- |" * len(COLUMNS),
    ]
    for record in records:
        counts = [_count(record[part]) for part in PARTS]
        cells = [record["library"], record["version"], _in_words(record), _probes(record["bare"])]
        cells += [_probes(record["with_plug_in"]), *counts, str(record["plug_in_lines"])]
        lines.append("| " + " | ".join(cells) + " |")
    for record in records:
        lines += ["", f"## {record['library']}", "", *_why(record)]
    return "\n".join(lines) + "\n"


def _in_words(record: dict[str, Any]) -> str:
    said = verdict(record)
    return f"**{said}**" if said == "works" else f"**{said}**: {', '.join(exceptions(record))}"


def _count(part: dict[str, Any]) -> str:
    return f"{part['passed']} of {part['passed'] + len(part['failed'])}"


def _probes(found: dict[str, Any]) -> str:
    return f"{found['fine']} / {found['deviates']} / {found['fails']}"


def _why(record: dict[str, Any]) -> Iterator[str]:
    """What fails, with what was said; and how long the checks took."""
    made_with = ", ".join(f"{name} {found}" for name, found in record["made_with"].items())
    seconds = sum(record[part]["seconds"] for part in PARTS)
    yield (
        f"`{record['module']}` {record['version']} on {record['system']}, devices {', '.join(record['devices'])}; made with "
        f"{made_with}; {seconds:.0f} s for all checks."
    )
    yield "\n" + NOTES[record["library"]]
    for what, found in (("By itself", record["bare"]), ("With the plug-in", record["with_plug_in"])):
        if found["failing"]:
            yield f"\n{what} it fails probes of the needs {', '.join(found['unmet'])}:\n"
            yield from (f"- {one}" for one in found["failing"][:SHOWN])
            if len(found["failing"]) > SHOWN:
                yield f"- and {len(found['failing']) - SHOWN} more"
    for part in PARTS:
        if record[part]["failed"]:
            yield f"\nOf the {part} these fail:\n"
            yield from (f"- {what}: {said}" for what, said in record[part]["failed"].items())


def records() -> list[dict[str, Any]]:
    """All that were made, those that work first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDS.glob("*.json"))]
    return sorted(found, key=lambda record: ("works", "works except", "does not").index(verdict(record)))


def main() -> None:
    """Survey one library, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?", choices=sorted(MODULES))
    parser.add_argument("--bare", action="store_true", help="only print the probes of the module by itself")
    parser.add_argument("--page", action="store_true", help="write the page")
    given = parser.parse_args()
    if given.bare:
        print(json.dumps(probes(importlib.import_module(MODULES[given.library]))))
    elif given.library:
        RECORDS.mkdir(parents=True, exist_ok=True)
        text = json.dumps(survey(given.library), indent=1, ensure_ascii=False)
        (RECORDS / f"{given.library}.json").write_text(text + "\n", encoding="utf-8")
    if given.page:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(records()), encoding="utf-8")


if __name__ == "__main__":
    main()
