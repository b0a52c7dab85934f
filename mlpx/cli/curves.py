"""The picture of a training run."""

from __future__ import annotations

from pathlib import Path

from mlpx.errors import ConfigError
from mlpx.train import History


def draw_curves(history: History, path: Path, *, title: str) -> None:
    """Draw losses, and the metrics of the validation rows, over the epochs as a PNG file.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("the picture of the curves needs matplotlib: pip install 'mlpx[plot]'") from None

    metrics = [name for name in history.columns if name.startswith("validation_") and name != "validation_loss"]
    figure = Figure(figsize=(4.8 * (1 + len(metrics)), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + len(metrics), squeeze=False)[0]
    for name, label in (("loss", "training"), ("validation_loss", "validation")):
        if name in history:
            panels[0].plot(history["epoch"], history[name], label=label)
    panels[0].set(xlabel="epoch", ylabel="loss", title=title)
    if min(history["loss"], default=0) > 0:
        panels[0].set_yscale("log")
    panels[0].legend()
    for panel, name in zip(panels[1:], metrics, strict=True):
        panel.plot(history["epoch"], history[name], color="tab:orange")
        panel.set(
            xlabel="epoch", ylabel=name.removeprefix("validation_"), title=f"validation {name.removeprefix('validation_')}"
        )
    for panel in panels:
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
