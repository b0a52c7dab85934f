"""The primitives of a program: their kinds, and the shape and dtype of what they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlpx.errors import InvalidInputError, InvalidTypeError
from mlpx.typing import Shape


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


FLOATING = _names(
    "acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2 sin sinh sqrt tan tanh reciprocal atan2 "
    "copysign hypot logaddexp nextafter divide"
)
NUMERIC = _names(
    "abs negative positive sign square ceil floor round trunc add subtract multiply floor_divide remainder pow maximum "
    "minimum clip"
)
INTEGER = _names("bitwise_left_shift bitwise_right_shift")
BITWISE = _names("bitwise_and bitwise_or bitwise_xor bitwise_invert")
LOGICAL = _names("logical_and logical_or logical_xor logical_not")
COMPARISON = _names("equal not_equal less less_equal greater greater_equal")
TEST = _names("isfinite isinf isnan signbit")
ELEMENTWISE = FLOATING | NUMERIC | INTEGER | BITWISE | LOGICAL | COMPARISON | TEST | {"where", "astype"}
"""Each element of the result depends on the elements of the inputs in its place, broadcast."""

REDUCTION = _names("sum mean prod max min any all var std")
"""Attributes: axis, a tuple of axes counted from the front; keepdims; `correction` of var and std."""

VIEW = _names("reshape slice squeeze expand_dims matrix_transpose permute_dims broadcast_to")
"""The elements of the input in another arrangement; nothing is computed."""

CREATION = _names("full arange")
"""No inputs. `full`: shape, value, dtype. `arange`: start, step, shape, dtype."""

ARRANGEMENT = _names("concat stack take gather flip roll")
PRODUCT = _names("matmul")
ORDER = _names("argmax argmin argsort sort searchsorted")
REGION = _names("fused")
CALL = _names("call")

PROMOTING = (ELEMENTWISE | PRODUCT | {"concat", "stack"}) - {"astype"}
"""Operands are of one dtype, but for the condition of `where`: the recorder casts them."""

ARITHMETIC = _names("subtract negative divide floor_divide remainder pow add multiply")

PRIMITIVES = ELEMENTWISE | REDUCTION | VIEW | CREATION | ARRANGEMENT | PRODUCT | ORDER | REGION | CALL

Typed = tuple[Shape, np.dtype]
_BOOL, _INDEX = np.dtype(bool), np.dtype("int64")


def inferred(primitive: str, inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    """Shape and dtype of what a primitive gives for operands of these shapes and dtypes.

    Raises
    ------
    InvalidInputError
        If the shapes do not fit.
    InvalidTypeError
        If the dtypes do not fit.
    """
    if primitive in ELEMENTWISE:
        return broadcast(primitive, [shape for shape, _ in inputs]), _elementwise_dtype(primitive, inputs, attributes)
    if primitive in REDUCTION:
        return _reduced(primitive, *inputs[0], attributes)
    return _OTHERS[primitive](inputs, attributes)


def broadcast(primitive: str, shapes: Sequence[Shape]) -> Shape:
    """The shape that these broadcast to, or InvalidInputError."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise InvalidInputError(f"{primitive}: shapes {', '.join(map(str, shapes))} do not broadcast") from None


def promoted(primitive: str, dtypes: Sequence[np.dtype]) -> np.dtype:
    """The dtype that the standard promotes to; InvalidTypeError where it leaves the result to the library."""
    kinds = {_kind(dtype) for dtype in dtypes}
    if len(kinds) > 1:
        raise InvalidTypeError(
            f"{primitive}: dtypes {', '.join(map(str, dtypes))} are of different kinds, which every library promotes in "
            "its own way; cast one with astype"
        )
    return np.result_type(*dtypes)


