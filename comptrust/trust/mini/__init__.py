"""The prompts of the suite `mini`: one module per dimension, with the same `rows()` everywhere."""

from pathlib import Path
from typing import Any

from comptrust import config


def texts(module: str) -> Any:
    """Return the texts that a module makes its prompts of, from the YAML file beside it."""
    return config.read_yaml(Path(module).with_suffix(".yaml"))
