"""Whole `fit` calls of mlpx's estimators and scikit-learn's, interleaved on the same cores; and whether the models are as good.

    python benchmarks/sklearn_fit.py [--rounds 7] [--quick] [--out benchmarks/results/sklearn_fit.json]

Prints, for each setting, the median of the rounds' ratios (scikit-learn's seconds over ours) with its quartiles; then test
scores over ten seeds, and the largest relative difference of weights. Threads are what the environment says
(OMP_NUM_THREADS, OPENBLAS_NUM_THREADS), and are recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy
import sklearn
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import mlpx
from mlpx import sklearn as ours

warnings.simplefilter("ignore", ConvergenceWarning)
SEEDS = 10


def digits():
    return datasets.load_digits(return_X_y=True)


def mnist_shaped(rows: int):
    generator = np.random.default_rng(0)
    return generator.random((rows, 784)), generator.integers(0, 10, rows)


def settings(quick: bool):
    """Name, class, data, settings."""
    few = 10 if quick else 60
    rows = 4_000 if quick else 20_000
    yield "digits, defaults", "MLPClassifier", digits(), {"max_iter": few}
    small = {"max_iter": few // 3, "batch_size": 32, "hidden_layer_sizes": (16,)}
    yield "digits, batches of 32, 16 units", "MLPClassifier", digits(), small
    yield "digits, float32", "MLPClassifier", (digits()[0].astype(np.float32), digits()[1]), {"max_iter": few}
    yield "digits, lbfgs", "MLPClassifier", digits(), {"max_iter": few, "solver": "lbfgs"}
    yield f"{rows} x 784, 256-128", "MLPClassifier", mnist_shaped(rows), {"max_iter": 1, "hidden_layer_sizes": (256, 128)}
    slow = {"max_iter": few, "solver": "sgd", "learning_rate_init": 1e-5}
    yield "diabetes, sgd", "MLPRegressor", datasets.load_diabetes(return_X_y=True), slow


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def ratios(theirs: Callable[[], object], mine: Callable[[], object], rounds: int) -> dict[str, float]:
    """scikit-learn's time over ours, round by round; who goes first alternates."""
    theirs(), mine()
    found, seconds = [], []
    for number in range(rounds):
        pair = [theirs, mine] if number % 2 == 0 else [mine, theirs]
        spent = {call: timed(call) for call in pair}
        found.append(spent[theirs] / spent[mine])
        seconds.append(spent[mine])
    low, middle, high = np.percentile(found, [25, 50, 75])
    middle_half = [round(low, 3), round(high, 3)]
    return {"ratio": round(middle, 3), "quartiles": middle_half, "seconds": round(float(np.median(seconds)), 5)}


def compare_fits(rounds: int, quick: bool) -> dict[str, dict]:
    results = {}
    for name, kind, (x, y), given in settings(quick):
        made = [getattr(library, kind)(random_state=0, **given) for library in (neural_network, ours)]
        results[name] = ratios(lambda m=made, x=x, y=y: m[0].fit(x, y), lambda m=made, x=x, y=y: m[1].fit(x, y), rounds)
        pairs = zip(made[0].coefs_, made[1].coefs_, strict=True)
        results[name]["largest_weight_difference"] = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)
    return results


def compare_predictions(rounds: int) -> dict[str, dict]:
    x, y = digits()
    made = [library.MLPClassifier(random_state=0, max_iter=5).fit(x, y) for library in (neural_network, ours)]
    results = {}
    for rows in (1, len(x)):
        repeats = 200 if rows == 1 else 20
        calls = [lambda m=m, rows=rows, repeats=repeats: [m.predict_proba(x[:rows]) for _ in range(repeats)] for m in made]
        results[f"predict_proba of {rows} row(s)"] = ratios(*calls, rounds=3 * rounds)
    return results


def compare_scores(quick: bool) -> dict[str, list[float]]:
    """Test accuracy on digits over seeds of both, one split a seed."""
    x, y = digits()
    scores: dict[str, list[float]] = {"sklearn": [], "mlpx": []}
    for seed in range(3 if quick else SEEDS):
        train_x, test_x, train_y, test_y = train_test_split(x, y, random_state=seed)
        for name, library in (("sklearn", neural_network), ("mlpx", ours)):
            model = library.MLPClassifier(random_state=seed, max_iter=60).fit(train_x, train_y)
            scores[name].append(round(model.score(test_x, test_y), 5))
    return scores


def machine() -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    threads = {name: os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    libraries = {"mlpx": mlpx, "numpy": np, "scipy": scipy, "scikit-learn": sklearn}
    versions = {name: library.__version__ for name, library in libraries.items()}
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
        "threads": threads,
        "commit": commit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results = {
        **machine(),
        "rounds": given.rounds,
        "ratios": {**compare_fits(given.rounds, given.quick), **compare_predictions(given.rounds)},
        "test_accuracy": compare_scores(given.quick),
    }
    for name, found in results["ratios"].items():
        print(f"{name:36} {found['ratio']:6.2f} times as fast  (quartiles {found['quartiles'][0]}, {found['quartiles'][1]})")
    for name, scores in results["test_accuracy"].items():
        print(f"test accuracy, {name}: {np.mean(scores):.4f} ± {np.std(scores):.4f}")
    if given.out is not None:
        given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
