"""The report's arithmetic and its pages: nothing missing becomes zero, nothing planted becomes
markup, nothing comes from elsewhere.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from comptrust.records import Finding, Verdict
from comptrust.report import card, curve, drawing, forest, heatmap, leaderboard, page, tradeoff
from comptrust.report.base import DIMENSIONS, Entry, dense_groups, fold

PLANTED = '<script>alert(1)</script>"><img src=x onerror=alert(2)> $x_{$'


def entry(**changes: object) -> Entry:
    fields = {"name": "r", "model": "m", "source": "own", "suite": "s", "method": "gptq", "bits": 4}
    return Entry.model_validate(fields | changes)


def dense(**changes: object) -> Entry:
    return entry(
        **{"method": "none", "bits": None, "scores": {name: 80.0 for name in DIMENSIONS}} | changes
    )


def verdict(**evidence: Any) -> Verdict:
    keys = ("checkpoint_digest", "baseline_digest", "scorecard_digest", "policy_digest")
    finding = Finding(
        rule="max_drop",
        outcome="block",
        reason="Dropped more than 5 points: ood.",
        evidence=evidence,
    )
    return Verdict(policy="staging", findings=(finding,), **{key: "0" for key in keys})


MEASURED = {
    "points": 3.0,
    "dimensions": {"ood": {"outcome": "block", "observed": 7.0, "lower": 4.0, "upper": 9.5}},
}


def test_an_average_needs_all_nine_and_a_missing_score_is_not_zero() -> None:
    whole = {name: 50.0 for name in DIMENSIONS}
    assert fold([entry(scores=whole)])[0].average == 50
    del whole["mmlu"]
    (group,) = fold([entry(scores=whole)])
    assert group.average is None
    assert leaderboard.render([group]).count('data-value="">–<') == 3  # mmlu, average, refusal


def test_seeds_fold_and_other_suites_calibrations_and_options_do_not() -> None:
    seeds = [entry(seed=1, scores={"ood": 44}), entry(seed=0, scores={"ood": 40})]
    (group,) = fold(seeds)
    assert ([one.seed for one in group.entries], group.mean("ood"), group.spread("ood")) == (
        [0, 1],
        42,
        pytest.approx(8**0.5),
    )
    for other in (
        {"suite": "t"},
        {"calibration": "self"},
        {"settings": {"option.dampening": "0.1"}},
        {"revision": "r2"},
        {"group_size": 64},
    ):
        assert len(fold([*seeds, entry(seed=2, **other)])) == 2, other


def test_the_newest_run_of_a_recipe_and_seed_counts_alone() -> None:
    repeated = [
        entry(name=name, seed=seed, scores={"ood": value})
        for name, seed, value in (("a", 0, 10), ("b", 1, 44), ("c", 0, 40))
    ]
    (group,) = fold(repeated)
    assert [one.name for one in group.entries] == ["c", "b"]
    assert (group.mean("ood"), fold([repeated[0], repeated[2]])[0].spread("ood")) == (42, None)


def test_about_half_the_size_is_measured_where_it_can_be() -> None:
    made = [
        dense(bytes=1000),
        entry(bits=8, ratio=1 / 0.62),
        entry(bits=4, ratio=1 / 0.42),
        entry(bits=3, ratio=1 / 0.37),
        entry(method="awq", bits=8),
        entry(method="awq", bits=4),
        entry(method="wanda", bits=None, sparsity=0.5, structure="2:4", ratio=1.0),
        entry(method="magnitude", bits=None, sparsity=0.2, structure="unstructured", ratio=1.0),
        dense(model="half", bytes=450),
    ]
    groups = fold(made)
    source = next(group for group in dense_groups(groups) if group.first.model == "m")
    found = {
        line.label: line.share
        for line in heatmap.lines(groups, dense=source, smaller={"m": "half"})
    }
    assert found == {
        "dense half": 0.45,
        "gptq 8 bits": pytest.approx(0.62),
        "gptq 4 bits": pytest.approx(0.42),
        "awq 8 bits": 0.5,
        "wanda 2:4": 0.5,
    }


def test_refusals_that_moved_by_exactly_ten_have_no_dot() -> None:
    groups = fold(
        [
            dense(refusals={"ood": 10.0, "ethics": 29.0}),
            entry(bits=8, scores={"ood": 80}, refusals={"ood": 20.0, "ethics": 39.1}),
        ]
    )
    (line,) = heatmap.lines(groups, dense=groups[0], smaller={})
    assert {cell.dimension for cell in line.cells if cell.dot} == {"ethics"}


def test_the_front_is_what_nothing_beats() -> None:
    scores = {"a": (8, 79), "b": (4, 70), "c": (3, 40), "d": (4, 60)}
    groups = fold(
        [
            dense(scores={"ood": 80}),
            *(
                entry(method=key, bits=bits, scores={"ood": value})
                for key, (bits, value) in scores.items()
            ),
        ]
    )
    found = tradeoff.options(groups, dense=groups[0])
    assert {one.recipe for one in found if one.front} == {"a 8 bits", "b 4 bits", "c 3 bits"}
    assert [one.worst for one in found] == [40, 10, 20, 1]
    shown = tradeoff.picture(groups, dense=groups[0])
    assert shown is not None
    assert "Pareto front: c 3 bits, b 4 bits, a 8 bits." in shown.html
    assert all(
        shown.html.count(f">{one.recipe}<") == 2 for one in found
    )  # a label in the figure, a row in the table


def test_a_version_that_misses_a_dimension_is_in_no_trade_off() -> None:
    groups = fold([dense(), entry(scores={"ood": 80})])
    assert tradeoff.options(groups, dense=groups[0]) == ()
    assert tradeoff.picture(groups, dense=groups[0]) is None


def test_colours_and_unmeasured_cells() -> None:
    def color(points: float | None) -> str:
        return heatmap.Cell(model="m", row="r", dimension="ood", points=points, dot=False).color

    assert [color(value) for value in (30, -30, 0, None)] == [
        "#2166ac",
        "#b2182b",
        "#ffffff",
        "#dddddd",
    ]


def test_a_curve_says_in_words_what_it_draws() -> None:
    groups = fold(
        [
            dense(scores={"ood": 80}),
            *(entry(bits=3, seed=seed, scores={"ood": 70 + seed}) for seed in (0, 1)),
            entry(bits=8, scores={"ood": 79}),
        ]
    )
    (panel,) = curve.panels(groups, dense=groups[0], smaller={})
    assert (
        panel.words
        == "ood against bits per weight. Dense 80.0; gptq 8 bits 79.0; gptq 3 bits 70.5 ±0.7"
        " (gray)."
    )
    shown = curve.picture(groups, dense=groups[0], smaller={})
    assert shown is not None
    assert f'role="img" aria-label="{panel.words}"' in shown.html
    assert "<title>gptq 3 bits 70.5 ±0.7 (gray)</title>" in shown.html
    assert shown.png().startswith(b"\x89PNG")


def test_methods_keep_their_style_in_every_figure() -> None:
    assert drawing.styles(["wanda", "awq"]) == {
        name: drawing.METHODS[name] for name in ("awq", "wanda")
    }
    assert drawing.styles(["mine", "yours"]) == dict(
        zip(("mine", "yours"), drawing.OTHERS, strict=True)
    )


def test_the_forest_shows_the_rule_that_has_bounds() -> None:
    observed = Finding(
        rule="max_drop",
        outcome="pass",
        reason="",
        evidence={"points": 5, "dimensions": {"ood": {"observed": 1}}},
    )
    judged = verdict(**MEASURED)
    judged = judged.model_copy(update={"findings": (observed, *judged.findings)})
    (found,) = forest.intervals(judged)
    assert (found.observed, found.lower, found.upper, found.outcome) == (7, 4, 9.5, "block")
    assert forest.limits(judged) == (3, 5)
    assert "ood +7.0 (+4.0 to +9.5) block" in forest.render(judged)
    assert "Dashed: 3 and 5 points allowed." in forest.render(judged)
    assert (
        forest.render(
            verdict(dimensions={"ood": {"outcome": "inconclusive", "why": "not measured"}})
        )
        == ""
    )


def test_a_card_shows_findings_bounds_and_flips() -> None:
    flips = (
        {
            "dimension": "ood",
            "prompt": "p" * 2000 + " the question",
            "dense": "yes",
            "compressed": "no " * 500,
            "answers": "1 -> 0",
        },
    )
    shown = card.verdict_card(entry(verdict=verdict(**MEASURED), flips=flips))
    assert "Dropped more than 5 points" in shown
    assert "the question</pre>" in shown
    assert "<h5>ood: 1 -&gt; 0</h5>" in shown
    assert len(shown) < 30_000
    assert "open" not in shown.split(">")[0]
    assert '<details class="card" open>' in page.render_card(entry(verdict=verdict(**MEASURED)))
    assert "not judged" in card.verdict_card(entry())


def planted() -> list[Entry]:
    """Return entries that carry markup wherever a text can come from a user, a model or a
    server."""
    flip = {name: PLANTED for name in ("dimension", "prompt", "dense", "compressed", "answers")}
    scores = {name: 70.0 for name in DIMENSIONS}
    judged = verdict(**MEASURED)
    finding = judged.findings[0].model_copy(update={"rule": PLANTED, "reason": PLANTED})
    judged = judged.model_copy(update={"policy": PLANTED, "findings": (finding,)})
    common = {"model": PLANTED, "suite": PLANTED, "name": PLANTED, "url": f"https://host/{PLANTED}"}
    bad = {
        "method": PLANTED,
        "structure": PLANTED,
        "calibration": PLANTED,
        "verdict": judged,
        "flips": (flip,),
        "scores": scores,
    }
    return [
        dense(**common),
        entry(**common, **bad),
        entry(**common | {"url": "javascript:alert(3)", "seed": 1}, **bad),
    ]


def test_planted_markup_stays_text() -> None:
    found = planted()
    families = page.families(found)
    pages = [page.render(found, families), page.render_card(found[1])]
    pages += [page.render_picture(one) for family in families for one in family.pictures]
    pages += [page.render_picture(one) for one in page.own_pictures(found[1])]
    assert len(pages) == 5
    for shown in pages:
        assert "&lt;script&gt;" in shown
        assert "<img" not in shown
        assert "<script>alert" not in shown
        assert not re.search(r"""href=["']?javascript""", shown)


def test_a_page_needs_nothing_from_elsewhere() -> None:
    found = [
        dense(),
        entry(scores={name: 70.0 for name in DIMENSIONS}, verdict=verdict(**MEASURED)),
    ]
    shown = page.render(found, page.families(found))
    assert shown.count("<svg") > len(DIMENSIONS)
    assert not re.search(r"<(?:link|script|img|iframe|object|embed)[^>]*\s(?:src|href)=", shown)
    outside = set(
        re.findall(r"""(?:src|href|url\(|@import)\s*=?\s*["'(]?(?:https?:)?//[^"')\s]+""", shown)
    )
    assert outside == set()
    assert not re.search(r"""(?:fetch|import)\s*\(|XMLHttpRequest""", shown)


def test_a_report_of_one_dense_run_says_what_it_lacks() -> None:
    shown = page.render([dense()], page.families([dense()]))
    assert shown.count("There is no compressed version beside its dense source") == 3
    assert "No version has been judged." in shown