def common_dtype(primitive: str, operands: Sequence[np.dtype | bool | int | float]) -> np.dtype:
    """The dtype that operands of these dtypes, and Python numbers beside them, are computed in.

    Where the standard leaves it open, as for an integer array and a floating one, it is NumPy's.
    """
    dtypes = [one for one in operands if isinstance(one, np.dtype)]
    for number in operands:
        if not isinstance(number, np.dtype | bool | int | float):
            raise InvalidTypeError(f"{primitive}: a {type(number).__name__} cannot be part of a traced program")
    common = np.result_type(*operands)
    if common.kind == "b" and primitive in ARITHMETIC:
        raise InvalidTypeError(f"{primitive} of bool arrays means something else in every library; cast one with astype")
    if common.kind in "iu" and primitive in FLOATING:
        if common.itemsize < np.dtype("int32").itemsize:
            raise InvalidTypeError(f"{primitive} of {common} arrays; cast them with astype to a floating dtype")
        return np.dtype("float64")
    if any(dtype.kind == "f" for dtype in dtypes) and primitive in INTEGER | BITWISE:
        raise InvalidTypeError(f"{primitive} takes arrays of integers or bool, got {common}; cast it with astype")
    return common


def _kind(dtype: np.dtype) -> str:
    return {"b": "bool", "i": "integral", "u": "integral", "f": "real floating"}.get(dtype.kind, dtype.name)


