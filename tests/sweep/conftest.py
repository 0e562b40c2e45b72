"""A fresh place for each test of sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sweeps import Place, enter, make_place


@pytest.fixture
def place(
    tmp_path: Path, tiny_model: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """A fresh place, in which this process works as well."""
    found = make_place(tmp_path, tiny_model, empty_store)
    enter(found, monkeypatch)
    return found
