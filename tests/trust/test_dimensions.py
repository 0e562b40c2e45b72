"""The dimensions: their names and their order."""

from __future__ import annotations

import pytest

from comptrust.plugins import Registry
from comptrust.trust import base
from comptrust.trust import dimensions as package
from comptrust.trust.dimensions.mmlu import Mmlu


@pytest.mark.parametrize("name", package.dimensions())
def test_a_dimension_has_the_name_by_which_it_is_found(name: str) -> None:
    assert base.get(name).name == name


def test_a_dimension_is_named_after_its_module_unless_it_says_otherwise() -> None:
    class Named(Mmlu):
        name = "knowledge"

    class Unnamed(Mmlu):
        pass

    assert (Named.name, Unnamed.name) == ("knowledge", "test_dimensions")


def test_added_dimensions_follow_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("brevity", *sorted(package.PUBLISHED), "accuracy")
    monkeypatch.setattr(Registry, "names", lambda self: names)
    assert package.dimensions() == (*package.PUBLISHED, "accuracy", "brevity")
