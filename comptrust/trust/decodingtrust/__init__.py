"""Readers that turn the original DecodingTrust files into prompts, one file per dimension.

`rows(folder, scenario)` yields the fields of each prompt but its dimension, scenario and number:
none if a file is absent. It raises UserError for a broken one. If the data has another order than
the dimension, `SCENARIOS` gives it.
"""

from pathlib import Path
from typing import Any

from comptrust import config


def wording(dimension: str) -> Any:
    """Return the texts of a dimension that are this project's own."""
    return config.read_yaml(Path(__file__).with_name("wording.yaml"))[dimension]
