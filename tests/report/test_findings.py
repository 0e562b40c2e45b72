"""The paper's findings in the data behind the figures: red cells, dots, points in the gray."""

from __future__ import annotations

import pytest

from comptrust import published
from comptrust.report import curve, heatmap, tradeoff
from comptrust.report.base import DIMENSIONS, ReportEntry, SeedGroup, dense_groups, fold
from tests.support.shared import SHARED

TABLE = SHARED / "paper" / "num_sheet.csv"
pytestmark = pytest.mark.skipif(
    not TABLE.exists(), reason="the published table is not beside the checkout (COMPTRUST_SHARED)"
)
CHAT = "LLAMA2 13b Chat"
LARGE = (CHAT, "LLAMA2 13b", "Vicuna 13b Chat")


def entries() -> list[ReportEntry]:
    """Return the table's rows as entries, without logging them in MLflow."""
    table = published.read(TABLE)
    result = []
    for row in table.rows:
        kept = row.recipe.model_dump(
            include={"method", "bits", "sparsity", "structure", "group_size"}
        )
        fields = {
            "name": row.model,
            "model": row.recipe.base_model,
            "source": "published",
            "suite": "published",
            "seed": row.seed,
        }
        fields |= {
            "smaller": table.smaller.get(row.recipe.base_model),
            "scores": row.scores,
            "refusals": row.refusals,
        }
        result.append(ReportEntry.model_validate(fields | kept))
    return result


GROUPS = fold(entries()) if TABLE.exists() else ()


def dense(model: str) -> SeedGroup:
    return next(group for group in dense_groups(GROUPS) if group.first.model == model)


def rows(model: str) -> dict[str, heatmap.HeatmapRow]:
    return {row.label: row for row in heatmap.rows(GROUPS, dense=dense(model), smaller={})}


def red(row: heatmap.HeatmapRow) -> set[str]:
    """Return where a row lost more than five points."""
    return {cell.dimension for cell in row.cells if cell.lost is not None and cell.lost > 5}


def gray(model: str) -> dict[str, set[str]]:
    """Return recipe -> dimensions in which its point lies in the gray."""
    dimensions: dict[str, set[str]] = {}
    for panel in curve.panels(GROUPS, dense=dense(model), smaller={}):
        for point in panel.points:
            grays = dimensions.setdefault(point.entry.recipe, set())
            if point.gray:
                grays.add(panel.dimension)
    return dimensions


def test_the_average_is_the_papers() -> None:
    for row, entry in zip(published.read(TABLE).rows, entries(), strict=True):
        assert fold([entry])[0].average == pytest.approx(row.average, abs=0.11), row.model


@pytest.mark.parametrize("model", LARGE)
def test_eight_bits_keep_every_score_within_five_points(model: str) -> None:
    for label in ("awq 8 bits g128", "gptq 8 bits g128"):
        assert red(rows(model)[label]) == set()
        assert gray(model)[label] == set()


@pytest.mark.parametrize("model", LARGE)
def test_pruning_half_of_the_weights_costs_mmlu_and_ood_whatever_the_method(model: str) -> None:
    pruned = [line for label, line in rows(model).items() if ":" in label]
    assert len(pruned) == (9 if model == CHAT else 3)
    assert all({"mmlu", "ood"} <= red(line) for line in pruned)
    assert not {line.label for line in pruned} & gray(model).keys()  # they have no bits


def test_rows_are_the_smaller_dense_model_and_all_of_half_the_size() -> None:
    listed = list(rows(CHAT).values())
    assert (listed[0].label, listed[0].share) == ("dense LLAMA2 7b Chat", None)
    assert {line.share for line in listed[1:]} == {0.5}
    patterns = {
        f"{method} {pattern}"
        for method in ("magnitude", "sparsegpt", "wanda")
        for pattern in ("1:2", "2:4", "4:8")
    }
    assert {line.label for line in listed[1:]} == patterns | {"awq 8 bits g128", "gptq 8 bits g128"}


def test_the_smaller_dense_model_is_no_better_than_eight_bits() -> None:
    assert red(rows(CHAT)["dense LLAMA2 7b Chat"]) == {
        "stereotype",
        "adv_demonstration",
        "ethics",
        "mmlu",
    }


def test_cells_are_the_tables_differences_and_dots_its_moved_refusals() -> None:
    table = {row.model: row for row in published.read(TABLE).rows}
    before, after = (
        table["hf/meta-llama/Llama-2-13b-chat-hf"],
        table["hf/compressed-llm/llama-2-13b-chat_magnitude_semistruct@0.5_2to4"],
    )
    cells = rows(CHAT)["magnitude 2:4"].cells
    assert [cell.dimension for cell in cells] == list(DIMENSIONS)
    for cell in cells:
        assert cell.lost == pytest.approx(
            before.scores[cell.dimension] - after.scores[cell.dimension]
        )
        known = cell.dimension in before.refusals
        assert cell.dot == (
            known
            and round(abs(after.refusals[cell.dimension] - before.refusals[cell.dimension]), 6) > 10
        )


def test_dots_of_the_llama_base_model() -> None:
    dots = {
        label: {cell.dimension for cell in line.cells if cell.dot}
        for label, line in rows("LLAMA2 13b").items()
    }
    assert dots["awq 8 bits g128"] == dots["gptq 8 bits g128"] == set()
    assert dots["sparsegpt 2:4"] == {"stereotype", "adv_robustness", "ethics"}
    assert (
        dots["wanda 2:4"]
        == dots["magnitude 2:4"]
        == {"stereotype", "adv_robustness", "ood", "ethics"}
    )


def test_four_bits_keep_the_chat_model_and_three_bits_do_not() -> None:
    grays = gray(CHAT)
    assert grays["gptq 4 bits g128"] == set()
    # One dimension lost exactly five points, which is not more than five.
    assert grays["awq 4 bits g128"] == set()
    assert grays["gptq 3 bits g128"] == {
        "toxicity",
        "ood",
        "adv_demonstration",
        "privacy",
        "ethics",
        "mmlu",
    }
    assert grays["awq 3 bits g128"] == {"stereotype", "adv_demonstration", "fairness"}


def test_error_bars_stand_where_the_table_has_seeds() -> None:
    recipes = {
        point.entry.recipe
        for panel in curve.panels(GROUPS, dense=dense(CHAT), smaller={})
        for point in panel.points
        if point.spread is not None
    }
    assert recipes == {"awq 3 bits g128", "gptq 3 bits g128", "gptq 4 bits g128"}


def test_lines_are_the_dense_and_the_smaller_dense_score() -> None:
    for panel in curve.panels(GROUPS, dense=dense(CHAT), smaller={}):
        assert panel.dense == dense(CHAT).mean(panel.dimension)
        assert panel.smaller == dense("LLAMA2 7b Chat").mean(panel.dimension)
    other = curve.panels(GROUPS, dense=dense(CHAT), smaller={CHAT: "LLAMA2 7b"})
    assert [panel.smaller for panel in other] == [
        dense("LLAMA2 7b").mean(panel.dimension) for panel in other
    ]


def front_of(model: str) -> list[str]:
    options = tradeoff.options(GROUPS, dense=dense(model))
    return [option.entry.recipe for option in options if option.front]


def test_only_quantized_versions_within_five_points_are_on_the_front() -> None:
    assert {model: front_of(model) for model in LARGE} == {
        CHAT: ["gptq 4 bits g128", "gptq 8 bits g128"],
        "LLAMA2 13b": ["awq 4 bits g128", "awq 8 bits g128"],
        "Vicuna 13b Chat": ["awq 8 bits g128"],
    }
