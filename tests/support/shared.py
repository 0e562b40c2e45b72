"""Where data lies that is too large, or not ours, to be in the repository."""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(os.environ.get("COMPTRUST_SHARED", Path(__file__).parents[3] / "shared"))
"""By default the folder `shared` beside the checkout."""
