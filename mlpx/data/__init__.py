"""Data: reading it, encoding it as arrays, and dividing its rows."""

from mlpx.data.builtin_sets import BUILTIN as BUILTIN
from mlpx.data.builtin_sets import builtin as builtin
from mlpx.data.encoding import Encoder as Encoder
from mlpx.data.source import read as read
from mlpx.data.source import read_arrays as read_arrays
from mlpx.data.splitting import split as split
from mlpx.data.table import Table as Table
