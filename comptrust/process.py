"""Settings of a process of our own: the command line and a sweep's cells. The library has none."""

import logging
import os
import sys
import warnings

from comptrust import progress

SILENCED = {
    "TQDM_DELAY": "1e9",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "LLM_COMPRESSOR_LOG_DISABLED": "true",
    "COMPRESSED_TENSORS_LOG_DISABLED": "true",
}
"""Variables that keep libraries silent; some callers of tqdm override TQDM_DISABLE, not a delay."""
LOGGERS = ("accelerate", "datasets", "torch.fx._symbolic_trace")
"""Libraries that have no such variable."""


def prepare(*, verbose: bool = False) -> None:
    """Show our progress on stderr, and nothing of other libraries unless `verbose`.

    Call it before those are imported: they read their variables then. The user's own win.
    """
    progress.STREAM.set(lambda: sys.stderr)
    if verbose:
        return
    for name, value in SILENCED.items():
        os.environ.setdefault(name, value)
    if transformers_logging := sys.modules.get("transformers.utils.logging"):
        # too late for the variables
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
