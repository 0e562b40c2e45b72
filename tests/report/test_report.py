"""The report: the published table's own findings in the data behind the figures, and a page that is safe and whole."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from comptrust.records import Finding, Verdict
from comptrust.report import card, curve, heatmap, page, published, tradeoff
from comptrust.report.base import DIMENSIONS, Entry, dense_of, fold

SHARED = Path(os.environ.get("COMPTRUST_SHARED", Path(__file__).parents[3] / "shared"))
TABLE = SHARED / "paper" / "num_sheet.csv"
needs_table = pytest.mark.skipif(not TABLE.exists(), reason="the published table is not beside the checkout (COMPTRUST_SHARED)")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHAT, SMALLER = "LLAMA2 13b Chat", {"LLAMA2 13b Chat": "LLAMA2 7b Chat"}


def entries() -> list[Entry]:
    found = []
    for row in published.read(TABLE).rows:
        kept = row.recipe.model_dump(include={"method", "bits", "sparsity", "structure", "group_size"})
        fields = {"name": row.model, "model": row.recipe.base_model, "source": "published", "suite": "published", "seed": row.seed}
        found.append(Entry.model_validate(fields | kept | {"scores": row.scores, "refusals": row.refusals}))
    return found


def entry(**changes: object) -> Entry:
    fields = {"name": "r", "model": "m", "source": "own", "suite": "s", "method": "gptq", "bits": 4}
    return Entry.model_validate(fields | changes)


def test_an_average_needs_all_nine_and_a_missing_score_is_not_zero() -> None:
    whole = {name: 50.0 for name in DIMENSIONS}
    assert fold([entry(scores=whole)])[0].average == 50
    del whole["mmlu"]
    assert fold([entry(scores=whole)])[0].average is None


def test_seeds_fold_and_other_suites_do_not() -> None:
    groups = fold([entry(seed=0, scores={"ood": 40}), entry(seed=1, scores={"ood": 44}), entry(seed=0, suite="t")])
    assert [len(group.entries) for group in groups] == [2, 1]
    assert groups[0].mean("ood") == 42
    assert groups[0].spread("ood") == pytest.approx(8**0.5)
    assert dense_of(groups[0], fold([entry(method="none", bits=None, suite="t")])) is None


def test_the_newest_run_of_a_recipe_and_seed_counts_alone() -> None:
    repeated = [entry(name=name, seed=seed, scores={"ood": value}) for name, seed, value in (("a", 0, 10), ("b", 1, 44), ("c", 0, 40))]
    (group,) = fold(repeated)
    assert [one.name for one in group.entries] == ["c", "b"]
    assert (group.mean("ood"), fold([repeated[0], repeated[2]])[0].spread("ood")) == (42, None)


@needs_table
def test_the_average_is_the_papers() -> None:
    for row, one in zip(published.read(TABLE).rows, entries(), strict=True):
        assert fold([one])[0].average == pytest.approx(row.average, abs=0.11), row.model


@needs_table
def test_three_bit_gptq_lies_in_the_grey_and_eight_bit_does_not() -> None:
    groups = fold(entries())
    dense = next(group for group in groups if group.first.model == CHAT and group.first.method == "none")
    found = curve.points(groups, dense=dense)
    grey = {bits: {p.dimension for p in found if p.method == "gptq" and p.bits == bits and p.grey} for bits in (3, 8)}
    assert len(grey[3]) >= 4
    assert grey[8] == set()
    assert all(p.spread is not None for p in found if p.method == "gptq" and p.bits == 3)


@needs_table
def test_heatmap_cells_are_the_tables_differences() -> None:
    rows = {row.model: row for row in published.read(TABLE).rows}
    dense = rows["hf/meta-llama/Llama-2-13b-chat-hf"]
    magnitude = rows["hf/compressed-llm/llama-2-13b-chat_magnitude_semistruct@0.5_2to4"]
    cells = heatmap.cells(fold(entries()), smaller=SMALLER)
    mine = {cell.dimension: cell for cell in cells if cell.model == CHAT and cell.row == "magnitude 2:4"}
    for name, cell in mine.items():
        assert cell.points == pytest.approx(magnitude.scores[name] - dense.scores[name])
        moved = name in dense.refusals and abs(magnitude.refusals[name] - dense.refusals[name]) > 10
        assert cell.dot == moved
    assert any(cell.row == "dense LLAMA2 7b Chat" for cell in cells)


def test_the_front_is_what_nothing_beats() -> None:
    scores = {"dense": (None, 80), "a": (8, 79), "b": (4, 70), "c": (3, 40), "d": (4, 60)}
    groups = fold(
        [entry(method="none" if key == "dense" else key, bits=bits, scores={"ood": value}) for key, (bits, value) in scores.items()]
    )
    found = tradeoff.options(groups, dense=groups[0])
    assert {one.recipe for one in found if one.front} == {"a 8 bits", "b 4 bits", "c 3 bits"}
    assert [one.worst for one in found] == [40, 10, 20, 1]


def test_colours_and_unmeasured_cells() -> None:
    def colour(points: float | None) -> str:
        return heatmap.Cell(model="m", row="r", dimension="ood", points=points, dot=False).colour

    assert [colour(value) for value in (30, -30, 0, None)] == ["#2166ac", "#b2182b", "#ffffff", "#dddddd"]


def test_a_card_shows_findings_and_bounds_and_escapes_answers() -> None:
    evidence = {"points": 3.0, "dimensions": {"ood": {"observed": 7.0, "lower": 4.0, "upper": 9.5}}}
    finding = Finding(rule="max_drop", outcome="block", reason="Dropped more than 5 points: ood.", evidence=evidence)
    keys = ("checkpoint_digest", "baseline_digest", "scorecard_digest", "policy_digest")
    verdict = Verdict(policy="staging", findings=(finding,), **{key: "0" for key in keys})
    shown = card.verdict_card(entry(verdict=verdict, flips=({"dimension": "ood", "compressed": "<script>alert(1)</script>"},)))
    assert "Dropped more than 5 points" in shown
    assert "95% bound +9.5" in shown
    assert card.limits(verdict) == (3,)
    assert "Allowed (dashed): 3." in shown
    assert "open" not in shown.split(">")[0]
    assert '<details class="card" open>' in page.render_card(entry(verdict=verdict))
    assert "<script>" not in shown
    assert "not judged" in card.verdict_card(entry())


@needs_table
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_page_sorts_and_filters_in_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page.render(entries(), smaller=SMALLER), encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"{path.as_uri()}#sort=average&filter=gptq"]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert 'aria-sort="descending"' in dom
    shown = [row for row in dom.split("<tbody>")[1].split("</tbody>")[0].split("<tr")[1:] if not row.startswith(' hidden=""')]
    groups = [group for group in fold(entries()) if group.first.method == "gptq" and group.average is not None]
    best = sorted((group.average or 0.0 for group in groups), reverse=True)
    assert len(shown) == len(groups)
    assert all(f">{value:.1f}<" in row for value, row in zip(best, shown, strict=True))
