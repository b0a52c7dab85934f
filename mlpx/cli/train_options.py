"""The options of `mlpx train`: name, type, default and help of each, stated once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from mlpx.arguments import real_number, whole_number
from mlpx.errors import ConfigError

SOURCES = "digits, iris, wine, breast_cancer, diabetes, moons, spirals, friedman1, or a file (.csv, .npz, .npy, .parquet)."


@dataclass(frozen=True)
class TrainOptions:
    """What to train, on what, how, and where the results go; numbers are checked here, names by those who know them."""

    source: Annotated[str, Argument(help=SOURCES)]
    target: Annotated[str | None, Option(help="Column to predict.")] = None
    task: Annotated[str | None, Option(help="classification or regression; else told by the target.")] = None
    hidden: Annotated[str, Option(help="Units of the hidden layers; '' for none.")] = "128,64"
    activation: Annotated[str, Option(help="Activation of the hidden layers.")] = "relu"
    dropout: Annotated[float, Option(help="Dropout rate behind every hidden layer.")] = 0.0
    loss: Annotated[str | None, Option(help="softmax_cross_entropy for classes, else half_squared_error, if not given.")] = None
    optimizer: Annotated[str, Option(help="adam, adamw, sgd, rmsprop or lbfgs.")] = "adam"
    learning_rate: Annotated[float | None, Option(help="The optimizer's own default if not given.")] = None
    l2: Annotated[float | None, Option(help="λ of the structural risk ½λ‖W‖²; 4 / training rows if not given.")] = None
    clip_norm: Annotated[float | None, Option(help="Largest norm of a gradient; no limit if not given.")] = None
    epochs: Annotated[int, Option(help="Passes over the training rows, at most.")] = 100
    batch_size: Annotated[int, Option(help="Rows of a step; 0 is batch gradient descent.")] = 32
    patience: Annotated[int, Option(help="Epochs without a better validation loss before stopping; 0 never stops.")] = 15
    device: Annotated[str, Option(help="auto, numpy, cupy:0, torch:cpu, torch:cuda:0, jax:cpu, …")] = "auto"
    dtype: Annotated[str, Option(help="float32 or float64.")] = "float32"
    precision: Annotated[str, Option(help="Of float32 products: ieee, tf32, bf16 or fp16.")] = "ieee"
    seed: Annotated[int, Option(help="Of the split, first weights, row order and dropout.")] = 0
    missing: Annotated[str, Option(help="Cells without a value: error, drop (their rows) or fill.")] = "error"
    scale: Annotated[bool, Option(help="Standardise inputs, and a regression's target.")] = True
    out: Annotated[Path | None, Option(help="Folder for the results; a new runs/SOURCE-N if not given.")] = None
    force: Annotated[bool, Option("--force", help="Replace the results in --out.")] = False
    checkpoint_every: Annotated[int | None, Option(help="Steps between checkpoints; also one at Ctrl-C.")] = None
    resume: Annotated[bool, Option("--resume", help="Go on from the newest checkpoint in --out.")] = False
    progress: Annotated[bool | None, Option(help="Live bar; shown on a terminal if not given.")] = None
    as_json: Annotated[bool, Option("--json", help="Print one JSON object, what metrics.json holds, and no bar.")] = False

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 0), ("patience", 0), ("seed", 0)):
            whole_number(f"--{name.replace('_', '-')}", getattr(self, name), at_least=least)
        if self.checkpoint_every is not None:
            whole_number("--checkpoint-every", self.checkpoint_every)
        real_number("--dropout", self.dropout, 0, 1, open_high=True)
        if self.l2 is not None:
            real_number("--l2", self.l2, 0)
        if self.clip_norm is not None:
            real_number("--clip-norm", self.clip_norm, 0, open_low=True)
        if self.resume and self.out is None:
            raise ConfigError("--resume needs --out RUN, the folder of the run to go on with")
        self.layer_sizes  # noqa: B018 - says at once what is wrong with --hidden

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """The numbers in "128,64"; none for ""."""
        parts = [part.strip() for part in self.hidden.split(",")] if self.hidden.strip() else []
        for position, part in enumerate(parts):
            if not (part.isascii() and part.isdecimal()) or int(part) < 1:
                raise ConfigError(
                    f"--hidden {self.hidden!r}: number {position + 1} is {part!r}; expected whole numbers ≥ 1, such as 128,64"
                )
        return tuple(map(int, parts))

    @property
    def checkpointed(self) -> bool:
        """Whether checkpoints are written."""
        return self.checkpoint_every is not None or self.resume

    @property
    def shows_progress(self) -> bool | None:
        """Whether there is a bar; None leaves it to whether there is a terminal."""
        return False if self.as_json and self.progress is None else self.progress
