"""`python -m comptrust.cli.mlflow_server OPTIONS`: `mlflow server`, but a failure exits with 4.

`comptrust serve` becomes this process. MLflow itself ends with 1 when, say, the port is in use,
which would read as a blocked verdict.
"""

from __future__ import annotations

import runpy
import sys

from comptrust.cli.main import guarded
from comptrust.errors import Exit, ServiceError


def serve() -> int:
    """Run `mlflow server` in this process until it is stopped."""
    sys.argv = ["mlflow", "server", *sys.argv[1:]]
    try:
        runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int) and end.code > Exit.PASS and end.code < 128:
            raise ServiceError(
                f"mlflow server ended with exit code {end.code}; the reason is above."
            ) from end
        raise
    return Exit.PASS


if __name__ == "__main__":
    sys.exit(guarded(serve))
