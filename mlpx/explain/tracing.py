"""One step of a network as data: every value of the forward and the backward pass, each with its equation and its check."""

from __future__ import annotations

from typing import Any

from mlpx import losses, transfer
from mlpx.explain import equations
from mlpx.explain.equations import Equation
from mlpx.explain.flow import Flow
from mlpx.explain.quantities import LayerTrace, Quantity, Trace
from mlpx.explain.rehearsal import Rehearsal
from mlpx.explain.watching import INPUT, Pass, Recording, activation_pass, watched_network
from mlpx.layers import Dense
from mlpx.losses import Loss
from mlpx.namespace import namespace_of
from mlpx.network import Network
from mlpx.ops import identity
from mlpx.ops.definition import Op
from mlpx.parameters import Parameters
from mlpx.typing import Array

FIRST = 2  # number of the first layer after the input, which the lecture's chapter on backpropagation counts as layer 1


def trace(
    net: Network,
    params: Parameters,
    x: Array,
    targets: Array,
    loss: str | Loss,
    *,
    train: bool = False,
    key: Array | None = None,
    check: bool = True,
) -> Trace:
    """All values of one forward and backward pass.

    Parameters
    ----------
    net : Network
    params : Parameters
    x : (n, d) of the parameters' library, device and dtype
    targets : (n,) or (n, k)
        As the loss takes them.
    loss : str or Loss
        Its mean over the rows is E; the structural risk is not part of it.
    train, key : bool, array
        As in `Network.forward`: with `train`, dropout drops (by this key) and batch normalisation takes the batch's statistics.
    check : bool
        Measure every gradient by central differences, in float64 on NumPy: all numbers of an array of at most 256, some numbers
        and one direction of a larger one. It takes two forward passes for each.

    Returns
    -------
    trace : Trace
        `trace["0"]["delta"].values`; `trace.table()`, `to_dict()`, `to_markdown()`, `to_html()`.

    Raises
    ------
    InvalidInputError, InvalidTypeError, DeviceMismatchError
        If x, targets or parameters do not fit.
    """
    loss = losses.get(loss)
    recording = Recording()
    watched = watched_network(net, recording)
    output, residuals = watched.forward(params, x, train=train, key=key)
    value, first_delta = loss(output, targets)
    dx, _ = watched.backward(params, residuals, first_delta)
    flow = Flow(net, recording, loss.name or type(loss).__name__)
    rehearsal = Rehearsal(net, params, x, targets, loss, train=train, key=key) if check else None
    describe = _Description(recording, flow, rehearsal, first_delta, loss.name, x.shape[0])
    return Trace(
        net=net,
        loss_name=flow.stations[-1].label,
        train=train,
        device=str(transfer.device(x)),
        dtype=str(params.dtype).rpartition(".")[2],
        x=transfer.to_numpy(x),
        targets=transfer.to_numpy(targets),
        output=transfer.to_numpy(output),
        prediction=transfer.to_numpy(loss.link(output)),
        loss=float(transfer.to_numpy(value)),
        layers=tuple(describe.layer(seen) for seen in describe.layers),
        input_gradient=None if dx is None else describe.quantity(INPUT, "dx", "∂E/∂x", Equation("∂E/∂x"), dx),
        flow=flow,
    )


