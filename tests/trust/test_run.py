"""Evaluating a suite: answers survive an interruption, are one model's, and become a scorecard."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from comptrust import digests
from comptrust.errors import UserError
from comptrust.models.base import DECODING
from comptrust.records import Generation, Message, Prompt, Suite
from comptrust.trust.run import evaluate
from tests.support.echo import Echo
from tests.support.questions import Recording, suite

ROOT = Path(__file__).parents[2]


def test_scorecard(tmp_path: Path) -> None:
    questions, echo = suite(), Echo("A")
    done = evaluate(echo, questions, out=tmp_path, checkpoint_digest="c" * 64)
    [score] = done.scorecard.scores
    assert (score.dimension, score.value, score.n_prompts, score.n_scored) == ("mmlu", 25.0, 4, 4)
    assert done.scorecard.suite_digest == questions.digest
    assert done.scorecard.checkpoint_digest == "c" * 64
    assert done.scorecard.rendering_digest == digests.of_value(
        {"decoding": DECODING, "prompts": [echo.render(prompt) for prompt in questions.prompts]}
    )
    assert done.scorecard.generations == {
        "mmlu": digests.of_file(tmp_path / "generations" / "mmlu.jsonl")
    }
    assert {
        "backend",
        "template",
        "code_version",
        "code_commit",
        "data_revision",
    } <= done.scorecard.provenance.keys()
    assert {
        "python",
        "system",
        "processor",
        "cores",
        "torch",
        "numpy",
        "prompts/mmlu",
    } <= done.scorecard.provenance.keys()
    assert [answer.id for answer in done.generations["mmlu"]] == [
        prompt.id for prompt in questions.prompts
    ]
    assert json.loads((tmp_path / "rendered.json").read_text()) == {
        "mmlu/mmlu": echo.render(questions.prompts[0])
    }
    assert json.loads((tmp_path / "suite.json").read_text())["digest"] == questions.digest


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    first = evaluate(Echo(), suite(), out=tmp_path, checkpoint_digest="c")
    again = Recording()
    assert (
        evaluate(again, suite(), out=tmp_path, checkpoint_digest="c").scorecard == first.scorecard
    )
    assert again.asked == []


@pytest.mark.parametrize("cut", ["in the middle", "inside a character", "before the newline"])
def test_a_torn_line_is_asked_again(tmp_path: Path, cut: str) -> None:
    whole = evaluate(Echo(), suite(), out=tmp_path, checkpoint_digest="c").scorecard
    partial = tmp_path / "generations" / ".mmlu.partial.jsonl"
    first, second, *_ = partial.read_bytes().splitlines(keepends=True)
    if cut == "inside a character":
        second = json.dumps(json.loads(second), ensure_ascii=False).encode()
    length = {
        "in the middle": 30,
        "inside a character": second.find(b"\xc3") + 1,
        "before the newline": len(second) - 1,
    }[cut]
    partial.write_bytes(first + second[:length])
    again = Recording()
    assert evaluate(again, suite(), out=tmp_path, checkpoint_digest="c").scorecard == whole
    assert again.asked == ["mmlu#1", "mmlu#2", "mmlu#3"]


STOPPED = """
import os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.support.questions import Recording, suite
from comptrust.errors import ServiceError
from comptrust.trust.run import evaluate

out = Path({out!r})

class Stopping(Recording):
    def answer(self, prompts):
        for number, answer in enumerate(super().answer(prompts)):
            if number == 2 and {how!r} == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 2:
                size = (out / "generations" / ".mmlu.partial.jsonl").stat().st_size
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20))
            yield answer

try:
    evaluate(Stopping(), suite(), out=out, checkpoint_digest="c")
