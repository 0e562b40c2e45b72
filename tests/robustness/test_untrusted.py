"""Robustness against untrusted data: no path leaves its folder, no markup reaches a page.

Credentials appear in no error, log, parameter or tag.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from comptrust.cli.app import Redacting
from comptrust.errors import UserError
from comptrust.models import sources
from comptrust.records import Generation, Message, Prompt, Recipe
from comptrust.report import markup
from comptrust.tracking import runs
from tests.support import samples
from tests.support.shell import Shell

SCRIPT = "<script>alert('planted')</script><img src=x onerror=alert(1)>\" onmouseover=\"alert(2)"


class Handlers(HTMLParser):
    """Collects the attributes of a page that would call alert."""

    def __init__(self) -> None:
        super().__init__()
        self.planted: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.planted += [
            f"{tag} {name}"
            for name, value in attrs
            if name.startswith("on") and "alert(" in (value or "")
        ]


@pytest.mark.parametrize(
    "name", ["../../../secret", "/etc/passwd", "..", "mmlu/../../secret", "mmlu\x00"]
)
def test_a_scorecard_names_no_file_but_its_own(name: str, shell: Shell) -> None:
    folder = samples.evaluation(shell.folder / "traversal").parent
    (shell.folder / "secret.jsonl").write_text("{}\n")
    card = json.loads((folder / "scorecard.json").read_text())
    card["generations"][name] = "0" * 64
    (folder / "scorecard.json").write_text(json.dumps(card))
    assert "Unknown dimension" in shell.refused("gate", str(folder))
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["../x", "a/../../x", ".."])
def test_an_experiment_name_leads_nowhere_else(
    name: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    monkeypatch.setenv("COMPTRUST_ARTIFACT_URI", (shell.folder / "kept").as_uri())
    assert "points outside" in shell.refused("report")


def test_a_link_out_of_a_model_folder_is_not_followed(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("words that are nobody's business")
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "notes.txt").symlink_to("config.json")
    assert sources.resolve(str(folder)).revision
    (folder / "README.md").symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match="outside the model's folder"):
        sources.resolve(str(folder))


def test_a_model_in_the_cache_of_hugging_face_is_read(tiny_model: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / ("a" * 40)
    blobs = snapshot.parents[1] / "blobs"
    shutil.copytree(tiny_model, blobs)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
    assert sources.resolve(str(snapshot)).path == snapshot


def test_markup_in_prompts_and_answers_is_text_in_results(tmp_path: Path) -> None:
    from comptrust.gate.expectations import frames

    asked = [
        Prompt(
            id=f"{SCRIPT}#{n}",
            dimension="ethics",
            scenario=SCRIPT,
            messages=(Message(role="user", content=SCRIPT),),
        )
        for n in (1, 1)
    ]
    with pytest.raises(UserError, match="not true of"):
        frames.validate_prompts(asked, out=tmp_path)
    given = [
        Generation(dimension="ethics", scenario=SCRIPT, id=f"{SCRIPT}#{n}", texts=(SCRIPT,))
        for n in (2, 3)
    ]
    with pytest.raises(UserError, match="not true of"):
        frames.validate_generations(asked[:1], {"ethics": given}, out=tmp_path)
    pages = [path.read_text() for path in tmp_path.rglob("*.html")]
    shown = [page for page in pages if "planted" in page]
    assert shown, "no page shows what was planted, so this test shows nothing"
    for page in pages:
        assert "<script>alert(" not in page and "<img src=x" not in page
        found = Handlers()
        found.feed(page)
        assert not found.planted


def test_markup_is_text_in_a_model_card() -> None:
    assert "<" not in markup.markdown_table(("a", "b"), [(SCRIPT, "two\nlines | and a bar")])


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HF_TOKEN", "hf_hushhushhush")
    return "hf_hushhushhush"


def test_no_credential_in_an_error_or_a_progress_line(token: str, shell: Shell) -> None:
    for line in (
        f"evaluate ./{token}",
        f"gate {token}",
        f"run --method {token}",
        "evaluate m --backend openai --base-url http://u:hidden-word@",
    ):
        told = shell.refused(*line.split())
        assert token not in told and "hidden-word" not in told


def test_no_credential_in_a_log(token: str) -> None:
    record = logging.LogRecord(
        "mlflow",
        logging.INFO,
        "",
        0,
        "asking %s with %s",
        ("postgresql://me:hidden-word@db/x", token),
        None,
    )
    shown = Redacting("%(message)s").format(record)
    assert shown == "asking postgresql://me:***@db/x with ***"
    try:
        raise RuntimeError(f"failed with {token}")
    except RuntimeError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert token not in Redacting("%(message)s").format(record)


def test_no_credential_in_params_and_tags(
    token: str, shell: Shell, tell: Callable[[str], None]
) -> None:
    recipe = Recipe(
        base_model="m",
        method="gptq",
        bits=4,
        calibration=f"hf:https://me:hidden-word@host/{token}",
        options={"note": token},
    )
    with runs.start("hushed") as run:
        run.recipe(recipe, suite="mini")
    kept = str(runs.client().get_run(run.id).data.to_dictionary())
    assert "option.note" in kept and token not in kept and "hidden-word" not in kept
