"""The report's arithmetic and pages.

Nothing missing becomes zero, planted text never becomes markup, and a page loads nothing else.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from comptrust.records import Finding, Verdict
from comptrust.report import (
    card,
    curve,
    decisions,
    drawing,
    forest,
    heatmap,
    leaderboard,
    page,
    tradeoff,
)
from comptrust.report.base import DIMENSIONS, ReportEntry, dense_groups, fold
from comptrust.serving_cost import ServingCost, ServingCosts

PLANTED = '<script>alert(1)</script>"><img src=x onerror=alert(2)> $x_{$'


def entry(**changes: object) -> ReportEntry:
    fields = {"name": "r", "model": "m", "source": "own", "suite": "s", "method": "gptq", "bits": 4}
    return ReportEntry.model_validate(fields | changes)


def dense(**changes: object) -> ReportEntry:
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


def passing(policy: str = "staging") -> Verdict:
    """Return a verdict that passes."""
    judged = verdict(points=5.0, dimensions={"ood": {"outcome": "pass", "observed": 1.0}})
    finding = judged.findings[0].model_copy(update={"outcome": "pass"})
    return judged.model_copy(update={"policy": policy, "findings": (finding,)})


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
    assert [entry.seed for entry in group.entries] == [0, 1]
    assert group.mean("ood") == 42
    assert group.spread("ood") == pytest.approx(8**0.5)
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
    assert [entry.name for entry in group.entries] == ["c", "b"]
    assert group.mean("ood") == 42
    (single,) = fold([repeated[0], repeated[2]])
    assert single.spread("ood") is None


def test_about_half_the_size_is_measured_where_it_can_be() -> None:
    versions = [
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
    groups = fold(versions)
    source = next(group for group in dense_groups(groups) if group.first.model == "m")
    rows = heatmap.rows(groups, dense=source, smaller={"m": "half"})
    assert {row.label: row.share for row in rows} == {
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
    (row,) = heatmap.rows(groups, dense=groups[0], smaller={})
    assert {cell.dimension for cell in row.cells if cell.dot} == {"ethics"}


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
    options = tradeoff.options(groups, dense=groups[0])
    front = {option.entry.recipe for option in options if option.front}
    assert front == {"a 8 bits"}  # without a verdict, what lost more than 5 points did not pass
    assert [option.worst for option in options] == [40, 10, 20, 1]
    picture = tradeoff.picture(groups, dense=groups[0])
    assert picture is not None
    assert "Pareto front: a 8 bits." in picture.html
    for option in options:  # a label in the figure and a row in the table
        assert picture.html.count(f">{option.entry.recipe}<") == 2


def test_time_and_memory_are_drawn_where_they_were_measured_alike() -> None:
    def cost(speed: float | None, where: str = "hf, float32, here") -> ServingCost:
        return ServingCost(tokens_per_second=speed, peak_bytes=5, how="x", where=where)

    own = [cost(20.0), cost(5.0), cost(40.0, "elsewhere"), cost(None)]
    costs = [ServingCosts(model=one, dense=cost(10.0)) for one in own]
    entries = [
        entry(bits=bits, scores={"ood": 79}, costs=one)
        for bits, one in zip((8, 4, 3, 2), costs, strict=True)
    ]
    old = entry(method="awq", bits=4, scores={"ood": 79})
    groups = fold([dense(scores={"ood": 80}), *entries, old])
    drawn = {axis: tradeoff.options(groups, dense=groups[0], axis=axis) for axis in tradeoff.AXES}
    assert [(option.entry.bits, option.cost) for option in drawn["tokens_per_second"]] == [
        (8, 0.5),
        (4, 2.0),
    ]
    assert [option.front for option in drawn["tokens_per_second"]] == [True, False]
    assert {axis: len(options) for axis, options in drawn.items()} == {
        "size": 5,
        "tokens_per_second": 2,
        "peak_bytes": 3,
    }
    picture = tradeoff.picture(groups, dense=groups[0])
    assert picture is not None and picture.html.count("<figure") == 3 and picture.png()
    unmeasured = card.content(old.model_copy(update={"verdict": passing()}))
    assert "Cost to serve</h3><p>It was not measured." in unmeasured
    content = card.content(entries[1].model_copy(update={"verdict": passing()}))
    assert '<td class="number">5 tokens/s</td>' in content and "hf, float32, here" in content


def test_only_what_always_passed_is_on_the_front() -> None:
    blocked, passed = verdict(**MEASURED), passing()
    scores = {"ood": 79.0}
    groups = fold(
        [
            dense(scores={"ood": 80}),
            entry(bits=3, scores=scores, verdict=blocked),
            entry(bits=4, scores=scores, verdict=blocked),  # an older run of the next
            entry(bits=4, scores=scores, verdict=passed),
            entry(bits=8, scores={"ood": 70}, verdict=passed),
            entry(method="awq", bits=8, scores=scores, verdict=passed),
        ]
    )
    options = tradeoff.options(groups, dense=groups[0])
    front = {option.entry.recipe for option in options if option.front}
    assert front == {"awq 8 bits"}


def test_pruned_models_have_no_bits_and_one_point_is_no_chart() -> None:
    pruned = entry(method="wanda", bits=None, sparsity=0.5, structure="2:4", scores={"ood": 60})
    several = [dense(scores={"ood": 80}), pruned, entry(bits=4, scores={"ood": 79})]
    groups = fold(several)
    assert curve.panels(groups, dense=groups[0], smaller={}) == ()
    assert curve.picture(groups, dense=groups[0], smaller={}) is None
    alone = fold(several[:2])
    assert tradeoff.picture(alone, dense=alone[0]) is None
    more = fold([*several, entry(bits=8, scores={"ood": 80})])
    (panel,) = curve.panels(more, dense=more[0], smaller={})
    assert [point.entry.recipe for point in panel.points] == ["gptq 8 bits", "gptq 4 bits"]


def test_a_version_that_misses_a_dimension_is_in_no_trade_off() -> None:
    groups = fold([dense(), entry(scores={"ood": 80})])
    assert tradeoff.options(groups, dense=groups[0]) == ()
    assert tradeoff.picture(groups, dense=groups[0]) is None


def test_colors_and_unmeasured_cells() -> None:
    def color(lost: float | None) -> str:
        return heatmap.HeatmapCell("ood", lost=lost, dot=False).color

    assert [color(value) for value in (-30, 30, 0, None)] == [
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
        panel.description
        == "ood against bits per weight. Dense 80.0; gptq 8 bits 79.0; gptq 3 bits 70.5 ±0.7"
        " (gray)."
    )
    picture = curve.picture(groups, dense=groups[0], smaller={})
    assert picture is not None
    assert f'role="img" aria-label="{panel.description}"' in picture.html
    assert "<title>gptq 3 bits 70.5 ±0.7 (gray)</title>" in picture.html
    assert picture.png().startswith(b"\x89PNG")


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
    (row,) = forest.intervals(judged)
    assert (row.observed, row.lower, row.upper, row.outcome) == (7, 4, 9.5, "block")
    assert forest.limits(judged) == (3, 5)
    assert "ood +7.0 (+4.0 to +9.5) block" in forest.render(judged)
    assert "Dashed: 3 and 5 points allowed." in forest.render(judged)
    unmeasured = {"ood": {"outcome": "inconclusive", "why": "not measured"}}
    assert forest.render(verdict(dimensions=unmeasured)) == ""


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
    html = card.content(entry(verdict=verdict(**MEASURED), flips=flips))
    assert "Dropped more than 5 points" in html
    assert "the question</pre>" in html
    assert "<h4>ood: 1 -&gt; 0</h4>" in html
    assert "This run has no page of all answers" in html
    assert '<td class="number">7.0</td><td class="number">9.5</td>' in html
    assert len(html) < 30_000
    judged = page.render_card(entry(verdict=verdict(**MEASURED), date="2026-11-28 02:31"))
    assert '<p class="badge block">✕ block</p>' in judged and "2026-11-28 02:31" in judged
    assert "not judged" in card.content(entry())
    urgent = card.content(entry(emergency="EMERGENCY until <then>: why"))
    assert '<p><strong class="block">EMERGENCY until &lt;then&gt;: why</strong></p>' in urgent


def planted() -> list[ReportEntry]:
    """Return entries with markup in every text that a user, a model or a server can supply."""
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
        entry(**common | {"bits": 3}, **bad),
    ]


def test_planted_markup_stays_text() -> None:
    rows = planted()
    families = page.families(rows)
    pictures = [picture for family in families for picture in family.pictures]
    pictures += page.own_pictures(rows[1])
    pages = [page.render(rows, families), page.render_card(rows[1])]
    pages += map(page.render_picture, pictures)
    assert len(pages) == 5
    for html in pages:
        assert "&lt;script&gt;" in html
        assert "<img" not in html
        assert "<script>alert" not in html
        assert not re.search(r"""href=["']?javascript""", html)


