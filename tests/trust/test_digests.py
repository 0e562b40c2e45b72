"""Whole published suites are known by the digests of release 0.1.0, which had an older form.

The prompts of mini have changed, so its digest must have changed too.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import pytest

from comptrust.records import Suite
from comptrust.trust import suite

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("COMPTRUST_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "decodingtrust"
RELEASED = ROOT / "tests" / "data" / "release-0.1.0" / "digests.json"
DIGESTS: dict[str, str] = json.loads(RELEASED.read_text())["suites"]


@pytest.mark.parametrize("released", DIGESTS)
def test_a_suite_has_its_released_digest(released: str) -> None:
    name, scoring, _ = released.split()
    if name == "decodingtrust" and not DATA.is_dir():
        pytest.skip(f"no DecodingTrust data at {DATA} (COMPTRUST_SHARED)")
    loaded = whole(name)
    fields = {field: getattr(loaded, field) for field in Suite.model_fields}
    scored = Suite(**fields | {"scoring": scoring})
    named = scored.named(DIGESTS[released])
    assert (named.digest == DIGESTS[released]) == named.older == (name != "mini")


@functools.cache
def whole(name: str) -> Suite:
    """Load a suite once: its prompts do not depend on the scoring."""
    return suite.load(f"{name}:{DATA}" if name == "decodingtrust" else name)
