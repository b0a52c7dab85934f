"""Matrix products with what is done to their operands before and to their result after, while a tile is at hand."""

from __future__ import annotations

from itertools import count

from mlpx.program.ir import Node, Program, Region, Value
from mlpx.program.rewrite.regions import fused, in_order, loops
from mlpx.program.rewrite.substitution import Substitution, only

TRANSPOSITION = "matrix_transpose"


def with_products_fused(program: Program) -> Program:
    """The program with regions of kind "product", one for each matrix product of two matrices.

    Downstream of the product, in its region: the rows region that alone reads it. Upstream: transpositions, and the elementwise
    region that alone makes an operand and is read by nothing else. Roles are those of the result's rows and columns; operands
    and what is upstream have the role "operand". An operand that is read downstream too is an input twice.
    """
    taken: set[Node] = set()
    nodes: list[Node] = []
    fresh = count(program.next_id())
    for node in program.nodes:
        if node in taken:
            continue
        if node.primitive == "matmul" and all(value.ndim == 2 for value in (*node.arrays, node.output)):
            node, absorbed = _product(program, node, taken, fresh)
            taken |= absorbed
        nodes.append(node)
    return program.replaced(nodes=in_order([node for node in nodes if node not in taken]))


def _product(program: Program, product: Node, taken: set[Node], fresh: count[int]) -> tuple[Node, set[Node]]:
    """A region for a product, and the regions that went into it."""
    before, operands, absorbed = [], [], set()
    for value in dict.fromkeys(product.arrays):
        upstream, made = _upstream(program, value, product, taken)
        before += upstream
        operands += [one for node in upstream for one in (*node.arrays, *node.outputs)] or [value]
        absorbed |= made
    after, outputs, roles, accumulated = [], (product.output,), {product.output: "full"}, ()
    epilogue = _epilogue(program, product.output)
    if epilogue is not None and epilogue not in taken:
        body, region = epilogue.body, epilogue.region
        assert body is not None
        assert region is not None
        after, outputs, accumulated, roles = list(body.nodes), epilogue.outputs, region.accumulated, dict(region.roles)
        absorbed.add(epilogue)
    aliases, renamed = {}, Substitution()
    for value in dict.fromkeys(operands):
        if value in roles and value is not product.output:
            alias = Value(next(fresh), value.shape, value.dtype, value.label)
            aliases[alias], renamed[value], roles[alias] = value, alias, roles[value]
    roles |= dict.fromkeys(operands, "operand")
    members = [*before, product, *(renamed.applied(node) for node in after)]
    made = fused(members, outputs, Region("product", loops(product.output.shape), roles, accumulated), aliases)
    return made, absorbed


def _upstream(program: Program, value: Value, reader: Node, taken: set[Node]) -> tuple[list[Node], set[Node]]:
    """What makes an operand of a product inside its region, and the region that it replaces."""
    node = program.producers.get(value)
    turned = only(node, TRANSPOSITION)
    if turned is not None:
        inner, absorbed = _upstream(program, turned.arrays[0], turned, taken)
        return [*inner, turned], absorbed
    if node is None or node.body is None or node.region is None or node in taken:
        return [], set()
    alone = program.consumers.get(value) == (reader,) and value not in program.outputs and len(node.outputs) == 1
    if reader.primitive == TRANSPOSITION:
        alone = alone and len(program.consumers.get(reader.output, ())) == 1
    if not alone or node.region.kind != "rows" or node.region.accumulated or not _elementwise(node.region):
        return [], set()
    return list(node.body.nodes), {node}


def _elementwise(region: Region) -> bool:
    """Whether a loop can be cut into tiles anywhere: no number of it belongs to a whole row."""
    return "row" not in region.roles.values()


def _epilogue(program: Program, value: Value) -> Node | None:
    """The region that alone reads a product, element by element or row by row."""
    readers = program.consumers.get(value, ())
    if len(readers) != 1 or value in program.outputs:
        return None
    (reader,) = readers
    if reader.region is None or reader.region.kind != "rows" or reader.region.roles.get(value) != "full":
        return None
    return reader if reader.region.space == value.shape else None