def test_a_page_needs_nothing_from_elsewhere() -> None:
    scores = {name: 70.0 for name in DIMENSIONS}
    rows = [
        dense(),
        entry(scores=scores, verdict=verdict(**MEASURED)),
        entry(bits=8, scores=scores),
    ]
    html = page.render(rows, page.families(rows))
    assert html.count("<svg") > len(DIMENSIONS)
    assert not re.search(r"<(?:link|script|img|iframe|object|embed)[^>]*\s(?:src|href)=", html)
    address = r"""(?:src|href|url\(|@import)\s*=?\s*["'(]?(?:https?:)?//[^"')\s]+"""
    assert not re.search(address, html)
    assert not re.search(r"""(?:fetch|import)\s*\(|XMLHttpRequest""", html)


def test_a_version_is_one_row_with_its_newest_and_its_worst_verdict() -> None:
    blocked = {"verdict": verdict(**MEASURED), "date": "2026-01-02", "suite": "whole"}
    runs = [
        dense(),
        entry(name="old", seed=0, **blocked),
        entry(name="new", seed=0, suite="narrow", verdict=passing("mine"), date="2026-02-03"),
        entry(seed=1, settings={"option.dampening": "0.1"}),
        entry(seed=1, settings={"option.dampening": "0.2"}, verdict=passing()),
    ]
    found = {version.label: version for version in decisions.versions(runs)}
    assert list(found) == [
        "gptq 4 bits, seed 1, dampening 0.1, revision unknown",
        "gptq 4 bits, seed 0",
        "gptq 4 bits, seed 1, dampening 0.2, revision unknown",
    ]
    version = found["gptq 4 bits, seed 0"]
    assert version.worst is not None
    assert (version.outcome, version.worst.name) == ("pass", "old")
    assert version.open == "passes now, but was blocked on 2026-01-02 (policy staging, suite whole)"
    assert version.lost_most == "lost 1.0 in ood"
    assert found["gptq 4 bits, seed 1, dampening 0.1, revision unknown"].open == "not judged"
    html = page.render(runs, page.families(runs))
    assert html.count('<details class="card"') == 3
    assert html.index("Open decisions") < html.index("passes now") < html.index("<summary>")


