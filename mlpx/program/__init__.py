"""A pure step as data: what it computes, array by array, for engines to fuse, plan, generate and execute.

`trace(step, state, batch)` calls the step once on symbols instead of arrays and records a `Program`. The language is small:

- A `Value` is an array that exists while the program runs: id, shape, dtype, and the label of the definition it came from.
- A `Node` computes values from values: a primitive's name, inputs, static attributes, outputs. An input is a `Value`, or a
  `Literal`: a Python number that takes the dtype of its partner, as in the standard. Primitives bear the names of the Array
  API functions they are (`mlpx.program.primitives` lists them with their kind); of our own are `slice` (start, stop, step for
  each axis), `gather` (x[i, j, …] by integer arrays), `reciprocal`, `fused` (a region), and `call`: any other function of the
  standard, by name. Nothing writes; nothing depends on a value; operands of a node are of one dtype, casts are nodes.
- A `Program` has named inputs ("state.params", "batch.x"), constants, nodes in an order in which they can run, and named
  outputs; `donated` says which output may take the memory of which input.
- A node with a `body`, a program of its own, is a region: its inputs and outputs are the body's, one by one. Rewriting makes
  them; `Node.region` says how to loop over them. `interpret` runs a body like a program, so every rewritten program can be run
  on any array library and compared with the one it was made from.

The way of a step: `trace.trace` → `rewrite.optimised` → `plan.plan` → an engine; `interpret.interpreted` runs all of them on
any library and is the oracle of every engine; `printer.explain` shows them.
"""

from mlpx.program.ir import Literal as Literal
from mlpx.program.ir import Node as Node
from mlpx.program.ir import Program as Program
from mlpx.program.ir import Region as Region
from mlpx.program.ir import Value as Value
