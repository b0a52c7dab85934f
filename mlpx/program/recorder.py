"""Where the nodes of a program are noted while a function runs on symbols, and how they get their labels."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType
from typing import Any

import numpy as np

from mlpx.errors import InvalidInputError, InvalidTypeError, TraceError
from mlpx.ops.definition import OPS, UPDATES
from mlpx.program.ir import Literal, Node, Operand, Value
from mlpx.program.primitives import PROMOTING, common_dtype, inferred
from mlpx.program.symbols import Symbol
from mlpx.typing import Shape

_ACTIVE: ContextVar[Recorder | None] = ContextVar("recorder", default=None)
_OURS = ("mlpx.program.", "mlpx.namespace", "mlpx.ops.definition")


class Recorder:
    """The program as far as it is known."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[Value, np.ndarray] = {}
        self._values = 0
        self._ops: dict[CodeType, str] = {}
        for op in (*OPS.values(), *UPDATES.values()):
            self._ops[op.definition.__code__] = op.name
            if hasattr(op, "gradient"):
                self._ops[op.gradient.definition.__code__] = op.gradient.name

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Creation functions, which are given no symbol, record here."""
        token = _ACTIVE.set(self)
        try:
            yield
        finally:
            _ACTIVE.reset(token)

    def value(self, shape: Shape, dtype: np.dtype, label: str | None = None) -> Value:
        """A new value."""
        self._values += 1
        return Value(self._values - 1, shape, dtype, self.label() if label is None else label)

    def constant(self, array: Any, dtype: np.dtype | None = None) -> Symbol:
        """A symbol for values that are known now."""
        array = np.array(array, dtype=dtype)
        array.setflags(write=False)
        value = self.value(array.shape, array.dtype)
        self.constants[value] = array
        return Symbol(self, value)

    def apply(self, primitive: str, *operands: Any, **attributes: Any) -> Symbol:
        """A symbol for what a primitive gives for symbols, arrays with values, and Python numbers."""
        try:
            inputs = self.operands(primitive, operands)
            shape, dtype = inferred(primitive, [(one.shape, one.dtype) for one in inputs], attributes)
        except (InvalidInputError, InvalidTypeError) as error:
            error.add_note(f"while {self.label() or 'a function'} was traced")
            raise
        output = self.value(shape, dtype)
        self.nodes.append(Node(primitive, tuple(inputs), (output,), attributes))
        return Symbol(self, output)

    def operands(self, primitive: str, given: Sequence[Any]) -> list[Operand]:
        """What a node reads: values for symbols and known arrays; numbers take the dtype of the others."""
        known: list[Any] = []
        for one in given:
            if isinstance(one, np.ndarray | np.generic):
                one = self.constant(one)
            if isinstance(one, Symbol):
                if one.recorder is not self:
                    raise TraceError("an array of another trace: a traced function kept it, or shared it with another one")
                known.append(one.value)
            elif isinstance(one, bool | int | float):
                known.append(one)
            else:
                raise InvalidTypeError(f"{primitive} takes arrays and numbers, got {type(one).__name__}")
        if known and not any(isinstance(one, Value) for one in known):
            raise InvalidTypeError(f"{primitive} takes at least one array beside Python numbers")
        first = 1 if primitive == "where" else 0
        if primitive in PROMOTING:
            known[first:] = self._of_one_dtype(primitive, known[first:])
        return known

    def _of_one_dtype(self, primitive: str, operands: list[Any]) -> list[Operand]:
        """Operands cast to the dtype they are promoted to, as NumPy has it where the standard leaves it open."""
        common = common_dtype(primitive, [one.dtype if isinstance(one, Value) else one for one in operands])
        cast: list[Operand] = []
        for one in operands:
            if not isinstance(one, Value):
                one = Literal(one, common)
            elif one.dtype != common:
                one = self.apply("astype", Symbol(self, one), dtype=common).value
            cast.append(one)
        return cast

    def label(self) -> str:
        """The definition that is running: the innermost op, else the innermost public function, outside this package."""
        frame, nearest = sys._getframe(1), ""
        while frame is not None:
            code = frame.f_code
            if code in self._ops:
                return self._ops[code]
            name = frame.f_globals.get("__name__", "")
            if name == "mlpx.program.trace":
                break
            hidden = code.co_name.startswith(("_", "<")) and code.co_name != "__call__"
            if not nearest and not hidden and not name.startswith(_OURS):
                nearest = code.co_qualname.rpartition("<locals>.")[2]
            frame = frame.f_back
        return nearest

    def refuse(self, what: str) -> TraceError:
        """The error about a use of an array that needs its values."""
        where = self.label()
        return TraceError(
            f"{what} needs the values of an array, but {where or 'the function'} is being traced into a program, where arrays "
            "have shape and dtype alone; write it with where, maximum or a product with a mask"
        )


def active_recorder() -> Recorder:
    """The recorder of the trace that is running."""
    found = _ACTIVE.get()
    if found is None:
        raise TraceError("an array of a trace was used after the trace had ended")
    return found
