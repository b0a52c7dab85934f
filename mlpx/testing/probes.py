"""What mlpx needs of an array library, as a hundred one-line expressions.

Each probe is run twice: on the library, and on NumPy, which says what must come out. So a probe is only an expression in the
standard's functions: `a` holds its inputs (`INPUTS`), the namespace `a.xp`, and in `a.kw` where a created array belongs.
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
        `a -> array or tuple of arrays`, by what is probed.
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


def _adam(a: Any) -> Any:
    t, rate = a.count - 3, a.scalar * 0.01
    return tuple(adam_update(a.row, a.row * 2, a.row * 0, a.row * 0, t, rate, beta1=0.9, beta2=0.999, eps=1e-8))


def _layer_norm(a: Any) -> Any:
    y, residuals = layer_norm(a.x, a.row, a.row * 2)
    return (y, *layer_norm.gradient(a.y, residuals))


def _affine(a: Any) -> Any:
    z, residuals = affine(a.x, a.w, a.w[:, 0])
    return (z, *affine.gradient(a.xp.ones_like(z), residuals))


def _cross_entropy(a: Any) -> Any:
    rows, residuals = softmax_cross_entropy(a.x, a.labels)
    return rows, softmax_cross_entropy.gradient(a.xp.ones_like(rows), residuals)


NEEDS: tuple[Need, ...] = (
    Need(
        "creation",
        "no op that needs a constant",
        True,
        {
            "asarray of a number": lambda a: a.xp.asarray(2.5, dtype=a.x.dtype, **a.kw),
            "asarray of a list": lambda a: a.xp.asarray([1, 2, 3], dtype=a.labels.dtype, **a.kw),
            "zeros": lambda a: a.xp.zeros((2, 3), dtype=a.x.dtype, **a.kw),
            "zeros of shape ()": lambda a: a.xp.zeros((), dtype=a.x.dtype, **a.kw),
            "ones": lambda a: a.xp.ones((2, 3), dtype=a.x.dtype, **a.kw),
            "full": lambda a: a.xp.full((2, 3), 1.5, dtype=a.x.dtype, **a.kw),
            "arange": lambda a: a.xp.arange(5, dtype=a.labels.dtype, **a.kw),
            "eye": lambda a: a.xp.eye(3, dtype=a.x.dtype, **a.kw),
            "zeros_like": lambda a: a.xp.zeros_like(a.x),
            "ones_like": lambda a: a.xp.ones_like(a.x),
            "full_like": lambda a: a.xp.full_like(a.x, 0.5),
            "mlpx.namespace.constant": lambda a: constant(0.25, a.x),
        },
    ),
    Need(
        "products",
        "no layer",
        True,
        {
            "x @ w.T": lambda a: a.x @ a.w.T,
            "x.T @ y": lambda a: a.x.T @ a.y,
            "matrix @ vector": lambda a: a.x @ a.row,
            "vector @ vector": lambda a: a.row @ a.row,
            "batched matmul": lambda a: a.xp.matmul(a.batch, a.w.T),
            "matrix_transpose": lambda a: a.xp.matrix_transpose(a.batch),
            "tensordot": lambda a: a.xp.tensordot(a.x, a.y, axes=2),
            "vecdot": lambda a: a.xp.vecdot(a.x, a.y),
            "empty batch @ w.T": lambda a: a.none @ a.w.T,
        },
    ),
    Need(
        "arithmetic",
        "no op",
        True,
        {
            "x + y, x - y": lambda a: (a.x + a.y, a.x - a.y),
            "x * y, x / y": lambda a: (a.x * a.y, a.x / a.positive),
            "x + row (broadcast)": lambda a: a.x + a.row,
            "x * column (broadcast)": lambda a: a.x * a.x[:, 0][:, None],
            "x * 2.0 stays float32": lambda a: a.x * 2.0,
            "1 / x, 1 - x": lambda a: (1 / a.positive, 1 - a.x),
            "0-d * 2.0 stays float32": lambda a: a.scalar * 2.0,
            "x * 0-d": lambda a: a.x * a.scalar,
            "-x": lambda a: -a.x,
            "x ** 2": lambda a: a.x**2,
            "x > y, x <= y": lambda a: (a.x > a.y, a.x <= a.y),
            "x > 0": lambda a: a.x > 0,
            "labels == labels": lambda a: a.labels[:, None] == a.labels[None, :],
        },
    ),
    Need(
        "functions",
        "no activation, no loss",
        True,
        {
            "exp": lambda a: a.xp.exp(a.x),
            "expm1": lambda a: a.xp.expm1(a.x),
            "log": lambda a: a.xp.log(a.positive),
            "log1p": lambda a: a.xp.log1p(a.positive),
            "tanh": lambda a: a.xp.tanh(a.x),
            "sqrt": lambda a: a.xp.sqrt(a.positive),
            "square": lambda a: a.xp.square(a.x),
            "abs": lambda a: a.xp.abs(a.x),
            "sign": lambda a: a.xp.sign(a.x),
            "sin, cos": lambda a: (a.xp.sin(a.x), a.xp.cos(a.x)),
            "floor": lambda a: a.xp.floor(a.x * 3.0),
            "maximum, minimum": lambda a: (a.xp.maximum(a.x, a.y), a.xp.minimum(a.x, a.y)),
            "maximum with a 0-d constant": lambda a: a.xp.maximum(a.x, constant(0.0, a.x)),
            "logaddexp": lambda a: a.xp.logaddexp(a.x, a.y),
            "clip": lambda a: a.xp.clip(a.x, min=-0.5, max=0.5),
            "where": lambda a: a.xp.where(a.x > 0, a.x, a.y),
            "isfinite, isnan": lambda a: (a.xp.isfinite(a.x), a.xp.isnan(a.x)),
            "exp(-big) is 0": lambda a: a.xp.exp(a.x * 0 - 1e4),
        },
    ),
    Need(
        "reductions",
        "no loss, no normalisation, no gradient of a bias",
        True,
        {
            "sum": lambda a: a.xp.sum(a.x),
            "sum(axis=0)": lambda a: a.xp.sum(a.x, axis=0),
            "sum(axis=-1, keepdims=True)": lambda a: a.xp.sum(a.x, axis=-1, keepdims=True),
            "sum over two axes": lambda a: a.xp.sum(a.batch, axis=(0, 1)),
            "sum of int32 with dtype=": lambda a: a.xp.sum(a.labels, dtype=a.labels.dtype),
            "mean": lambda a: a.xp.mean(a.x, axis=0),
            "mean keeps float32": lambda a: a.xp.mean(a.x, axis=-1, keepdims=True),
            "max, min": lambda a: (a.xp.max(a.x, axis=1, keepdims=True), a.xp.min(a.x)),
            "any, all": lambda a: (a.xp.any(a.x > 0), a.xp.all(a.x > 0)),
            "sum of an empty batch": lambda a: a.xp.sum(a.none, axis=0),
        },
    ),
    Need(
        "shapes",
        "no flat parameter vector",
        True,
        {
            "reshape": lambda a: a.xp.reshape(a.flat, (4, 6)),
            "reshape (-1,)": lambda a: a.xp.reshape(a.x, (-1,)),
            "reshape of an empty batch": lambda a: a.xp.reshape(a.none, (0, 3)),
            "slice and reshape": lambda a: a.xp.reshape(a.flat[6:18], (4, 3)),
            "concat": lambda a: a.xp.concat([a.flat, a.row]),
            "concat(axis=1)": lambda a: a.xp.concat([a.x, a.y], axis=1),
            "stack": lambda a: a.xp.stack([a.x, a.y]),
            "broadcast_to": lambda a: a.xp.broadcast_to(a.row, (4, 3)),
            "permute_dims": lambda a: a.xp.permute_dims(a.batch, (1, 0, 2)),
            "expand_dims, squeeze": lambda a: a.xp.squeeze(a.xp.expand_dims(a.x, axis=0), axis=0),
            "x[:, None]": lambda a: a.row[:, None],
            "x[..., 0:2]": lambda a: a.x[..., 0:2],
            "x[1, ...]": lambda a: a.x[1, ...],
            "x[::2, :]": lambda a: a.x[::2, :],
            "flip": lambda a: a.xp.flip(a.x, axis=0),
        },
    ),
    Need(
        "types",
        "no labels, no masks",
        True,
        {
            "astype bool to float32": lambda a: a.xp.astype(a.mask, a.x.dtype),
            "astype int32 to float32": lambda a: a.xp.astype(a.labels, a.x.dtype),
            "astype float32 to int32": lambda a: a.xp.astype(a.x * 4.0, a.labels.dtype),
            "astype float32 to float64": lambda a: a.xp.astype(a.x, a.double.dtype),
            "isdtype": lambda a: a.xp.asarray(
                a.xp.isdtype(a.x.dtype, "real floating") and not a.xp.isdtype(a.labels.dtype, "real floating"),
                dtype=a.xp.bool,
                **a.kw,
            ),
            "finfo": lambda a: a.xp.asarray(float(a.xp.finfo(a.x.dtype).eps), dtype=a.x.dtype, **a.kw),
        },
    ),
    Need(
        "float64",
        "no training in float64",
        False,
        {
            "float64 * float64": lambda a: a.double * a.double,
            "float64 @ float64": lambda a: a.double @ a.double.T,
            "sum of float64": lambda a: a.xp.sum(a.double, axis=0),
            "exp, log1p, tanh of float64": lambda a: (
                a.xp.exp(a.double),
                a.xp.log1p(a.double * a.double),
                a.xp.tanh(a.double),
            ),
            "expm1, sqrt of float64": lambda a: (a.xp.expm1(a.double), a.xp.sqrt(a.double * a.double)),
        },
    ),
    Need(
        "gather",
        "no batches drawn by index, no embedding, no labels as targets",
        False,
        {
            "take(axis=0)": lambda a: a.xp.take(a.x, a.labels, axis=0),
            "one-hot by comparison": lambda a: a.labels[:, None] == a.xp.arange(3, dtype=a.labels.dtype, **a.kw),
            "argmax": lambda a: a.xp.argmax(a.x, axis=1),
            "argsort(stable=True)": lambda a: a.xp.argsort(a.labels, stable=True),
            "sort": lambda a: a.xp.sort(a.flat),
            "searchsorted": lambda a: a.xp.searchsorted(a.xp.sort(a.flat), a.row),
        },
    ),
    Need(
        "integers",
        "no random numbers on the device: no dropout, no shuffling there",
        False,
        {
            "int32 + wraps around": lambda a: a.words + a.words,
            "int32 * wraps around": lambda a: a.words * a.words,
            "int32 << 7": lambda a: a.words << 7,
            "int32 >> 7 keeps the sign": lambda a: a.words >> 7,
            "int32 ^ | &": lambda a: (a.words ^ 305419896, a.words | 255, a.words & 255),
            "int32 % 7": lambda a: (a.words & 255) % 7,
            "Threefry2x32-20 words": lambda a: threefry2x32(a.words[0:2], a.words[2:], a.words[2:]),
        },
    ),
    Need(
        "decompositions",
        "no orthogonal initial weights computed on the device",
        False,
        {
            "linalg.vector_norm": lambda a: a.xp.linalg.vector_norm(a.flat),
            "linalg.qr gives orthogonal columns": lambda a: (lambda q: q.T @ q)(a.xp.linalg.qr(a.x)[0]),
        },
    ),
    Need(
        "mlpx",
        "no training",
        True,
        {
            "namespace_of": lambda a: namespace_of(a.x, a.y).exp(a.x),
            "affine, forward and backward": _affine,
            "softmax_cross_entropy, forward and backward": _cross_entropy,
            "layer_norm, forward and backward": _layer_norm,
            "one step of Adam": _adam,
        },
    ),
)
