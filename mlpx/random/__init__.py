"""Counter-based random numbers: the same bits on every array library and device.

There is no generator with a state. A *key* of two 32-bit words and the index of a number determine that number, through
the Threefry2x32-20 block function. `key(seed)`, `fold_in` and `split` derive keys exactly as `jax.random` does.

Use a key once: draw from it, or fold numbers into it, or split it. Child keys and drawn words are blocks of the same
function, so a key that is drawn from and also folded would hand out related numbers.
"""

from mlpx.random.draws import bernoulli as bernoulli
from mlpx.random.draws import bits as bits
from mlpx.random.draws import normal as normal
from mlpx.random.draws import permutation as permutation
from mlpx.random.draws import uniform as uniform
from mlpx.random.keys import Key as Key
from mlpx.random.keys import Purpose as Purpose
from mlpx.random.keys import fold_in as fold_in
from mlpx.random.keys import key as key
from mlpx.random.keys import split as split
