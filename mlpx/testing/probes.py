"""What mlpx needs of an array library, as a hundred one-line expressions.

Each probe is run twice: on the library, and on NumPy, which says what must come out. So a probe is only an expression in the
standard's functions. `a` holds its inputs (`INPUTS`); `kw` says where a created array belongs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mlpx.namespace import constant, namespace_of
from mlpx.ops.affine import affine
from mlpx.ops.cross_entropy import softmax_cross_entropy
from mlpx.ops.normalization import layer_norm
from mlpx.optim.adam import adam_update
from mlpx.random.threefry import threefry2x32


class Need(NamedTuple):
    """Something mlpx needs a library for.

    Attributes
    ----------
    name : str
    without : str
        What does not work without it.
    required : bool
        Whether nothing at all works without it.
    probes : dict of str to callable
        `(xp, a, kw) -> array or tuple of arrays`, by what is probed.
    """

    name: str
    without: str
    required: bool
    probes: dict[str, Callable[..., Any]]


_draw = np.random.default_rng(20241200)

INPUTS: dict[str, np.ndarray] = {
    "x": _draw.standard_normal((4, 3)).astype(np.float32),
    "y": _draw.standard_normal((4, 3)).astype(np.float32),
    "w": _draw.standard_normal((5, 3)).astype(np.float32),
    "batch": _draw.standard_normal((2, 4, 3)).astype(np.float32),
    "row": _draw.standard_normal(3).astype(np.float32),
    "flat": _draw.standard_normal(24).astype(np.float32),
    "positive": _draw.uniform(0.1, 2.0, (4, 3)).astype(np.float32),
    "scalar": np.asarray(0.5, dtype=np.float32),
    "none": np.zeros((0, 3), dtype=np.float32),
    "double": _draw.standard_normal((4, 3)),
    "labels": np.asarray([2, 0, 1, 2], dtype=np.int32),
    "words": np.asarray([1, -1, 2**31 - 1, -(2**31), 305419896], dtype=np.int32),
    "count": np.asarray(3, dtype=np.int32),
    "mask": np.asarray([True, False, True, True]),
}


def _adam(xp: Any, a: Any, kw: Any) -> Any:
    del xp, kw
    t, rate = a.count - 3, a.scalar * 0.01
    return tuple(adam_update(a.row, a.row * 2, a.row * 0, a.row * 0, t, rate, beta1=0.9, beta2=0.999, eps=1e-8))


def _layer_norm(xp: Any, a: Any, kw: Any) -> Any:
    del xp, kw
    y, residuals = layer_norm(a.x, a.row, a.row * 2)
    return (y, *layer_norm.gradient(a.y, residuals))


def _affine(xp: Any, a: Any, kw: Any) -> Any:
    del kw
    z, residuals = affine(a.x, a.w, a.w[:, 0])
    return (z, *affine.gradient(xp.ones_like(z), residuals))


def _cross_entropy(xp: Any, a: Any, kw: Any) -> Any:
    del kw
    rows, residuals = softmax_cross_entropy(a.x, a.labels)
    return rows, softmax_cross_entropy.gradient(xp.ones_like(rows), residuals)


NEEDS: tuple[Need, ...] = (
    Need(
        "creation",
        "no op that needs a constant",
        True,
        {
            "asarray of a number": lambda xp, a, kw: xp.asarray(2.5, dtype=a.x.dtype, **kw),
            "asarray of a list": lambda xp, a, kw: xp.asarray([1, 2, 3], dtype=a.labels.dtype, **kw),
            "zeros": lambda xp, a, kw: xp.zeros((2, 3), dtype=a.x.dtype, **kw),
            "zeros of shape ()": lambda xp, a, kw: xp.zeros((), dtype=a.x.dtype, **kw),
            "ones": lambda xp, a, kw: xp.ones((2, 3), dtype=a.x.dtype, **kw),
            "full": lambda xp, a, kw: xp.full((2, 3), 1.5, dtype=a.x.dtype, **kw),
            "arange": lambda xp, a, kw: xp.arange(5, dtype=a.labels.dtype, **kw),
            "eye": lambda xp, a, kw: xp.eye(3, dtype=a.x.dtype, **kw),
            "zeros_like": lambda xp, a, kw: xp.zeros_like(a.x),
            "ones_like": lambda xp, a, kw: xp.ones_like(a.x),
            "full_like": lambda xp, a, kw: xp.full_like(a.x, 0.5),
            "mlpx.namespace.constant": lambda xp, a, kw: constant(0.25, a.x),
        },
    ),
    Need(
        "products",
        "no layer",
        True,
        {
            "x @ w.T": lambda xp, a, kw: a.x @ a.w.T,
            "x.T @ y": lambda xp, a, kw: a.x.T @ a.y,
            "matrix @ vector": lambda xp, a, kw: a.x @ a.row,
            "vector @ vector": lambda xp, a, kw: a.row @ a.row,
            "batched matmul": lambda xp, a, kw: xp.matmul(a.batch, a.w.T),
            "matrix_transpose": lambda xp, a, kw: xp.matrix_transpose(a.batch),
            "tensordot": lambda xp, a, kw: xp.tensordot(a.x, a.y, axes=2),
            "vecdot": lambda xp, a, kw: xp.vecdot(a.x, a.y),
            "empty batch @ w.T": lambda xp, a, kw: a.none @ a.w.T,
        },
    ),
    Need(
        "arithmetic",
        "no op",
        True,
        {
            "x + y, x - y": lambda xp, a, kw: (a.x + a.y, a.x - a.y),
            "x * y, x / y": lambda xp, a, kw: (a.x * a.y, a.x / a.positive),
            "x + row (broadcast)": lambda xp, a, kw: a.x + a.row,
            "x * column (broadcast)": lambda xp, a, kw: a.x * a.x[:, 0][:, None],
            "x * 2.0 stays float32": lambda xp, a, kw: a.x * 2.0,
            "1 / x, 1 - x": lambda xp, a, kw: (1 / a.positive, 1 - a.x),
            "0-d * 2.0 stays float32": lambda xp, a, kw: a.scalar * 2.0,
            "x * 0-d": lambda xp, a, kw: a.x * a.scalar,
            "-x": lambda xp, a, kw: -a.x,
            "x ** 2": lambda xp, a, kw: a.x**2,
            "x > y, x <= y": lambda xp, a, kw: (a.x > a.y, a.x <= a.y),
            "x > 0": lambda xp, a, kw: a.x > 0,
            "labels == labels": lambda xp, a, kw: a.labels[:, None] == a.labels[None, :],
            "float64": lambda xp, a, kw: a.double * a.double,
        },
    ),
    Need(
        "functions",
        "no activation, no loss",
        True,
        {
            "exp": lambda xp, a, kw: xp.exp(a.x),
            "expm1": lambda xp, a, kw: xp.expm1(a.x),
            "log": lambda xp, a, kw: xp.log(a.positive),
            "log1p": lambda xp, a, kw: xp.log1p(a.positive),
            "tanh": lambda xp, a, kw: xp.tanh(a.x),
            "sqrt": lambda xp, a, kw: xp.sqrt(a.positive),
            "square": lambda xp, a, kw: xp.square(a.x),
            "abs": lambda xp, a, kw: xp.abs(a.x),
            "sign": lambda xp, a, kw: xp.sign(a.x),
            "sin, cos": lambda xp, a, kw: (xp.sin(a.x), xp.cos(a.x)),
            "floor": lambda xp, a, kw: xp.floor(a.x * 3.0),
            "maximum, minimum": lambda xp, a, kw: (xp.maximum(a.x, a.y), xp.minimum(a.x, a.y)),
            "maximum with a 0-d constant": lambda xp, a, kw: xp.maximum(a.x, constant(0.0, a.x)),
            "logaddexp": lambda xp, a, kw: xp.logaddexp(a.x, a.y),
            "clip": lambda xp, a, kw: xp.clip(a.x, min=-0.5, max=0.5),
            "where": lambda xp, a, kw: xp.where(a.x > 0, a.x, a.y),
            "isfinite, isnan": lambda xp, a, kw: (xp.isfinite(a.x), xp.isnan(a.x)),
            "exp(-big) is 0": lambda xp, a, kw: xp.exp(a.x * 0 - 1e4),
        },
    ),
    Need(
        "reductions",
        "no loss, no normalisation, no gradient of a bias",
        True,
        {
            "sum": lambda xp, a, kw: xp.sum(a.x),
            "sum(axis=0)": lambda xp, a, kw: xp.sum(a.x, axis=0),
            "sum(axis=-1, keepdims=True)": lambda xp, a, kw: xp.sum(a.x, axis=-1, keepdims=True),
            "sum over two axes": lambda xp, a, kw: xp.sum(a.batch, axis=(0, 1)),
            "sum of int32 with dtype=": lambda xp, a, kw: xp.sum(a.labels, dtype=a.labels.dtype),
            "mean": lambda xp, a, kw: xp.mean(a.x, axis=0),
            "mean keeps float32": lambda xp, a, kw: xp.mean(a.x, axis=-1, keepdims=True),
            "max, min": lambda xp, a, kw: (xp.max(a.x, axis=1, keepdims=True), xp.min(a.x)),
            "any, all": lambda xp, a, kw: (xp.any(a.x > 0), xp.all(a.x > 0)),
            "sum of an empty batch": lambda xp, a, kw: xp.sum(a.none, axis=0),
        },
    ),
    Need(
        "shapes",
        "no flat parameter vector",
        True,
        {
            "reshape": lambda xp, a, kw: xp.reshape(a.flat, (4, 6)),
            "reshape (-1,)": lambda xp, a, kw: xp.reshape(a.x, (-1,)),
            "reshape of an empty batch": lambda xp, a, kw: xp.reshape(a.none, (0, 3)),
            "slice and reshape": lambda xp, a, kw: xp.reshape(a.flat[6:18], (4, 3)),
            "concat": lambda xp, a, kw: xp.concat([a.flat, a.row]),
            "concat(axis=1)": lambda xp, a, kw: xp.concat([a.x, a.y], axis=1),
            "stack": lambda xp, a, kw: xp.stack([a.x, a.y]),
            "broadcast_to": lambda xp, a, kw: xp.broadcast_to(a.row, (4, 3)),
            "permute_dims": lambda xp, a, kw: xp.permute_dims(a.batch, (1, 0, 2)),
            "expand_dims, squeeze": lambda xp, a, kw: xp.squeeze(xp.expand_dims(a.x, axis=0), axis=0),
            "x[:, None]": lambda xp, a, kw: a.row[:, None],
            "x[..., 0:2]": lambda xp, a, kw: a.x[..., 0:2],
            "x[1, ...]": lambda xp, a, kw: a.x[1, ...],
            "x[::2, :]": lambda xp, a, kw: a.x[::2, :],
            "flip": lambda xp, a, kw: xp.flip(a.x, axis=0),
        },
    ),
    Need(
        "types",
        "no labels, no masks",
        True,
        {
            "astype bool to float32": lambda xp, a, kw: xp.astype(a.mask, a.x.dtype),
            "astype int32 to float32": lambda xp, a, kw: xp.astype(a.labels, a.x.dtype),
            "astype float32 to int32": lambda xp, a, kw: xp.astype(a.x * 4.0, a.labels.dtype),
            "astype float32 to float64": lambda xp, a, kw: xp.astype(a.x, a.double.dtype),
            "isdtype": lambda xp, a, kw: xp.asarray(
                xp.isdtype(a.x.dtype, "real floating") and not xp.isdtype(a.labels.dtype, "real floating"), dtype=xp.bool, **kw
            ),
            "finfo": lambda xp, a, kw: xp.asarray(float(xp.finfo(a.x.dtype).eps), dtype=a.x.dtype, **kw),
        },
    ),
    Need(
        "gather",
        "no batches drawn by index, no embedding, no labels as targets",
        False,
        {
            "take(axis=0)": lambda xp, a, kw: xp.take(a.x, a.labels, axis=0),
            "one-hot by comparison": lambda xp, a, kw: a.labels[:, None] == xp.arange(3, dtype=a.labels.dtype, **kw),
            "argmax": lambda xp, a, kw: xp.argmax(a.x, axis=1),
            "argsort(stable=True)": lambda xp, a, kw: xp.argsort(a.labels, stable=True),
            "sort": lambda xp, a, kw: xp.sort(a.flat),
            "searchsorted": lambda xp, a, kw: xp.searchsorted(xp.sort(a.flat), a.row),
        },
    ),
    Need(
        "integers",
        "no random numbers on the device: no dropout, no shuffling there",
        False,
        {
            "int32 + wraps around": lambda xp, a, kw: a.words + a.words,
            "int32 * wraps around": lambda xp, a, kw: a.words * a.words,
            "int32 << 7": lambda xp, a, kw: a.words << 7,
            "int32 >> 7 keeps the sign": lambda xp, a, kw: a.words >> 7,
            "int32 ^ | &": lambda xp, a, kw: (a.words ^ 305419896, a.words | 255, a.words & 255),
            "int32 % 7": lambda xp, a, kw: (a.words & 255) % 7,
            "Threefry2x32-20 words": lambda xp, a, kw: threefry2x32(a.words[0:2], a.words[2:], a.words[2:]),
        },
    ),
    Need(
        "decompositions",
        "no orthogonal initial weights computed on the device",
        False,
        {
            "linalg.vector_norm": lambda xp, a, kw: xp.linalg.vector_norm(a.flat),
            "linalg.qr gives orthogonal columns": lambda xp, a, kw: (lambda q: q.T @ q)(xp.linalg.qr(a.x)[0]),
        },
    ),
    Need(
        "mlpx",
        "no training",
        True,
        {
            "namespace_of": lambda xp, a, kw: namespace_of(a.x, a.y).exp(a.x),
            "affine, forward and backward": _affine,
            "softmax_cross_entropy, forward and backward": _cross_entropy,
            "layer_norm, forward and backward": _layer_norm,
            "one step of Adam": _adam,
        },
    ),
)