class _Description:
    """Makes the quantities of every layer out of what was seen."""

    def __init__(
        self, recording: Recording, flow: Flow, rehearsal: Rehearsal | None, first_delta: Array, loss: str, rows: int
    ) -> None:
        self.passes = recording.passes
        self.layers = [seen for seen in recording.passes.values() if not (seen.is_part or seen.is_composition)]
        self.numbers = {seen.path: number for number, seen in enumerate(self.layers, FIRST)}
        self.flow = flow
        self.rehearsal = rehearsal
        self.first_delta = first_delta
        self.loss = loss
        self.rows = rows

    def quantity(self, path: str, key: str, symbol: str, equation: Equation, values: Any) -> Quantity:
        """A quantity, measured if it is a gradient."""
        measured = self.rehearsal.measured(path, key) if self.rehearsal else None
        slopes, error = (None, None) if measured is None else measured
        return Quantity(key, symbol, equation, transfer.to_numpy(values), slopes, error)

    def layer(self, seen: Pass) -> LayerTrace:
        """All quantities of one layer, in the order in which they are computed."""
        number = self.numbers[seen.path]
        unit = activation_pass(self.passes, seen.path)
        if seen.dy is not None and (unit is not None or isinstance(seen.layer, Dense)):
            forward, backward = self._neurons(seen, unit, number)
        else:
            forward, backward = self._other(seen, number)
        return LayerTrace(
            number=number,
            path=seen.path,
            layer=seen.layer,
            sources=tuple(self.flow.sources(seen.path)),
            input=transfer.to_numpy(seen.x),
            input_symbol=self._input_symbol(seen)[0],
            parameters={name: transfer.to_numpy(array) for name, array in seen.parameters.items()},
            forward=tuple(forward),
            backward=tuple(backward),
        )

    def _neurons(self, seen: Pass, unit: Pass | None, number: int) -> tuple[list[Quantity], list[Quantity]]:
        """Z, a, f'(z), δ and the gradients of weight and bias."""
        make, path, s = self.quantity, seen.path, equations.upper(number)
        z, delta = (seen.y, seen.dy) if unit is None else (unit.x, unit.dx)
        before = self._input_symbol(seen)
        op, name, ones = _derivative(unit)
        slope = ones(z)
        if isinstance(seen.layer, Dense):
            net_input = equations.net_input(number, *before)
        else:
            net_input = Equation(f"z{s} = {before[0]}", f"z^{{({number})}} = {before[1]}")
        forward = [
            make(path, "z", f"z{s}", net_input, z),
            make(path, "a", f"a{s}", equations.activation(number, name), seen.y),
        ]
        backward = [
            make(path, "da", f"∂E/∂a{s}", self._arriving(seen, number), seen.dy),
            make(path, "f_prime", f"f′(z{s})", equations.slope(number, op), slope),
            make(path, "delta", f"δ{s}", self._delta_equation(seen, number), delta),
        ]
        stated = {
            "weight": equations.weight_gradient(number, *before, self.rows),
            "bias": equations.bias_gradient(number, self.rows),
        }
        symbols = {"weight": f"∂E/∂W{s}", "bias": f"∂E/∂b{s}"}
        learned = "; ".join(equations.backward_equations(op)[1:]) if op is not None else ""
        for parameter, gradient in seen.gradients.items():
            symbol = symbols.get(parameter, f"∂E/∂{parameter}{s}")
            equation = stated.get(parameter, Equation(learned or symbol))
            backward.append(make(path, f"d{parameter}", symbol, equation, gradient))
        return forward, backward

    def _other(self, seen: Pass, number: int) -> tuple[list[Quantity], list[Quantity]]:
        """Output and gradients of a layer that is not of neurons."""
        s, make = equations.upper(number), self.quantity
        ops = list(dict.fromkeys(equations.ops_behind(seen.residuals)))
        there = "; ".join(line for op in ops for line in equations.forward_equations(op))
        back = "; ".join(line for op in ops for line in equations.backward_equations(op))
        said = (type(seen.layer).__doc__ or repr(seen.layer)).strip().splitlines()[0]
        forward = [make(seen.path, "a", f"a{s}", Equation(there or said), seen.y)]
        if seen.dy is None:  # whole numbers behind it: no gradient comes this far
            return forward, []
        backward = [make(seen.path, "da", f"∂E/∂a{s}", self._arriving(seen, number), seen.dy)]
        for parameter, gradient in seen.gradients.items():
            backward.append(make(seen.path, f"d{parameter}", f"∂E/∂{parameter}{s}", Equation(back or said), gradient))
        if seen.dx is not None:
            backward.append(make(seen.path, "dx", f"∂E/∂{self._input_symbol(seen)[0]}", Equation(back or said), seen.dx))
        return forward, backward

    def _input_symbol(self, seen: Pass) -> tuple[str, str]:
        """What a layer's input is called, as text and LaTeX: x, another layer's a⁽ˡ⁾, or what branches have become."""
        (source,) = self.flow.sources(seen.path)
        if source == INPUT:
            return "x", "x"
        if source in self.numbers:
            number = self.numbers[source]
            return f"a{equations.upper(number)}", f"a^{{({number})}}"
        number = self.numbers[seen.path]
        return f"x{equations.upper(number)}", f"x^{{({number})}}"

    def _arriving(self, seen: Pass, number: int) -> Equation:
        """Where ∂E/∂a comes from."""
        s = equations.upper(number)
        if seen.dy is self.first_delta:
            text = f"∂E/∂a{s} of the loss {self.loss}" if self.loss != "half_squared_error" else f"∂E/∂a{s} = −(y − a{s})"
            return Equation(text + (" · 1/n" if self.loss == "half_squared_error" and self.rows > 1 else ""))
        following = self._following(seen)
        if following is not None:
            n = equations.upper(following)
            latex = rf"\frac{{\partial E}}{{\partial a^{{({number})}}}} = (W^{{({following})}})^\top \delta^{{({following})}}"
            return Equation(f"∂E/∂a{s} = W{n}ᵀ δ{n}", latex)
        return Equation(f"∂E/∂a{s} = Σ over what reads a{s}")

    def _delta_equation(self, seen: Pass, number: int) -> Equation:
        if seen.dy is self.first_delta:
            return equations.output_delta(number, self.loss, self.rows)
        return equations.hidden_delta(number, self._following(seen))

    def _following(self, seen: Pass) -> int | None:
        """Number of the layer of neurons that alone reads the output."""
        readers = self.flow.readers(seen.path)
        alone = len(readers) == 1 and readers[0] in self.numbers and isinstance(self.passes[readers[0]].layer, Dense)
        return self.numbers[readers[0]] if alone else None


def _derivative(unit: Pass | None) -> tuple[Op | None, str, Any]:
    """The op of an activation, its name, and what gives f'(z): the gradient of ones."""
    if unit is None:
        return None, "identity", lambda z: identity.gradient(_ones(z), identity(z)[1])
    op = next(equations.ops_behind(unit.residuals), None)
    name = getattr(unit.layer, "name", type(unit.layer).__name__)
    return op, name, lambda z: unit.layer.backward(unit.parameters, unit.residuals, _ones(z))[0]


def _ones(z: Array) -> Array:
    return namespace_of(z).ones_like(z)