def test_an_open_decision_names_the_dimensions() -> None:
    judged = verdict(
        dimensions={
            "ood": {"outcome": "inconclusive", "observed": 3.0, "upper": 6.5},
            "mmlu": {"outcome": "pass", "observed": -1.0},
        }
    )
    finding = judged.findings[0].model_copy(update={"outcome": "inconclusive"})
    judged = judged.model_copy(update={"findings": (finding,)})
    (version,) = decisions.versions([dense(), entry(verdict=judged)])
    assert version.open == "undecided max drop (ood)"
    assert version.lost_most == "lost 3.0 (at most 6.5) in ood"


def test_a_long_title_is_wrapped_in_the_forest_plot() -> None:
    named = entry(model="an/" + "extraordinarily-long-name-" * 6, verdict=verdict(**MEASURED))
    (picture,) = page.own_pictures(named)
    assert picture.heading.endswith("gptq 4 bits: block under policy staging")
    sizes = [
        int.from_bytes(one.png()[20:24], "big")  # the height of a PNG image
        for one in (picture, *page.own_pictures(named.model_copy(update={"model": "m"})))
    ]
    assert sizes[0] > sizes[1]


def test_a_report_of_one_dense_run_says_what_it_lacks() -> None:
    html = page.render([dense()], page.families([dense()]))
    assert html.count("Fewer than two versions to compare with a dense source") == 3
    assert "No version has been judged." in html
