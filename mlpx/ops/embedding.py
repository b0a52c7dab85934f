"""Embedding: rows of a table, looked up by index."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from mlpx.errors import InvalidInputError, InvalidTypeError
from mlpx.namespace import namespace_of, placed_as
from mlpx.ops.definition import BadInput, Draw, Example, op
from mlpx.typing import Array


class Residuals(NamedTuple):
    """What the backward pass of `embedding` needs: the indices in one axis, and the row numbers 0 … k − 1."""

    flat: Array
    rows: Array


@op
def embedding(indices: Array, table: Array) -> tuple[Array, Residuals]:
    """Vectors of categories.

        y[…, :] = table[indices[…], :]

    Parameters
    ----------
    indices : (*n,) integer, on table's device
        In [0, k), which is not checked: what another index gives is up to the array library.
    table : (k, d) floating
        One vector for each of k categories.

    Returns
    -------
    y : (*n, d)
    residuals : Residuals

    Raises
    ------
    InvalidTypeError
        If `indices` is not of an integer dtype.
    InvalidInputError
        If `table` is not a matrix.
    DeviceMismatchError
        If the arrays come from different libraries or devices.

    References
    ----------
    Bengio et al. (2003), "A Neural Probabilistic Language Model", section 2: the matrix C.
    """
    xp = namespace_of(indices, table)
    if not xp.isdtype(indices.dtype, "integral"):
        raise InvalidTypeError(f"embedding: indices have dtype {indices.dtype}; it takes integers, such as int32")
    if table.ndim != 2:
        raise InvalidInputError(f"embedding: table has shape {tuple(table.shape)}; it takes (k, d), a row for each category")
    k, d = table.shape
    flat = xp.reshape(indices, (prod(indices.shape),))
    y = xp.reshape(xp.take(table, flat, axis=0), (*indices.shape, d))
    return y, Residuals(flat, xp.arange(k, dtype=indices.dtype, **placed_as(table)))


@embedding.backward
def embedding_backward(dy: Array, residuals: Residuals) -> Array:
    """Gradient with respect to the table; indices have none.

    dtable = one_hotᵀ dy,   one_hot[i, j] = I(indices[i] = j)

    The product adds up what repeated indices receive, with no scatter, which libraries do differently.
    """
    flat, rows = residuals
    xp = namespace_of(dy)
    one_hot = xp.astype(xp.expand_dims(flat, axis=-1) == rows, dy.dtype)
    return one_hot.T @ xp.reshape(dy, (flat.shape[0], dy.shape[-1]))


def _inputs(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    return draw.integers(7, below=4), draw.normal(4, 3)


embedding.case(
    kind="product",
    terms=7,
    inputs=_inputs,
    smooth=True,
    examples=(
        Example(
            inputs=([2, 0, 2], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
            result=[[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]],
            source="by hand: rows 2, 0, 2",
        ),
    ),
    bad=(
        BadInput(
            inputs=lambda draw: (draw.normal(7), draw.normal(4, 3)),
            error=InvalidTypeError,
            match="takes integers",
        ),
        BadInput(
            inputs=lambda draw: (draw.integers(7, below=4), draw.normal(4)),
            error=InvalidInputError,
            match=r"table has shape \(4,\)",
        ),
    ),
)
embedding.case(
    kind="product",
    terms=6,
    label="sequence",
    inputs=lambda draw: (draw.integers(2, 3, below=4), draw.normal(4, 3)),
    smooth=True,
)
