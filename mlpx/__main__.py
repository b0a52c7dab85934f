"""`python -m mlpx` is the command line."""

import sys

from mlpx.cli import main

sys.exit(main())
