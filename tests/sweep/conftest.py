"""A fresh place for each sweep test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sweeps import Place, enter, make_place


@pytest.fixture
def place(
    tmp_path: Path, tiny_model: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """A fresh place, in which this process works as well."""
    place = make_place(tmp_path, tiny_model, empty_store)
    enter(place, monkeypatch)
    return place
