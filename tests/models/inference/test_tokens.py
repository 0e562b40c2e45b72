"""Shared beginnings: each is found once, goes on from a shorter one, and saves more than it
costs."""

from __future__ import annotations

import random

import pytest

from comptrust.models.inference.tokens import MIN_TOKENS_SAVED, Ids, shared_beginnings

LONG = tuple(range(100, 140))
OTHER = tuple(range(200, 240))

CASES: list[tuple[str, list[Ids], list[int]]] = [
    ("no rows", [], []),
    ("one row", [LONG], [0]),
    ("nothing in common", [LONG, OTHER], [0, 0]),
    (
        "too little in common",
        [(*LONG[: MIN_TOKENS_SAVED - 1], 1), (*LONG[: MIN_TOKENS_SAVED - 1], 2)],
        [0, 0],
    ),
    (
        "enough in common",
        [(*LONG[:MIN_TOKENS_SAVED], 1), (*LONG[:MIN_TOKENS_SAVED], 2)],
        [MIN_TOKENS_SAVED, MIN_TOKENS_SAVED],
    ),
    (
        "little, but of many rows",
        [(1, 2, *(number,)) for number in range(MIN_TOKENS_SAVED)],
        [2] * MIN_TOKENS_SAVED,
    ),
    ("a row that begins another keeps a token", [LONG, (*LONG, 1)], [39, 39]),
    (
        "one goes on from another",
        [(*LONG, 1), (*LONG, *OTHER, 1), (*LONG, *OTHER, 2), OTHER],
        [40, 80, 80, 0],
    ),
]


@pytest.mark.parametrize(
    ("rows", "ends"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_shared_beginnings(rows: list[Ids], ends: list[int]) -> None:
    found = shared_beginnings({row: len(row) - 1 for row in rows})
    assert [found[row][-1].end if found[row] else 0 for row in rows] == ends


def test_any_rows_begin_with_what_they_share_and_stand_together() -> None:
    draw = random.Random(0)
    rows = {tuple(draw.choice((1, 2)) for _ in range(draw.randrange(4, 12))) for _ in range(400)}
    limits = {row: draw.randrange(3, len(row)) for row in rows}
    paths = shared_beginnings(limits)
    assert paths.keys() == rows
    order = list(paths)
    assert any(len(path) > 1 for path in paths.values())
    for row, path in paths.items():
        assert sum((node.ids for node in path), ()) == row[: path[-1].end if path else 0]
        assert not path or path[-1].end <= limits[row]
    for node in {node for path in paths.values() for node in path}:
        places = [place for place, row in enumerate(order) if node in paths[row]]
        assert len(places) > 1 and places == list(range(places[0], places[-1] + 1))
