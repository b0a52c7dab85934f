"""The check of an op: one call, on every library that works on this machine."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mlpx.errors import ConfigError, DeviceMismatchError
from mlpx.ops.definition import OPS, BadInput, Case, Draw, Example, Op
from mlpx.testing import budgets
from mlpx.testing.assertions import assert_values
from mlpx.testing.differences import compare
from mlpx.testing.trials import GRADIENT_OF, Trial, cast, faults_of, run
from mlpx.testing.variants import Variant, Variants, as_variants
from mlpx.typing import Array


def check_op(op: Op | Case | str, variants: Variants = None, *, seed: int = 0) -> None:
    """Check an op by its case records: forward against reference and examples, backward against differences, everywhere.

    Parameters
    ----------
    op : Op, Case or str
        An op or its name (all its cases are checked), or one case.
    variants : names or Variants, optional
        "numpy", "torch" (all its variants), "torch:meta" (one); by default all that work on this machine.
    seed : int
        Of the inputs.

    Raises
    ------
    AssertionError
        Naming op, variant, dtype, what is wrong and by how much, if: values leave their budget (`mlpx.testing.budgets`) or
        miss a hand-worked example; a gradient is not the derivative; a result changes library, device, dtype or shape; an
        input is modified; a second run differs; read-only, strided or empty input, tracing or a device other than the
        default one are not dealt with; bad input is not refused as declared.
    ConfigError
        If the op has no case, or there is no such op or variant.
    """
    for case in _cases_of(op):
        with faults_of(f"op {case.name}"):
            _check_op_gradients(case, seed)
        trial = op_trial(case, seed)
        for variant in as_variants(variants):
            for dtype in variant.dtypes:
                run(trial, variant, dtype)
                for example in case.examples:
                    _check_example(case, example, variant, dtype)
            if not variant.trace:
                for bad in case.bad:
                    _check_refusal(case, bad, variant, seed)
                expect_refusal_of_two_devices(trial, variant)


def _cases_of(op: Op | Case | str) -> Iterable[Case]:
    if isinstance(op, Case):
        return (op,)
    if isinstance(op, str):
        if op not in OPS:
            raise ConfigError(f"there is no op {op!r} (ops: {', '.join(sorted(OPS))})")
        op = OPS[op]
    if not op.cases:
        raise ConfigError(f"op {op.name!r} has no case to check; add one with {op.name}.case(kind=…, inputs=…)")
    return op.cases


def differentiated(case: Case, inputs: Iterable[np.ndarray]) -> tuple[int, ...]:
    """Which of a case's inputs have gradients."""
    if case.differentiable is not None:
        return case.differentiable
    return tuple(index for index, one in enumerate(inputs) if np.issubdtype(np.asarray(one).dtype, np.floating))


def _named(gradients: Any, names: Iterable[str]) -> dict[str, Any]:
    """The gradients a backward pass gave, by the name of their input."""
    gradients = gradients if isinstance(gradients, tuple | list) else (gradients,)
    names = tuple(names)
    if len(gradients) != len(names):
        raise AssertionError(f"backward gave {len(gradients)} gradients, expected {len(names)}: of {', '.join(names)}")
    return dict(zip(names, gradients, strict=True))


def _check_op_gradients(case: Case, seed: int) -> None:
    inputs = [_locked(one) for one in case.inputs(Draw(seed))]
    wanted = differentiated(case, inputs)
    if not wanted:
        return
    y, residuals = case.op.definition(*inputs, **case.attributes)
    dy = _locked(np.random.default_rng(seed + 1).standard_normal(np.shape(y)))
    gradients = _named(case.op.gradient.definition(dy, residuals), (str(index) for index in wanted))
    names = _argument_names(case, len(inputs))
    compare(
        lambda *moved: case.op.definition(*moved, **case.attributes)[0],
        inputs,
        {names[int(index)]: (int(index), gradient) for index, gradient in gradients.items()},
        dy,
        seed,
        smooth=case.smooth,
    )


def _locked(array: Any) -> np.ndarray:
    """A copy that cannot be written: whoever tries is told so, before a difference goes wrong by it."""
    array = np.array(array)
    array.flags.writeable = False
    return array


def _argument_names(case: Case, count: int) -> list[str]:
    return list(inspect.signature(case.op.definition).parameters)[:count]


