"""Networks, steps and elementwise functions, drawn at random or listed whole, for the tests of traced programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mlpx import losses, optim
from mlpx.compositions import Parallel, Residual, Sequential
from mlpx.layers import Activation, BatchNorm, Columns, Dense, Dropout, Embedding, Flatten, LayerNorm
from mlpx.optim import schedules
from mlpx.program import trees
from mlpx.step import Batch, Descent, Epoch, Objective, epoch_step, initial_state, training_step

ACTIVATIONS = [
    "identity",
    "step",
    "logistic",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "softplus",
    "swish",
    "gelu",
    "selu",
    "prelu",
    "silu",
]
LOSSES = ["half_squared_error", "mse", "mae", "huber", "quantile", "softmax_cross_entropy", "sigmoid_cross_entropy", "poisson"]
LABELS = ("softmax_cross_entropy",)


class SquaredSwish(Activation):
    """A layer of a user's own, with functions that no other layer uses."""

    def __init__(self) -> None:
        super().__init__("swish")

    def forward(self, params, x, *, train=False, key=None):
        from mlpx.namespace import namespace_of

        xp = namespace_of(x)
        gate = xp.where(x > 0.5, xp.exp(-(x**2)), xp.clip(x**3, -1.0, 1.0))
        return x * gate + xp.cumulative_sum(x, axis=1), gate

    def backward(self, params, residuals, dy):
        return dy * residuals, {}


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9),
    "nesterov": lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: optim.Adam(1e-3),
    "adam, beta1 0": lambda: optim.Adam(1e-3, beta1=0.0),
    "adamw": lambda: optim.AdamW(1e-3),
    "rmsprop": lambda: optim.RMSprop(1e-3),
    "rmsprop with momentum": lambda: optim.RMSprop(1e-3, momentum=0.9),
}
SCHEDULES: dict[str, Callable[[], Any]] = {
    "step decay": lambda: schedules.StepDecay(0.1, 3),
    "exponential": lambda: schedules.Exponential(0.1, 0.9),
    "cosine": lambda: schedules.Cosine(0.1, 10),
    "warm up": lambda: schedules.WarmUp(schedules.Cosine(0.1, 10), 3),
    "plateau": lambda: optim.plateau.ReduceOnPlateau(0.1),
    "function": lambda: schedules.FunctionOfStep(lambda step: 0.1 / (1.0 + step * 0 + 1)),
}
NETWORKS: dict[str, Callable[[], Any]] = {
    "dense": lambda: Sequential(Dense(6, 5, "relu"), Dense(5, 3)),
    "batch norm": lambda: Sequential(Dense(6, 5), BatchNorm(5), Activation("relu"), Dense(5, 3)),
    "layer norm": lambda: Sequential(Dense(6, 5), LayerNorm(5), Activation("gelu"), Dense(5, 3)),
    "dropout": lambda: Sequential(Dropout(0.1), Dense(6, 5, "tanh"), Dropout(0.5), Dense(5, 3)),
    "residual": lambda: Sequential(Dense(6, 5), Residual(Dense(5, 5, "elu"), Dropout(0.3)), Dense(5, 3)),
    "parallel": lambda: Sequential(Parallel(Dense(6, 2, "relu"), Sequential(Columns(1, 4), Dense(3, 4, "gelu"))), Dense(6, 3)),
    "parallel sum": lambda: Parallel(Dense(6, 3), Sequential(Dense(6, 4, "swish"), Dense(4, 3)), combine="sum"),
    "embedding": lambda: Sequential(
        Parallel(Sequential(Columns(0, 2), Embedding(4, 3), Flatten()), Sequential(Columns(2, 6), Dense(4, 2))), Dense(8, 3)
    ),
    "learned activations": lambda: Sequential(
        Dense(6, 5, "prelu"), Dense(5, 5, Activation("swish", beta="learned")), Dense(5, 3)
    ),
    "own layer": lambda: Sequential(Dense(6, 5), SquaredSwish(), Dense(5, 3)),
    "layers of one shape": lambda: Sequential(Dense(6, 6, "relu"), Dense(6, 6, "tanh"), Dense(6, 6)),
    "shortcut around a product": lambda: Sequential(Residual(Dense(6, 6)), Dense(6, 3)),
    "one layer": lambda: Sequential(Dense(6, 3)),
}


