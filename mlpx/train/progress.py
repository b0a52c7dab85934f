"""The line that shows how training goes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class Progress:
    """A live bar of epochs with the newest losses, on standard error; silent when off.

    Parameters
    ----------
    epochs : int
        How many there will be at most.
    shown : bool or None
        None shows it where standard error is a terminal.
    """

    def __init__(self, epochs: int, shown: bool | None = None) -> None:
        self.epochs = epochs
        self.shown = sys.stderr.isatty() if shown is None else shown
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self.shown:
            from rich.console import Console  # loaded when a bar is shown
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress
            from rich.table import Column

            columns = (
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TextColumn("{task.fields[values]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
                TimeRemainingColumn(elapsed_when_finished=True),
            )  # the values give way in a narrow terminal, not the bar
            self._bar = RichProgress(*columns, console=Console(stderr=True), expand=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.epochs, values="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """Show a few words in place of the losses: what is being waited for."""
        if self._bar is not None:
            self._bar.update(self._task, values=text)

    def show(self, row: Mapping[str, float], done: int) -> None:
        """Show an epoch's row."""
        if self._bar is not None:
            names = [name for name in row if name not in ("epoch", "seconds", "learning_rate", "step")]
            text = "  ".join(f"{_short(name)} {row[name]:.4f}" for name in names)
            self._bar.update(self._task, completed=done, values=text)


def _short(column: str) -> str:
    """A column's name in little room: metrics are measured on the validation rows only, losses on both."""
    return "val loss" if column == "validation_loss" else column.removeprefix("validation_")
