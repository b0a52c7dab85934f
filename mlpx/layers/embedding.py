"""A table of learned vectors, one a category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpx.arguments import whole_number
from mlpx.errors import checked_keywords
from mlpx.layers import initializers
from mlpx.layers.base import Layer, Spec
from mlpx.namespace import namespace_of
from mlpx.ops.embedding import embedding
from mlpx.typing import Array, ParameterMapping, Residuals, Shape


class Embedding(Layer):
    """Replace every category number by its learned vector.

    Parameters
    ----------
    categories : int
        k; the input holds whole numbers in [0, k). A floating input, as a table with other columns is, is cast.
    features : int
        d, the length of a vector: an input (*n) gives an output (*n, d).
    table_init : str, mapping or Initializer
        How the table of shape (k, d) is drawn.

    Notes
    -----
    Behind `Columns`, which hands on a table of shape (n, m), the output is (n, m, d): flatten it with `Flatten`.
    """

    @checked_keywords
    def __init__(self, categories: int, features: int, *, table_init: Any = "normal") -> None:
        self.categories = whole_number("categories", categories)
        self.features = whole_number("features", features)
        self.table_init = initializers.weight_initializer(table_init)

    def specs(self) -> dict[str, Spec]:
        """Table (categories, features)."""
        return {"table": Spec((self.categories, self.features), self.table_init, penalised=True)}

    def output_shape(self, input_shape: Shape) -> Shape:
        """One more axis of length `features`."""
        return (*input_shape, self.features)

    def forward(
        self, params: ParameterMapping, x: Array, *, train: bool = False, key: Array | None = None
    ) -> tuple[Array, Residuals]:
        """The vectors of the categories."""
        del train, key
        xp = namespace_of(x)
        return embedding(xp.astype(x, xp.int32), params["table"])

    def backward(self, params: ParameterMapping, residuals: Residuals, dy: Array) -> tuple[None, Mapping[str, Array]]:
        """The gradient of the table; whole numbers have none."""
        del params
        return None, {"table": embedding.gradient(dy, residuals)}

    def config(self) -> dict[str, Any]:
        """Sizes and initialiser."""
        return {"categories": self.categories, "features": self.features, "table_init": self.table_init.config()}
