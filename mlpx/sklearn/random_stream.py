"""The random numbers of a fit: from NumPy's `RandomState`, drawn in scikit-learn's order, or from mlpx's counters.

scikit-learn draws, from one sequential stream: weights and biases layer by layer, the validation split, then one shuffle an
epoch. `RandomStateStream` does the same on the host, whatever library X is of. `CounterStream` derives a key for each purpose
and draws on the device: the same bits on every backend.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from mlpx import random
from mlpx.random import Purpose
from mlpx.sklearn.placement import Place, read
from mlpx.typing import Array, DType, Shape

STREAMS = ("numpy", "mlpx")


class Stream(Protocol):
    """Where initial values, row orders and the validation split come from."""

    def uniform(self, bound: float, shape: Shape, place: Place, dtype: DType) -> Array:
        """The next array of initial values, uniform in [−bound, bound)."""
        ...

    def order(self, rows: int, place: Place) -> Array:
        """The order (rows,) in which the next epoch takes its rows."""
        ...

    def split(self, rows: int, share: float, strata: Array | None, place: Place) -> tuple[Array, Array]:
        """Row numbers for training and for validation."""
        ...

    def dropout_seed(self) -> int:
        """Seed of the dropout masks."""
        ...


class RandomStateStream:
    """scikit-learn's stream.

    Parameters
    ----------
    state : numpy.random.RandomState
    """

    def __init__(self, state: np.random.RandomState) -> None:
        self.state = state
        self._order: np.ndarray | None = None

    def uniform(self, bound: float, shape: Shape, place: Place, dtype: DType) -> Array:
        """Drawn in float64 on the host, then converted."""
        return place.xp.astype(place.put(self.state.uniform(-bound, bound, shape)), dtype, copy=False)

    def order(self, rows: int, place: Place) -> Any:
        """The last order, shuffled: n − 1 draws, as `sklearn.utils.shuffle` makes them."""
        shuffled = np.arange(rows)
        self.state.shuffle(shuffled)
        self._order = shuffled if self._order is None else self._order[shuffled]
        return self._order if place.is_host else place.put(self._order.astype(np.int32))

    def split(self, rows: int, share: float, strata: Array | None, place: Place) -> tuple[Array, Array]:
        """The rows that `train_test_split` chooses; strata (0 and 1) are read by the host."""
        stratify = None if strata is None else read(strata).astype(bool).reshape(-1, 1)
        parts: Any = train_test_split(np.arange(rows), random_state=self.state, test_size=share, stratify=stratify)
        train, held_out = (part if place.is_host else place.put(part.astype(np.int32)) for part in parts)
        return train, held_out

    def dropout_seed(self) -> int:
        """Drawn last, so that a network without dropout has scikit-learn's draws."""
        return int(self.state.randint(np.iinfo(np.int32).max))


class CounterStream:
    """mlpx's counter-based stream: initial values, orders and splits are the same bits on every backend.

    Parameters
    ----------
    seed : int
    epochs : int
        Epochs already seen, in earlier calls of `partial_fit`.
    """

    def __init__(self, seed: int, epochs: int = 0) -> None:
        self.seed = seed
        self._drawn, self._epochs = 0, epochs

    def uniform(self, bound: float, shape: Shape, place: Place, dtype: DType) -> Array:
        """From the key of this array's number."""
        key = random.fold_in(self._key(Purpose.INIT), self._drawn)
        self._drawn += 1
        name = "float64" if dtype == getattr(place.xp, "float64", None) else "float32"
        return random.uniform(_key_on(place, key), shape, low=-bound, high=bound, dtype=name)

    def order(self, rows: int, place: Place) -> Array:
        """A permutation from the key of this epoch."""
        key = random.fold_in(self._key(Purpose.SHUFFLE), self._epochs)
        self._epochs += 1
        return random.permutation(_key_on(place, key), rows)

    def split(self, rows: int, share: float, strata: Array | None, place: Place) -> tuple[Array, Array]:
        """A permutation cut in two; with strata, each class is cut at the same share (class sizes are read by the host)."""
        xp = place.xp
        order = random.permutation(_key_on(place, self._key(Purpose.SPLIT)), rows)
        if strata is None:
            held_out = -(-rows * share // 1)
            return order[int(held_out) :], order[: int(held_out)]
        labels = xp.astype(xp.reshape(strata, (-1,)) != 0, xp.int32)
        order = xp.take(order, xp.argsort(xp.take(labels, order, axis=0), stable=True), axis=0)
        ones = int(xp.sum(labels))
        train, held_out = [], []
        for start, stop in ((0, rows - ones), (rows - ones, rows)):
            cut = start + round((stop - start) * share)
            held_out.append(order[start:cut])
            train.append(order[cut:stop])
        return xp.concat(train), xp.concat(held_out)

    def dropout_seed(self) -> int:
        """The seed itself: mlpx keeps purposes apart."""
        return self.seed

    def _key(self, purpose: Purpose) -> Any:
        return random.fold_in(random.key(self.seed), purpose)


def stream(name: str, random_state: Any, epochs: int) -> Stream:
    """The stream of that name, begun by `random_state`."""
    state = check_random_state(random_state)
    if name == "numpy":
        return RandomStateStream(state)
    whole = isinstance(random_state, int | np.integer)
    return CounterStream(int(random_state) if whole else int(state.randint(np.iinfo(np.int32).max)), epochs)


def _key_on(place: Place, key: np.ndarray) -> Any:
    return key if place.is_host else place.put(key)