def op_trial(case: Case, seed: int) -> Trial:
    """Forward and backward of a case as one function of its inputs and dy."""
    inputs = case.inputs(Draw(seed))
    names = _argument_names(case, len(inputs))
    wanted = [names[index] for index in differentiated(case, inputs)]
    y = np.asarray(case.op.definition(*inputs, **case.attributes)[0])
    named = dict(zip(names, (np.asarray(one) for one in inputs), strict=True))
    if wanted:
        named["dy"] = np.random.default_rng(seed + 1).standard_normal(y.shape)

    def both(forward: Callable[..., Any], backward: Callable[..., Any] | None) -> Callable[..., dict[str, Any]]:
        def function(*arrays: Array) -> dict[str, Any]:
            y, residuals = forward(*arrays[: len(inputs)], **case.attributes)
            if backward is None:
                return {"y": y}
            gradients = _named(backward(arrays[-1], residuals), wanted)
            return {"y": y, **{GRADIENT_OF + name: gradient for name, gradient in gradients.items()}}

        return function

    def budget(name: str) -> float:
        own = budgets.of(case.kind, case.terms)
        return own if name == "y" or case.terms == 1 else max(own, budgets.product(case.terms))

    gradient = case.op.gradient if wanted else None
    return Trial(
        f"op {case.name}",
        named,
        both(case.op, gradient),
        both(case.op.definition, gradient and gradient.definition),
        budget,
        _rows(named, y),
    )


def _rows(inputs: Mapping[str, np.ndarray], y: np.ndarray) -> tuple[str, ...]:
    """Which inputs share the result's first axis; none where that cannot be told from the shapes."""
    if not y.ndim:
        return ()
    n = y.shape[0]
    shared = [name for name, array in inputs.items() if array.ndim and array.shape[0] == n]
    ambiguous = any(inputs[name].ndim == 1 and y.ndim > 1 and y.shape[-1] == n for name in shared)
    return () if ambiguous or not any(name != "dy" for name in shared) else ("y", *shared)


def _check_example(case: Case, example: Example, variant: Variant, dtype: str) -> None:
    """Hand-worked values, to the budget and to the digits they are printed with."""
    if variant.trace:
        return
    with faults_of(f"op {case.name} on {variant}, {dtype}, example from {example.source!r}"):
        attributes = {**case.attributes, **example.attributes}
        inputs = [variant.put(_example_input(one, dtype)) for one in example.inputs]
        result = variant.get(case.op(*inputs, **attributes)[0])
        wanted = np.asarray(example.result)
        floating = np.issubdtype(wanted.dtype, np.floating)
        budget = budgets.of(case.kind, case.terms) + budgets.printed(example.result, dtype) if floating else 0.0
        if floating and dtype == "float32":  # the inputs were rounded too, which the example does not know
            budget += budgets.ROUNDED_INPUT * len(inputs)
        assert_values(result, wanted, dtype=dtype if floating else None, budget=budget, what="y")


def _example_input(values: Any, dtype: str) -> np.ndarray:
    array = np.asarray(values)
    return array.astype(np.int32) if np.issubdtype(array.dtype, np.integer) else cast(array, dtype)


def _check_refusal(case: Case, bad: BadInput, variant: Variant, seed: int) -> None:
    inputs = [variant.put(cast(np.asarray(one), variant.floating[-1])) for one in bad.inputs(Draw(seed))]
    where = f"op {case.name} on {variant}, bad input"
    try:
        case.op(*inputs, **{**case.attributes, **bad.attributes})
    except bad.error as error:
        if not re.search(bad.match, str(error)):
            raise AssertionError(f"{where}: the message should match {bad.match!r}, it says {error}") from error
    except Exception as error:
        raise AssertionError(f"{where}: raised {type(error).__name__}, declared is {bad.error.__name__}: {error}") from error
    else:
        raise AssertionError(f"{where}: was accepted, declared is {bad.error.__name__} matching {bad.match!r}")


def expect_refusal_of_two_devices(trial: Trial, variant: Variant) -> None:
    """Arrays of two devices in one call are refused with our error, which names both."""
    others = [device for device in variant.backend.devices() if device != variant.device]
    arrays = [cast(array, variant.floating[-1]) for name, array in trial.inputs.items() if name != "dy"]
    if not others or len(arrays) < 2:
        return
    placed = [*(variant.put(array) for array in arrays[:-1]), variant.backend.from_numpy(arrays[-1], others[0])]
    if "dy" in trial.inputs:
        placed.append(variant.put(cast(trial.inputs["dy"], variant.floating[-1])))
    try:
        trial.function(*placed)
    except DeviceMismatchError:
        return
    except Exception as error:
        raise AssertionError(
            f"{trial.what} on {variant}: inputs on two devices raised {type(error).__name__}, not DeviceMismatchError; "
            "pass all arrays to namespace_of"
        ) from error
    raise AssertionError(f"{trial.what} on {variant}: inputs on two devices were accepted")
