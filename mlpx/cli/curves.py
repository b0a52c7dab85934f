"""The picture of a training run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mlpx.errors import ConfigError
from mlpx.train import History
from mlpx.train.callbacks import better_when_higher

TRAINING, VALIDATION, QUIET = "#0072B2", "#D55E00", "#666666"  # told apart by colour-blind readers and in print
PANEL = (4.6, 3.4)  # inches
DOTS_PER_INCH = 144
LOG_FROM = 10.0  # ratio of the largest to the smallest loss from which a logarithmic scale shows more
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}
NAMES = {"r2": "R²", "mae": "mean absolute error", "log_loss": "log-loss", "macro_f1": "macro F1"}


def draw_curves(history: History, path: Path, *, title: str) -> None:
    """Draw losses, and the metrics of the validation rows, over the epochs as a PNG file.

    The best epoch of each validation curve is marked, and its value stands above it.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise ConfigError("no picture of the curves: it needs matplotlib, pip install 'mlpx[plot]'") from None

    measured = [name for name in history.columns if name.startswith("validation_") and name != "validation_loss"]
    with rc_context(STYLE):
        figure = Figure(figsize=(PANEL[0] * (1 + len(measured)), PANEL[1]), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 1 + len(measured), squeeze=False)[0]
        figure.suptitle(title.replace("$", r"\$"), x=0.01, ha="left", fontsize=11, fontweight="bold")
        _draw_losses(panels[0], history)
        for panel, name in zip(panels[1:], measured, strict=True):
            metric = name.removeprefix("validation_")
            _draw_curve(panel, history, name, VALIDATION, "validation")
            panel.set_title(f"validation {NAMES.get(metric, metric.replace('_', ' '))}", loc="left", fontsize=10)
        for panel in panels:
            panel.set_xlabel("epoch")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
            panel.grid(axis="y")
            panel.set_axisbelow(True)
        figure.savefig(path, dpi=DOTS_PER_INCH)


def _draw_losses(panel: Any, history: History) -> None:
    """Training and validation loss in one panel."""
    _draw_curve(panel, history, "loss", TRAINING, "training + penalty on weights")
    if "validation_loss" in history:
        _draw_curve(panel, history, "validation_loss", VALIDATION, "validation")
    values = [value for name in ("loss", "validation_loss") if name in history for value in _finite(history[name])]
    if values and min(values) > 0 and max(values) / min(values) >= LOG_FROM:
        panel.set_yscale("log")
    panel.set_title("loss", loc="left", fontsize=10)
    panel.legend(frameon=False, loc="upper right")


def _draw_curve(panel: Any, history: History, column: str, color: str, label: str) -> None:
    """One column; of a validation column the best epoch is marked."""
    epochs, values = history["epoch"], history[column]
    panel.plot(epochs, values, color=color, label=label, marker="o" if len(values) == 1 else None)
    finite = _finite(values)
    if not column.startswith("validation_") or not finite:
        return
    higher = better_when_higher(column)
    best = max(finite) if higher else min(finite)
    at = epochs[values.index(best)]
    panel.plot([at], [best], "o", color=color, markersize=5, markeredgecolor="white", zorder=3)
    panel.set_title(f"best {best:.4g}, epoch {at:.0f}", loc="right", fontsize=9, color=color)


def _finite(values: list[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
