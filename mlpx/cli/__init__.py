"""The command line: `mlpx train`, `mlpx predict`, `mlpx doctor`."""

from mlpx.cli.exit_status import main as main
