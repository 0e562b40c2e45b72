"""The narrowing plots: one per dimension, in words too, and the same every time."""

from __future__ import annotations

from comptrust.gate.sequential.course import Decision
from comptrust.report import narrowing

ROWS = (
    Decision(
        dimension="adv_robustness",
        outcome="pass",
        items=24,
        decided_at=24,
        bounds=((8, -40.0, 38.0), (16, -20.0, 12.0), (24, -9.0, 5.0)),
    ),
    Decision(
        dimension="mmlu",
        outcome="inconclusive",
        items=8,
        decided_at=None,
        bounds=((8, -40.0, 55.5),),
    ),
    Decision(dimension="ood", outcome="inconclusive", items=0, decided_at=None, bounds=()),
)
MARGINS = {"adv_robustness": 5.0, "mmlu": 3.0, "ood": 5.0}


def test_every_dimension_that_was_asked_is_drawn_and_described() -> None:
    html = narrowing.render(ROWS, MARGINS)
    assert "adv robustness -9.0 to +5.0 after 24 items, pass" in html
    assert "mmlu -40.0 to +55.5 after 8 items, inconclusive" in html
    assert "adv robustness: pass" in html
    assert "ood" not in html
    assert html == narrowing.render(ROWS, MARGINS)


def test_nothing_is_drawn_without_a_batch() -> None:
    assert narrowing.render(ROWS[2:], MARGINS) == ""


def test_the_image_is_a_png() -> None:
    assert narrowing.png(ROWS, MARGINS, "title").startswith(b"\x89PNG")
