"""What shape targets must have beside the output they are compared with: the two are never broadcast against each other."""

from __future__ import annotations

from mlpx.errors import InvalidInputError
from mlpx.typing import Array


def expect_rows(output: Array, targets: Array) -> None:
    """Raise InvalidInputError unless the output is a batch of rows and there are targets for each of them."""
    if output.ndim != 2:
        raise InvalidInputError(f"the output of a loss is a batch of rows (n, k), got shape {tuple(output.shape)}")
    if targets.ndim == 0 or targets.shape[0] != output.shape[0]:
        raise InvalidInputError(
            f"targets of shape {tuple(targets.shape)} do not fit the output of shape {tuple(output.shape)}: "
            f"{output.shape[0]} rows of output need {output.shape[0]} targets"
        )


def expect_values(output: Array, targets: Array) -> None:
    """Raise InvalidInputError unless targets have the shape (n, k) of the output."""
    if targets.shape == output.shape and output.ndim == 2:
        return
    expect_rows(output, targets)
    column = targets.ndim == 1 and output.shape[1] == 1
    raise InvalidInputError(
        f"targets of shape {tuple(targets.shape)} do not fit the output of shape {tuple(output.shape)}; "
        + ("reshape them with targets[:, None]" if column else f"give {output.shape[1]} values a row")
    )


def expect_labels(output: Array, targets: Array) -> None:
    """Raise InvalidInputError unless targets are labels (n,) or rows (n, k) for the output (n, k)."""
    if targets.shape == output.shape and output.ndim == 2:
        return
    expect_rows(output, targets)
    if targets.ndim != 1:
        cure = ", that is targets[:, 0]" if targets.shape[1:] == (1,) else ""
        raise InvalidInputError(
            f"targets of shape {tuple(targets.shape)} do not fit the output of shape {tuple(output.shape)}; "
            f"give labels of shape ({output.shape[0]},){cure}, or rows of {output.shape[1]} probabilities"
        )
