"""The published table: read strictly, backtested and imported once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust import published, published_names
from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.gate.backtest import backtest
from tests.support.shared import SHARED

TABLE = SHARED / "paper" / "num_sheet.csv"
needs_table = pytest.mark.skipif(
    not TABLE.exists(), reason="the published table is not beside the checkout (COMPTRUST_SHARED)"
)

HEADER = list(published.COLUMNS)
NUMBERS = (
    {column: "0.5" for column in HEADER[5:]}
    | {column: "80" for column in published.SCORES.values()}
    | {"Average": "80"}
)
Rows = list[dict[str, str]]


def row(model: str, method: str, subtype: str, bits: str, **changes: str) -> dict[str, str]:
    described = dict(
        zip(published.DESCRIPTION, ("Base", method, subtype, bits, model), strict=True)
    )
    return described | NUMBERS | changes


def good() -> Rows:
    return [
        row("hf/meta-llama/Base-hf", "none", "none", "16"),
        row("hf/compressed-llm/base-gptq@3bit_128g_seed0_llama-2", "quantization", "GPTQ", "3"),
        row("hf/compressed-llm/base-wanda@0.5_2to4", "pruning", "wanda", "8"),
    ]


def write(folder: Path, rows: Rows, header: list[str] | None = None) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, header or HEADER, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    path = folder / "table.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def test_units_become_percent_and_names_become_recipes(tmp_path: Path) -> None:
    table = published.read(write(tmp_path, good()))
    dense, gptq, wanda = table.rows
    assert dense.refusals["toxicity"] == dense.refusals["fairness"] == 50
    assert dense.refusals["ethics"] == 0.5
    assert (gptq.recipe.bits, gptq.recipe.group_size, gptq.seed) == (3, 128, 0)
    assert (wanda.recipe.bits, wanda.recipe.structure, wanda.recipe.sparsity, wanda.seed) == (
        None,
        "2:4",
        0.5,
        None,
    )
    assert table.dense(gptq) == dense


def change(index: int, **changes: str) -> Callable[[Rows], Rows]:
    return lambda rows: [row | changes if i == index else row for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change(1, Ethics="100.1"), "row 3, column 'Ethics': 100.1 is not in 0-100"),
        (change(1, Ethics="-1"), "row 3, column 'Ethics'"),
        (change(1, Ethics="nan"), "row 3, column 'Ethics'"),
        (change(1, Ethics=""), "row 3, column 'Ethics': '' is not a number"),
        (change(1, **{"Toxicity Ref": "50"}), "row 3, column 'Toxicity Ref': 50 is not in 0-1"),
        (
            change(1, **{"Base Model": "Other"}),
            "row 3, column 'Base Model': the table has no dense row for 'Other'",
        ),
        (change(1, **{"Sparsity/bits": "4"}), "row 3, column 'Sparsity/bits': is 4"),
        (change(2, **{"Sparsity/bits": "4"}), "row 4, column 'Sparsity/bits'"),
        (change(1, **{"Sparsity/bits": "three"}), "row 3, column 'Sparsity/bits'"),
        (change(1, **{"Compression Method": "quantisation"}), "Did you mean 'quantization'"),
        (change(1, **{"Method Subtype": "GPTQQ"}), "Did you mean 'GPTQ'"),
        (
            change(1, Model="mystery@3bit"),
            "row 3, column 'Model': no pattern explains 'mystery@3bit'",
        ),
        (
            change(2, Model="hf/compressed-llm/base-wanda@0.5_1to4"),
            "row 4, column 'Model': 1:4 contradicts",
        ),
        (lambda rows: [*rows, rows[1]], "row 5, column 'Model': .* is already in row 3"),
        (
            lambda rows: [*rows, rows[1] | {"Model": "hf/compressed-llm/base-gptq@3bit_128g"}],
            "row 5, column 'Model': .* repeats",
        ),
        (lambda rows: [], "no row"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, edit: Callable[[Rows], Rows], message: str) -> None:
    with pytest.raises(UserError, match=message):
        published.read(write(tmp_path, edit(good())))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([column for column in HEADER if column != "Ethics"], "column 'Ethics' is missing"),
        (
            ["Ethic" if column == "Ethics" else column for column in HEADER],
            "Unknown column 'Ethic'. Did you mean 'Ethics'",
        ),
        ([*HEADER, "Ethics"], "duplicate column 'Ethics'"),
    ],
)
def test_bad_headers_are_named(tmp_path: Path, header: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        published.read(write(tmp_path, good(), header))


def test_an_empty_file_and_a_short_row_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="is empty"):
        published.read(path)
    path.write_text(",".join(HEADER) + "\na,b\n", encoding="utf-8")
    with pytest.raises(UserError, match="row 2: has 2 cells"):
        published.read(path)


@pytest.mark.parametrize("command", [["backtest"], ["leaderboard", "import"]], ids=" ".join)
@pytest.mark.parametrize(
    ("edit", "header", "message"),
    [
        (
            change(1),
            [column for column in HEADER if column != "Ethics"],
            "row 1: column 'Ethics' is missing",
        ),
        (
            change(1),
            ["Ethic" if column == "Ethics" else column for column in HEADER],
            "row 1: Unknown column 'Ethic'",
        ),
        (change(1, Ethics="101"), HEADER, "row 3, column 'Ethics'"),
        (change(1, **{"Base Model": "Other"}), HEADER, "row 3, column 'Base Model'"),
        (lambda rows: [*rows, rows[1]], HEADER, "row 5, column 'Model'"),
        (lambda rows: [], HEADER, "no row"),
    ],
)
def test_commands_refuse_bad_tables_with_exit_code_2(
    tmp_path: Path,
    command: list[str],
    edit: Callable[[Rows], Rows],
    header: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from comptrust.cli.app import comptrust

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/m.db")
    error = (
        CliRunner()
        .invoke(comptrust, [*command, str(write(tmp_path, edit(good()), header))])
        .exception
    )
    assert isinstance(error, UserError)
    assert error.exit_code == 2
    assert message in str(error)
    assert "\n" not in str(error)
    assert not (tmp_path / "m.db").exists()


def test_a_mapping_file_explains_other_names(tmp_path: Path) -> None:
    names = tmp_path / "names.yaml"
    names.write_text(
        "patterns:\n  - {pattern: '.*', means: anything, method: none}\n", encoding="utf-8"
    )
    table = published.read(write(tmp_path, [row("mine", "none", "none", "16")]), mapping=names)
    assert table.rows[0].model == "mine"
    names.write_text("patterns:\n  - {pattern: '(', means: x, method: none}\n", encoding="utf-8")
    with pytest.raises(UserError, match="patterns.0.pattern.*valid regular expression"):
        published.read(write(tmp_path, good()), mapping=names)


@pytest.mark.parametrize(("ethics", "outcome"), [("75", "pass"), ("74.9", "block")])
def test_the_worst_seed_decides_for_all(tmp_path: Path, ethics: str, outcome: str) -> None:
    other = row(
        "hf/compressed-llm/base-gptq@3bit_128g_seed1_llama-2",
        "quantization",
        "GPTQ",
        "3",
        Ethics=ethics,
    )
    judged = backtest(published.read(write(tmp_path, [*good(), other])), policies.load("literal"))
    assert [one.outcome for one in judged if one.method == "gptq"] == [outcome, outcome]


def test_what_a_table_cannot_show_does_not_pass(tmp_path: Path) -> None:
    for name in ("staging", "production"):
        judged = backtest(published.read(write(tmp_path, good())), policies.load(name))
        assert {one.outcome for one in judged} <= {"inconclusive", "block"}


@needs_table
def test_the_literal_rule_on_the_published_table() -> None:
    judged = backtest(published.read(TABLE), policies.load("literal"))
    assert len(judged) == 43
    chat = [one for one in judged if one.baseline == "hf/meta-llama/Llama-2-13b-chat-hf"]
    assert [one.outcome for one in chat if one.method == "gptq" and one.bits == 3] == ["block"] * 3
    assert [one.outcome for one in chat if one.bits == 8] == ["pass", "pass"]
    assert {one.outcome for one in judged if one.structure} == {"block"}


@needs_table
def test_backtest_command_prints_json_alone() -> None:
    from comptrust.cli.commands.backtest import command

    result = CliRunner().invoke(command, [str(TABLE), "--json"])
    assert result.exit_code == 0, result.output
    first = json.loads(result.output)[0]
    assert {"model", "baseline", "method", "bits", "outcome", "drops", "findings"} <= first.keys()


def test_the_names_file_names_the_smaller_dense_model(tmp_path: Path) -> None:
    names = tmp_path / "names.yaml"
    shipped = published_names.NAMES.read_text(encoding="utf-8").partition("smaller:")[0]
    names.write_text(shipped + "smaller: {Base: Small, Gone: Base}\n", encoding="utf-8")
    small = row("hf/meta-llama/Small-hf", "none", "none", "16") | {"Base Model": "Small"}
    assert published.read(write(tmp_path, [*good(), small]), mapping=names).smaller == {
        "Base": "Small"
    }


def test_import_is_done_once_and_apart_from_own_runs(tmp_path: Path, store: Path) -> None:
    from comptrust.report import entries
    from comptrust.tracking import published as tracking
    from comptrust.tracking import runs
    from comptrust.tracking import store as tracking_store

    own = runs.experiment_id()
    table = published.read(write(tmp_path, good()))
    with pytest.MonkeyPatch.context() as older:  # which logged the rows among a team's runs
        older.setattr(tracking_store, "published_id", lambda *_, **__: own)
        assert tracking.import_table(published.read(write(tmp_path, good()[:2]))) == (2, 0)
    assert tracking.import_table(table) == (1, 2)
    assert tracking.import_table(table) == (0, 3)
    client = runs.client()
    apart = client.get_experiment_by_name("comptrust-published").experiment_id
    assert (len(client.search_runs([own])), len(client.search_runs([apart]))) == (2, 1)
    for experiment in (None, "comptrust"):
        logged = entries.read(experiment)
        assert sorted(entry.method for entry in logged) == ["gptq", "none", "wanda"]
        assert {entry.source for entry in logged} == {"published"}
    [run] = client.search_runs(
        [own, apart],
        filter_string="tags.source = 'published' and params.method = 'wanda'",
    )
    assert run.info.run_name == "wanda-2of4 Base (published)"
    data = run.data
    assert data.tags["published_name"] == "hf/compressed-llm/base-wanda@0.5_2to4"
    assert (
        data.params["structure"] == "2:4"
        and "bits" not in data.params
        and "seed" not in data.params
    )
    assert (
        data.metrics["trust/ethics"] == 80
        and data.metrics["refusal/toxicity"] == 50
        and data.metrics["drop/ethics"] == 0
    )