except ServiceError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(("how", "status"), [("killed", -signal.SIGKILL), ("no space", 1)])
def test_a_stopped_run_continues(tmp_path: Path, how: str, status: int) -> None:
    code = STOPPED.format(root=str(ROOT), out=str(tmp_path / "stopped"), how=how)
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert dead.returncode == status, dead.stderr
    assert (
        how == "killed"
        or "Cannot write" in dead.stderr
        and "2 of 4 answers are kept" in dead.stderr
    )
    assert not (tmp_path / "stopped" / "scorecard.json").exists()
    again = Recording()
    done = evaluate(again, suite(), out=tmp_path / "stopped", checkpoint_digest="c")
    assert again.asked == ["mmlu#2", "mmlu#3"]
    assert (
        done.scorecard
        == evaluate(Echo(), suite(), out=tmp_path / "whole", checkpoint_digest="c").scorecard
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "generations/.mmlu.partial.jsonl",
            b'{"broken\n{}\n',
            r"\.mmlu\.partial\.jsonl, line 1: not valid JSON",
        ),
        (
            "generations/.mmlu.partial.jsonl",
            b"\xff\xff\n{}\n",
            r"\.mmlu\.partial\.jsonl, line 1 is not UTF-8",
        ),
        (
            "generations/.mmlu.partial.jsonl",
            b"{}\n",
            r"\.mmlu\.partial\.jsonl, line 1: field 'dimension'",
        ),
        ("owner.json", b"{\n  broken", r"owner\.json, line 2: not valid JSON"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    evaluate(Echo(), suite(), out=tmp_path, checkpoint_digest="c")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        evaluate(Echo(), suite(), out=tmp_path, checkpoint_digest="c")


@pytest.mark.parametrize(
    ("text", "words", "digest"),
    [
        (None, "another suite", "c"),
        (None, "drei mal zwei plus eins", "another model"),
        ("another backend", "drei mal zwei plus eins", "c"),
    ],
)
def test_answers_of_another_are_refused(
    tmp_path: Path, text: str | None, words: str, digest: str
) -> None:
    evaluate(Echo(), suite(), out=tmp_path, checkpoint_digest="c")
    card = (tmp_path / "scorecard.json").read_bytes()
    with pytest.raises(UserError, match="holds answers of another model, suite or backend"):
        evaluate(Echo(text), suite(seven=words), out=tmp_path, checkpoint_digest=digest)
    assert (tmp_path / "scorecard.json").read_bytes() == card


def test_answers_are_checked_before_they_are_scored(tmp_path: Path) -> None:
    def refuse(answers: object) -> None:
        raise UserError("refused")

    with pytest.raises(UserError, match="refused"):
        evaluate(Echo(), suite(), out=tmp_path, checkpoint_digest="c", check=refuse)
    assert not (tmp_path / "scorecard.json").exists()


class Unreachable(Echo):
    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        raise ConnectionRefusedError(111, "Connection refused")


def test_a_failing_backend_is_not_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError):
        evaluate(Unreachable(), suite(), out=tmp_path, checkpoint_digest="c")


def test_a_failing_toxicity_scorer_measures_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Perspective scorer is the real one, but nothing listens on its port."""
    from comptrust.trust.scorers import perspective

    monkeypatch.setenv(perspective.KEY, "none")
    settings = {"url": "http://127.0.0.1:9", "rate": 1e6, "attempts": 1, "wait": 0}
    monkeypatch.setattr(perspective.Perspective.__init__, "__kwdefaults__", settings)
    go_on = Prompt(
        id="benign#0",
        dimension="toxicity",
        scenario="benign",
        messages=(Message(role="user", content="Go on."),),
        target="words",
    )
    prompts = (go_on, go_on.model_copy(update={"id": "benign#1"}))
    scorer = {"toxicity": perspective.Perspective().identity}
    texts = Suite(
        name="texts",
        revision="1",
        prompts=prompts,
        required={"toxicity": ("benign",)},
        scorers=scorer,
    )
    done = evaluate(Echo(), texts, out=tmp_path, checkpoint_digest="c", allow_partial=True)
    assert [answer.extra["toxicity"] for answer in done.generations["toxicity"]] == [None, None]
    [score] = done.scorecard.scores
    assert (score.value, score.n_scored) == (None, 0)


def test_a_kept_answer_with_nan_is_refused(tmp_path: Path) -> None:
    evaluate(Echo(), suite(), out=tmp_path, checkpoint_digest="c")
    partial = tmp_path / "generations" / ".mmlu.partial.jsonl"
    partial.write_text(partial.read_text().replace('"margin": 1.0', '"margin": NaN', 1))
    with pytest.raises(UserError, match=r"partial.jsonl, line 1: .*NaN is not a finite number"):
        evaluate(Echo(), suite(), out=tmp_path, checkpoint_digest="c")