def setting(
    net: Any,
    loss: str,
    optimizer: Any,
    *,
    rows: int = 7,
    width: int = 6,
    dtype: str = "float32",
    l2: float = 0.0,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    ema: float | None = None,
    weights: bool = False,
    whole_epoch: bool = False,
) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    """A training step and arguments for it."""
    rng = np.random.default_rng(rows)
    params = net.init(3, dtype=dtype)
    x = np.abs(rng.standard_normal((rows, width))).astype(dtype)
    k = net.output_shape((rows, width))[-1]
    if loss in LABELS:
        targets = rng.integers(0, k, rows).astype(np.int32)
    else:
        targets = rng.random((rows, k)).astype(dtype)
    batch = Batch(x, targets, rng.random(rows).astype(dtype) if weights else ())
    step = training_step(Objective(net, losses.get(loss), l2), Descent(optimizer, clip_norm, clip_value, ema))
    state = initial_state(params, optimizer, 5, averaged=ema is not None)
    state = state._replace(step=np.asarray(4, np.int32))
    if whole_epoch:
        return epoch_step(step, rows - 3), (state, Epoch(batch, rng.permutation(rows).astype(np.int32)))
    return step, (state, batch)


def listed() -> Iterator[tuple[str, Callable[[], tuple[Callable[..., Any], tuple[Any, Any]]]]]:
    """Every combination that matters, by name."""
    for name, net in NETWORKS.items():
        yield f"network {name}", lambda net=net: setting(net(), "softmax_cross_entropy", optim.Adam(1e-3))
    for name in ACTIVATIONS:
        yield (
            f"activation {name}",
            lambda name=name: setting(Sequential(Dense(6, 5, name), Dense(5, 3)), "mse", optim.SGD(0.1)),
        )
    for name in LOSSES:
        yield f"loss {name}", lambda name=name: setting(NETWORKS["dense"](), name, optim.SGD(0.1))
        yield f"loss {name}, weighted", lambda name=name: setting(NETWORKS["dense"](), name, optim.SGD(0.1), weights=True)
    for name, made in OPTIMIZERS.items():
        yield f"optimizer {name}", lambda made=made: setting(NETWORKS["dense"](), "mse", made())
    for name, made in SCHEDULES.items():
        yield f"schedule {name}", lambda made=made: setting(NETWORKS["dense"](), "mse", optim.SGD(made()))
    options: dict[str, dict[str, Any]] = {
        "l2": {"l2": 0.01},
        "clip by norm": {"clip_norm": 0.1},
        "clip by value": {"clip_value": 0.01},
        "average": {"ema": 0.9},
        "all": {"l2": 0.01, "clip_norm": 0.1, "clip_value": 0.01, "ema": 0.9, "weights": True},
        "float64": {"dtype": "float64"},
        "epoch": {"whole_epoch": True, "weights": True},
        "rows as many as columns": {"rows": 5},
        "one row": {"rows": 1},
    }
    for name, given in options.items():
        for net in ("dense", "batch norm", "layer norm", "dropout", "layers of one shape"):
            yield (
                f"option {name}, {net}",
                lambda given=given, net=net: setting(NETWORKS[net](), "softmax_cross_entropy", optim.Adam(1e-3), **given),
            )


LISTED = dict(listed())


@st.composite
def blocks(draw: st.DrawFn, width: int, depth: int = 2) -> tuple[list[Any], int]:
    """Some layers for rows of `width` numbers, and the width that comes out."""
    made: list[Any] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["dense", "norm", "batch", "dropout", "activation", "residual", "parallel", "columns"]))
        if kind == "dense":
            out = draw(st.sampled_from([1, 3, 4, 5, 8]))
            made.append(Dense(width, out, draw(st.sampled_from([None, "relu", "tanh", "gelu", "prelu", "elu"]))))
            width = out
        elif kind == "norm":
            made.append(LayerNorm(width))
        elif kind == "batch":
            made.append(BatchNorm(width))
        elif kind == "dropout":
            made.append(Dropout(draw(st.sampled_from([0.0, 0.25, 0.5]))))
        elif kind == "activation":
            made.append(Activation(draw(st.sampled_from(["logistic", "softplus", "selu", "step", "silu"]))))
        elif kind == "columns" and width > 1:
            made.append(Columns(1, width))
            width -= 1
        elif depth and kind == "residual":
            inner, out = draw(blocks(width, depth - 1))
            made.append(Residual(*inner, *([] if out == width else [Dense(out, width)])))
        elif depth and kind == "parallel":
            first, one = draw(blocks(width, depth - 1))
            second, two = draw(blocks(width, depth - 1))
            made.append(Parallel(Sequential(*first), Sequential(*second)))
            width = one + two
    return made or [LayerNorm(width)], width


