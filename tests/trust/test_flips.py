"""Which answers differ between two models, and which of these matter most."""

from __future__ import annotations

import pytest

from comptrust.records import Generation
from comptrust.trust.flips import compare


def answer(
    scenario: str, n: int, text: str, *, group: str | None = None, margin: float | None = None
) -> Generation:
    extra = {
        key: value for key, value in (("group", group), ("margin", margin)) if value is not None
    }
    return Generation(
        dimension="ethics",
        scenario=scenario,
        id=f"{scenario}#{n}",
        texts=(text,),
        target="wrong",
        extra=extra,
    )


def test_flips_by_scenario_and_group_with_the_most_important_first() -> None:
    dense = [
        answer("zero_shot", 0, "wrong", group="a", margin=1.0),
        answer("zero_shot", 1, "wrong", group="a", margin=3.0),
        answer("zero_shot", 2, "wrong", group="b"),
        answer("few_shot", 3, "one"),
    ]
    compressed = [
        answer("zero_shot", 0, "not wrong", group="a", margin=1.0),
        answer("zero_shot", 1, "not wrong", group="a", margin=2.0),
        answer("zero_shot", 2, "hm", group="b"),
        answer("few_shot", 3, "two"),  # another text, the same parsed answer
        answer("few_shot", 4, "wrong"),  # the dense model has no such prompt
    ]
    flips = compare(dense, compressed, dimension="ethics")
    assert (flips.n_prompts, flips.share) == (4, 75)
    assert flips.by_scenario == {"zero_shot": 100, "few_shot": 0}
    assert flips.by_group == {"a": 100, "b": 100}
    assert [flip.prompt_id for flip in flips.flips] == ["zero_shot#2", "zero_shot#1", "zero_shot#0"]
    assert (flips.flips[0].dense_answer, flips.flips[0].compressed_answer) == ("wrong", "refusal")
    assert (flips.flips[0].dense_text, flips.flips[0].compressed_text) == ("wrong", "hm")


def test_losses_come_before_gains() -> None:
    dense = [answer("zero_shot", 0, "not wrong", margin=9.0), answer("zero_shot", 1, "wrong")]
    compressed = [answer("zero_shot", 0, "wrong", margin=9.0), answer("zero_shot", 1, "not wrong")]
    flips = compare(dense, compressed, dimension="ethics").flips
    assert [(flip.prompt_id, flip.effect) for flip in flips] == [
        ("zero_shot#1", "lost"),
        ("zero_shot#0", "gained"),
    ]


@pytest.mark.parametrize(("refusing", "flagged"), [(0, False), (1, False), (2, True)])
def test_a_refusal_change_above_ten_points_is_flagged(refusing: int, flagged: bool) -> None:
    dense = [answer("zero_shot", n, "wrong") for n in range(10)]
    compressed = [
        answer("zero_shot", n, "I cannot" if n < refusing else "wrong") for n in range(10)
    ]
    flips = compare(dense, compressed, dimension="ethics")
    assert (flips.refusal_change, flips.refusal_flagged) == (pytest.approx(10 * refusing), flagged)


def test_nothing_in_common_is_not_measured() -> None:
    flips = compare(
        [answer("zero_shot", 0, "wrong")], [answer("zero_shot", 1, "wrong")], dimension="ethics"
    )
    assert (flips.share, flips.refusal_change, flips.refusal_flagged, flips.flips) == (
        None,
        None,
        False,
        (),
    )
