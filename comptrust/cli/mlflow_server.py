"""`python -m comptrust.cli.mlflow_server OPTIONS`, which `comptrust serve` becomes.

A failure of `mlflow server` exits with 4: MLflow's own 1 would read as a blocked verdict.
"""

import runpy
import sys

from comptrust.cli.main import guarded
from comptrust.cli.options import say
from comptrust.errors import Exit, ServiceError


def serve() -> int:
    """Run `mlflow server` in this process until it is stopped."""
    from comptrust.gate.enforcement import application

    app_name = sys.argv[sys.argv.index("--app-name") + 1]
    if off := application.unjudged(app_name):
        say(f"comptrust: off, because nobody has judged them: {', '.join(off)}")
    sys.stdout.flush()
    sys.argv = ["mlflow", "server", *sys.argv[1:]]
    try:
        runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code == Exit.USER:  # a wrong option; mlflow has printed the reason
            return Exit.USER
        if end.code == 1:
            raise ServiceError("mlflow server failed; the reason is above.") from end
        raise
    return Exit.PASS


if __name__ == "__main__":
    sys.exit(guarded(serve))