@st.composite
def settings(
    draw: st.DrawFn, optimizers: tuple[str, ...] = tuple(sorted(OPTIMIZERS)), dtypes: tuple[str, ...] = ("float32", "float64")
) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    """A random network with a random loss, optimizer and the rest, as a step and arguments."""
    width = draw(st.sampled_from([2, 4, 5]))
    inner, out = draw(blocks(width))
    net = Sequential(*inner, Dense(out, draw(st.sampled_from([1, 3, 4]))))
    return setting(
        net,
        draw(st.sampled_from(LOSSES)),
        OPTIMIZERS[draw(st.sampled_from(optimizers))](),
        rows=draw(st.sampled_from([4, 5, 9])),
        width=width,
        dtype=draw(st.sampled_from(dtypes)),
        l2=draw(st.sampled_from([0.0, 0.01])),
        clip_norm=draw(st.sampled_from([None, 0.1])),
        clip_value=draw(st.sampled_from([None, 0.01])),
        ema=draw(st.sampled_from([None, 0.9])),
        weights=draw(st.booleans()),
        whole_epoch=draw(st.booleans()),
    )


UNARY = ["abs", "negative", "exp", "tanh", "sqrt", "log1p", "expm1", "square", "sign", "floor", "cos"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "hypot"]
REDUCTIONS = ["sum", "mean", "max", "min"]


@st.composite
def functions(draw: st.DrawFn) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A random function of a table, a row, a column and a number, made of elementwise operations, reductions and views."""
    n, d = draw(st.sampled_from([(4, 3), (4, 4), (1, 5), (6, 1), (2, 7)]))
    steps = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**6), st.integers(0, 10**6)), min_size=2, max_size=14))
    kept = draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
    rng = np.random.default_rng(n * 10 + d)
    given = tuple(rng.standard_normal(shape).astype(np.float32) for shape in ((n, d), (d,), (n, 1), (), (n,)))

    def function(*arrays: Any) -> tuple[Any, ...]:
        from mlpx.namespace import namespace_of

        xp = namespace_of(arrays[0])
        pool = list(arrays)
        for kind, i, j in steps:
            pool.append(_stepped(xp, pool, kind, i, j))
        return tuple(pool[len(arrays) + i % len(steps)] for i in kept)

    return function, given


def _stepped(xp: Any, pool: list[Any], kind: int, i: int, j: int) -> Any:
    """One more value made of those there are."""
    x, y = pool[i % len(pool)], pool[j % len(pool)]
    if kind < 3:
        return getattr(xp, UNARY[j % len(UNARY)])(x)
    if kind < 7:
        shapes = np.broadcast_shapes(x.shape, y.shape) if _fits(x, y) else None
        y = y if shapes is not None else x
        return getattr(xp, BINARY[(i + j) % len(BINARY)])(x, y) if kind < 6 else xp.astype(x > y, x.dtype) * 0.5
    if kind == 7 and x.ndim:
        axis = (None, 0, -1)[j % 3]
        return getattr(xp, REDUCTIONS[j % 4])(x, axis=axis, keepdims=bool(i % 2))
    if kind == 8 and x.ndim:
        return (x[:1], x[..., None], xp.reshape(x, (-1,)), x * 1, x + 0.0, x - 0.0)[j % 6]
    return xp.where(x > 0, x, xp.zeros_like(x)) if j % 2 else x**2


def _fits(x: Any, y: Any) -> bool:
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return True


def assert_same(results: Any, expected: Any) -> None:
    """Equal structure, shapes, dtypes and bits; a NaN is a NaN."""
    found, wanted = trees.flattened(results), trees.flattened(expected)
    assert [name for name, _ in found] == [name for name, _ in wanted]
    for (name, a), (_, b) in zip(found, wanted, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        np.testing.assert_array_equal(a, b, err_msg=name)
        if a.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(a[~np.isnan(a)]), np.signbit(b[~np.isnan(b)]), err_msg=name)