def _elementwise_dtype(primitive: str, inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> np.dtype:
    if primitive == "astype":
        return attributes["dtype"]
    if primitive == "where":
        _expect("where", inputs[0][1], "bool")
        return promoted(primitive, [dtype for _, dtype in inputs[1:]])
    dtypes = [dtype for _, dtype in inputs]
    common = promoted(primitive, dtypes)
    for group, kinds in _DOMAINS:
        if primitive in group:
            _expect(primitive, common, *kinds)
    return _BOOL if primitive in COMPARISON | TEST else common


_DOMAINS = (
    (FLOATING, ("real floating",)),
    (NUMERIC, ("real floating", "integral")),
    (INTEGER, ("integral",)),
    (BITWISE, ("integral", "bool")),
    (LOGICAL, ("bool",)),
)


def _expect(primitive: str, dtype: np.dtype, *kinds: str) -> None:
    if _kind(dtype) not in kinds:
        raise InvalidTypeError(f"{primitive} takes arrays of dtype {' or '.join(kinds)}, got {dtype}; cast it with astype")


def _reduced(primitive: str, shape: Shape, dtype: np.dtype, attributes: Mapping[str, Any]) -> Typed:
    axes = attributes["axis"]
    if primitive in ("any", "all"):
        dtype = _BOOL
    elif primitive in ("mean", "var", "std"):
        _expect(primitive, dtype, "real floating")
    elif primitive in ("sum", "prod"):
        dtype = attributes.get("dtype") or _accumulator(dtype)
    if primitive in ("max", "min") and 0 in (shape[axis] for axis in axes):
        raise InvalidInputError(f"{primitive} of no elements: shape {shape}, axis {axes}")
    if attributes["keepdims"]:
        return tuple(1 if axis in axes else n for axis, n in enumerate(shape)), dtype
    return tuple(n for axis, n in enumerate(shape) if axis not in axes), dtype


def _accumulator(dtype: np.dtype) -> np.dtype:
    """What small integers are summed in: the default integer dtype."""
    if dtype.kind in "bi" and dtype.itemsize < _INDEX.itemsize:
        return _INDEX
    return np.dtype("uint64") if dtype.kind == "u" and dtype.itemsize < _INDEX.itemsize else dtype


def _matmul(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    del attributes
    (a, dtype_a), (b, dtype_b) = inputs
    if not a or not b or a[-1] != b[-2 if len(b) > 1 else 0]:
        raise InvalidInputError(f"matmul: shapes {a} and {b} do not fit")
    stacked = broadcast("matmul", [a[:-2], b[:-2]])
    shape = stacked + (a[-2:-1] if len(a) > 1 else ()) + (b[-1:] if len(b) > 1 else ())
    return shape, promoted("matmul", [dtype_a, dtype_b])


def _reshape(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    return attributes["shape"], inputs[0][1]


def _slice(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    return tuple(len(range(*bounds)) for bounds in attributes["bounds"]), inputs[0][1]


def _squeeze(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    shape, dtype = inputs[0]
    if any(shape[axis] != 1 for axis in attributes["axis"]):
        raise InvalidInputError(f"squeeze: axes {attributes['axis']} of shape {shape} are not all of length 1")
    return tuple(n for axis, n in enumerate(shape) if axis not in attributes["axis"]), dtype


def _expand_dims(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    shape, dtype = inputs[0]
    axis = attributes["axis"]
    return (*shape[:axis], 1, *shape[axis:]), dtype


def _permute_dims(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    shape, dtype = inputs[0]
    return tuple(shape[axis] for axis in attributes["axes"]), dtype


def _matrix_transpose(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    del attributes
    shape, dtype = inputs[0]
    if len(shape) < 2:
        raise InvalidInputError(f"matrix_transpose: shape {shape} has no two axes")
    return (*shape[:-2], shape[-1], shape[-2]), dtype


def _created(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    del inputs
    return attributes["shape"], attributes["dtype"]


def _concat(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    axis = attributes["axis"]
    shapes = [shape for shape, _ in inputs]
    if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) > 1 or not shapes[0]:
        raise InvalidInputError(f"concat: shapes {', '.join(map(str, shapes))} differ in more than axis {axis}")
    first = shapes[0]
    length = sum(shape[axis] for shape in shapes)
    return (*first[:axis], length, *first[axis + 1 :]), promoted("concat", [dtype for _, dtype in inputs])


def _stack(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    shapes = {shape for shape, _ in inputs}
    if len(shapes) > 1:
        raise InvalidInputError(f"stack: shapes {', '.join(map(str, shapes))} differ")
    (shape,), axis = shapes, attributes["axis"]
    return (*shape[:axis], len(inputs), *shape[axis:]), promoted("stack", [dtype for _, dtype in inputs])


def _take(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    (shape, dtype), (indices, index_dtype) = inputs
    _expect("take", index_dtype, "integral")
    axis = attributes["axis"]
    return (*shape[:axis], *indices, *shape[axis + 1 :]), dtype


def _gather(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    del attributes
    (shape, dtype), *indices = inputs
    for _, index_dtype in indices:
        _expect("indexing by arrays", index_dtype, "integral")
    return (*broadcast("indexing by arrays", [one for one, _ in indices]), *shape[len(indices) :]), dtype


def _same(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    del attributes
    return inputs[0]


def _index_reduced(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    shape, dtype = inputs[0]
    axis = attributes["axis"]
    axes = tuple(range(len(shape))) if axis is None else (axis,)
    return _reduced("max", shape, dtype, {"axis": axes, "keepdims": attributes["keepdims"]})[0], _INDEX


def _indices(inputs: Sequence[Typed], attributes: Mapping[str, Any]) -> Typed:
    del attributes
    return inputs[-1][0], _INDEX


_OTHERS: dict[str, Callable[[Sequence[Typed], Mapping[str, Any]], Typed]] = {
    "matmul": _matmul,
    "reshape": _reshape,
    "broadcast_to": _reshape,
    "slice": _slice,
    "squeeze": _squeeze,
    "expand_dims": _expand_dims,
    "permute_dims": _permute_dims,
    "matrix_transpose": _matrix_transpose,
    "full": _created,
    "arange": _created,
    "concat": _concat,
    "stack": _stack,
    "take": _take,
    "gather": _gather,
    "flip": _same,
    "roll": _same,
    "sort": _same,
    "argmax": _index_reduced,
    "argmin": _index_reduced,
    "argsort": _indices,
    "searchsorted": _indices,
}
