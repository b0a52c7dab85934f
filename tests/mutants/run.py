"""Plant every defect of mutants.toml in a copy of the project and see whether its tests notice.

    python tests/mutants/run.py [--jobs N] [--only WORDS] [--page FILE]

The working tree is never touched. The tests named by the list must pass without a defect first. Exit status 1 if a mutant
survives without an explanation, or breaks so early (import, collection) that no check had a chance.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from planting import RESULT, ROOT, Mutant, copy_of_project, listed

CAUGHT, SURVIVED, BROKEN = "caught", "survived", "broken"
LIMIT_S = 300
LIBRARIES = ("numpy", "array-api-strict", "torch", "jax", "pytest")
OPTIONS = ("-q", "--no-header", "--tb=no", "-rfE", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib")
FAILURE = re.compile(r"^(FAILED|ERROR) (\S.*?)(?: - (.*))?$", re.MULTILINE)


def pytest_in(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the copy: its packages come before installed ones."""
    paths = os.pathsep.join((str(tree), str(tree / "backends")))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"}
    environment |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def outcome(mutant: Mutant) -> dict[str, object]:
    """Plant one mutant, run its tests, and say what happened."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = copy_of_project(Path(folder) / "project")
        mutant.plant(tree)
        started = time.perf_counter()
        try:
            verdict, by, said = read_report(pytest_in(tree, "-x", *mutant.check))
        except subprocess.TimeoutExpired:
            verdict, by, said = BROKEN, "", f"its tests were not done after {LIMIT_S} s"
        seconds = time.perf_counter() - started
    return {
        "name": mutant.name,
        "kind": mutant.kind,
        "file": mutant.file,
        "verdict": verdict,
        "by": by,
        "said": said,
        "seconds": round(seconds, 1),
        "digest": mutant.digest,
        "survives": mutant.survives,
    }


def read_report(ran: subprocess.CompletedProcess[str]) -> tuple[str, str, str]:
    """Verdict, the test that failed and what it said, from pytest's exit status and summary."""
    found = FAILURE.search(ran.stdout)
    if ran.returncode == 0:
        return SURVIVED, "", ""
    if ran.returncode == 1 and found and found[1] == "FAILED":
        return CAUGHT, found[2].removeprefix("tests/"), (found[3] or "")[:160]
    return BROKEN, "", (ran.stdout + ran.stderr)[-400:]


def check_without_defect(mutants: list[Mutant], jobs: int) -> list[str]:
    """Names of the test files that fail, or run nothing, on an unchanged copy."""
    files = sorted({part for mutant in mutants for part in mutant.check if part.endswith(".py")})
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = copy_of_project(Path(folder) / "project")
        where = "import mlpx, mlpx_numpy; print(mlpx.__file__, mlpx_numpy.__file__)"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tree), str(tree / "backends")))}
        found = subprocess.run(
            [sys.executable, "-c", where], cwd=tree, env=environment, capture_output=True, text=True, check=True
        ).stdout
        if found.count(str(tree)) != 2:
            raise SystemExit(f"the copy in {tree} is not what is imported: {found}")
        with ThreadPoolExecutor(jobs) as pool:
            runs = dict(zip(files, pool.map(lambda file: pytest_in(tree, file), files), strict=True))
    for file, ran in runs.items():
        if ran.returncode:
            print(f"{file} fails without a defect:\n{ran.stdout[-1500:]}")
    return [file for file, ran in runs.items() if ran.returncode]


def provenance() -> dict[str, str]:
    """What the result was made with."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    made_with = {"commit": commit, "python": platform.python_version(), "system": platform.system()}
    for library in LIBRARIES:
        try:
            made_with[library] = version(library)
        except PackageNotFoundError:
            made_with[library] = "not installed"
    return made_with


def page(result: dict) -> str:
    """The result as a page of the documentation."""
    rows = result["mutants"]
    caught = sum(row["verdict"] == CAUGHT for row in rows)
    made_with = ", ".join(f"{name} {found}" for name, found in result["made_with"].items() if name != "commit")
    lines = [
        "# Planted defects",
        "",
        f"{len(rows)} defects, each planted alone in a copy of the project: {caught} caught, {len(rows) - caught} not.",
        "The list is `tests/mutants/mutants.toml`; `nox -s mutants` runs it and writes this page. Caught means that a test",
        "failed; the test named is the first that did.",
        "",
        f"Made with {made_with}.",
        "",
        "| defect | kind | file | caught by |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        by = f"`{row['by']}`" if row["verdict"] == CAUGHT else f"{row['verdict']}: {row['survives'] or 'not explained'}"
        cells = (row["name"], row["kind"], f"`{row['file']}`", by)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run what is asked for; write result.json and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=max(1, min(4, os.cpu_count() or 1)))
    parser.add_argument("--only", default="", help="run those whose name or file contains this; the others keep their result")
    parser.add_argument("--stale", action="store_true", help="run those without a result for their present text")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reference" / "mutants.md")
    given = parser.parse_args()
    mutants = listed()
    kept = {row["digest"]: row for row in json.loads(RESULT.read_text(encoding="utf-8"))["mutants"]} if RESULT.exists() else {}
    chosen = [one for one in mutants if given.only in one.name or given.only in one.file]
    if given.stale:
        chosen = [one for one in chosen if kept.get(one.digest, {}).get("verdict") != CAUGHT]
    if check_without_defect(chosen, given.jobs):
        return 1
    with ThreadPoolExecutor(given.jobs) as pool:
        for row in pool.map(outcome, chosen):
            kept[str(row["digest"])] = row
            print(f"{row['verdict']:9}{row['seconds']:6} s  {row['name']}  {row['by'] or row['said']}", flush=True)
    rows = [kept[one.digest] for one in mutants if one.digest in kept]
    result = {"made_with": provenance(), "mutants": rows}
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(page(result), encoding="utf-8")
    missed = [row for row in rows if row["verdict"] == BROKEN or (row["verdict"] == SURVIVED and not row["survives"])]
    print(f"{len(rows)} of {len(mutants)} mutants have a result; {len(missed)} survive or break without an explanation")
    return 1 if missed or len(rows) < len(mutants) else 0


if __name__ == "__main__":
    sys.exit(main())
