"""Rules that turn a program into a faster one with the same results; each a function of a program, tested by itself."""

from mlpx.program.ir import Program
from mlpx.program.rewrite.columns import with_columns_fused as with_columns_fused
from mlpx.program.rewrite.common_subexpressions import without_common_subexpressions as without_common_subexpressions
from mlpx.program.rewrite.constant_folding import with_constants_folded as with_constants_folded
from mlpx.program.rewrite.dead_code import without_dead_code as without_dead_code
from mlpx.program.rewrite.identities import with_identities_applied as with_identities_applied
from mlpx.program.rewrite.products import with_products_fused as with_products_fused
from mlpx.program.rewrite.regions import with_rows_fused as with_rows_fused
from mlpx.program.rewrite.updates import with_updates_divided as with_updates_divided


def simplified(program: Program) -> Program:
    """The program without what is computed twice, needlessly or for nothing."""
    count = -1
    while count != len(program.nodes):
        count = len(program.nodes)
        for rule in (with_constants_folded, with_identities_applied, without_common_subexpressions, without_dead_code):
            program = rule(program)
    return program


def optimised(program: Program, *, divide_updates: bool = True) -> Program:
    """The program as engines execute it: simplified, then fused.

    Parameters
    ----------
    program : Program
        As traced.
    divide_updates : bool
        Whether parameters are updated part by part where their gradients are made, or in one loop over the flat vector, which
        is better for small networks.
    """
    program = simplified(program)
    if divide_updates:
        program = simplified(with_updates_divided(program))
    return without_dead_code(with_products_fused(with_columns_fused(with_rows_fused(program))))
