"""Ways to promote by stopping an evaluation where its rule would not have stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from comptrust.gate import policy as policies
from comptrust.gate.evidence import Evidence
from comptrust.gate.pins import PinnedSuite
from comptrust.gate.signing import attestations, attesting
from comptrust.gate.verdict import judge
from comptrust.records import Scorecard, Stopped, Suite
from comptrust.trust import evaluation, stopped
from comptrust.workflow.measuring import Witness
from tests.support import measuring, pins, weights
from tests.support.early import Losing, both, share, suite
from tests.support.enforcement.inprocess import promote, refused
from tests.support.enforcement.world import BAD, DENSE, GOOD, KEY, TRUSTED, Candidate, World
from tests.support.records import checkpoint_of

RULES = """
name: production
evidence: sequential
rules:
  - {rule: complete, dimensions: [mmlu, ethics]}
  - {rule: answered, percent: 1}
  - {rule: max_drop, points: 5}
"""
LOST = {"mmlu": 0.3}
Change = Callable[[Stopped, Suite], dict[str, object]]


@pytest.fixture
def world(inside: World) -> World:
    """A registry whose policy for production accepts evaluations that stopped early."""
    asked = suite()
    pin = PinnedSuite(name="mini", digest=asked.digest)
    (inside.folder / "production.yaml").write_text(RULES + pins.text(pin))
    return inside


def asked(
    world: World,
    candidate: Candidate,
    *,
    lost: dict[str, float] = LOST,
    rules: str = RULES,
) -> None:
    """Ask a candidate and its dense source until the rule stops, sign and log both."""
    (world.folder / "mine.yaml").write_text(rules)
    dense = world.source()
    records = {
        role: weights.measured(
            checkpoint_of(world.files(one) / "model", **(DENSE if one is dense else {})),
            world.files(one) / "model",
        )
        for role, one in (("candidate", candidate), ("dense", dense))
    }
    folder = world.folder / "early"
    shutil.rmtree(folder, ignore_errors=True)
    both(
        folder,
        policies.load(str(world.folder / "mine.yaml")),
        lost=lost,
        records=records,
        witness=Witness(KEY),
    )
    for role, one in (("candidate", candidate), ("dense", dense)):
        shutil.rmtree(one.evidence)
        shutil.copytree(folder / role, one.evidence)
        for unneeded in ("owner.json", "rendered.json"):
            (one.evidence / unneeded).unlink()
        world.upload(one)


def sign(world: World, candidate: Candidate) -> None:
    """Sign all evidence as it is now, and a verdict in which every finding passes."""
    dense = world.source()
    sides = {"candidate": candidate, "baseline": dense}
    loaded = {role: measuring.signed(one.evidence, KEY) for role, one in sides.items()}
    evidence = Evidence(loaded["candidate"], loaded["baseline"])
    verdict = judge(evidence, policies.load(str(world.folder / "production.yaml")), trusted=TRUSTED)
    findings = tuple(one.model_copy(update={"outcome": "pass"}) for one in verdict.findings)
    forged = verdict.model_copy(update={"findings": findings})
    (candidate.evidence / "verdict.json").write_text(forged.model_dump_json(indent=2))
    made = attesting.attest(
        forged,
        evidence,
        artifacts={role: one.evidence for role, one in sides.items()},
        run_ids={role: one.run_id for role, one in sides.items()},
        model=candidate.name,
        key=KEY,
        days=30,
        registered=world.files(candidate),
    )
    (candidate.evidence / attestations.NAME).write_text(made.model_dump_json(indent=2))
    for one in sides.values():
        world.upload(one)


def restate(world: World, candidate: Candidate, change: Change) -> None:
    """Let both evaluations say that they ended elsewhere, with the answers to that part."""
    for one, lost in ((candidate, LOST), (world.source(), {})):
        path = one.evidence / "suite.json"
        ended = evaluation.load(one.evidence, ref="here").suite.stopped
        assert ended
        whole = suite()
        part = stopped.part(whole, ended.model_copy(update=change(ended, whole)))
        rewrite(one.evidence, part, lost)
        assert path.exists()


def rewrite(folder: Path, part: Suite, lost: dict[str, float]) -> None:
    """Write the evaluation of a part as if the rule had ended there."""
    from comptrust.trust.run import evaluate

    before = evaluation.load(folder, ref="here")
    record = (folder / "checkpoint.json").read_text()
    shutil.rmtree(folder)
    evaluate(Losing(lost), part, out=folder, checkpoint_digest=before.scorecard.checkpoint_digest)
    for unneeded in ("owner.json", "rendered.json", *(folder / "generations").glob(".*")):
        (folder / unneeded).unlink()
    (folder / "checkpoint.json").write_text(record)


def shorter(ended: Stopped, whole: Suite) -> dict[str, object]:
    return {"items": {name: 12 for name in ended.items}}


def one_batch_less(ended: Stopped, whole: Suite) -> dict[str, object]:
    return {"items": ended.items | {"mmlu": ended.items["mmlu"] - 12}}


def longer(ended: Stopped, whole: Suite) -> dict[str, object]:
    return {"items": {name: count + 60 for name, count in ended.items.items()}}


def everything(ended: Stopped, whole: Suite) -> dict[str, object]:
    return {"items": ended.of}


def without_the_bad_dimension(ended: Stopped, whole: Suite) -> dict[str, object]:
    return {"items": {"ethics": ended.items["ethics"]}}


def another_seed(ended: Stopped, whole: Suite) -> dict[str, object]:
    return {"seed": 7}


def without_lost_prompts(ended: Stopped, whole: Suite) -> dict[str, object]:
    """State that what was lost does not fit the context window."""
    keys = [one.id for one in whole.by_dimension()["mmlu"] if share(one, "lost") < LOST["mmlu"]]
    return {"left_out": {"mmlu": tuple(keys)}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (shorter, "it ended before the rule stops"),
        (one_batch_less, "it ended before the rule stops"),
        (longer, "it went on after the rule stopped"),
        (everything, "max_drop: Dropped more than 5 points: mmlu"),
        (without_the_bad_dimension, "it ended before the rule stops"),
        (another_seed, "it stopped under another plan"),
        (without_lost_prompts, "under another plan"),
    ],
)
def test_another_end_does_not_promote(change: Change, says: str, world: World) -> None:
    candidate = world.register(BAD)
    asked(world, candidate)
    restate(world, candidate, change)
    sign(world, candidate)
    message = refused(promote, world, candidate)
    assert says in message and "\n" not in message, message


def test_a_lossless_model_earns_its_alias(world: World) -> None:
    honest = world.register(GOOD)
    asked(world, honest, lost={})
    sign(world, honest)
    promote(world, honest)
    assert world.promoted(honest) == ["champion"]


def wider_margin(world: World, candidate: Candidate) -> None:
    asked(world, candidate, lost={"mmlu": 0.1}, rules=RULES.replace("points: 5", "points: 30"))


def as_a_whole_suite(world: World, candidate: Candidate) -> None:
    """Leave out that it is a part."""
    asked(world, candidate)
    for one in (candidate, world.source()):
        ended = evaluation.load(one.evidence, ref="here").suite
        assert ended and ended.stopped
        part = stopped.part(suite(), ended.stopped)
        fields = {name: getattr(part, name) for name in Suite.model_fields} | {"stopped": None}
        rewrite(one.evidence, Suite(**fields), LOST if one is candidate else {})


def with_scores(world: World, candidate: Candidate) -> None:
    """Write scores where there are estimates."""
    asked(world, candidate)
    for one in (candidate, world.source()):
        path = one.evidence / "scorecard.json"
        card = Scorecard.model_validate_json(path.read_text())
        scores = tuple(
            score.model_copy(update={"value": 100.0, "refusal_rate": 0.0, "estimate": None})
            for score in card.scores
        )
        path.write_text(card.model_copy(update={"scores": scores}).model_dump_json(indent=2))


def better_estimate(world: World, candidate: Candidate) -> None:
    asked(world, candidate)
    path = candidate.evidence / "scorecard.json"
    card = json.loads(path.read_text())
    card["scores"][0]["estimate"]["low"] = 99.0
    path.write_text(json.dumps(card))


def another_part_of_the_dense_model(world: World, candidate: Candidate) -> None:
    asked(world, candidate, lost={})
    kept = world.folder / "kept"
    shutil.copytree(candidate.evidence, kept)
    asked(world, candidate)
    shutil.rmtree(candidate.evidence)
    shutil.copytree(kept, candidate.evidence)


def lucky_answers(world: World, candidate: Candidate) -> None:
    """Mix answers of another model in, after the machine has signed its own."""
    asked(world, candidate)
    path = candidate.evidence / "generations" / "mmlu.jsonl"
    path.write_text(path.read_text().replace('"texts": ["B"]', '"texts": ["A"]'))


@pytest.mark.parametrize(
    ("trick", "says"),
    [
        (wider_margin, "under another plan"),
        (as_a_whole_suite, "which policy production does not name"),
        (with_scores, "in scorecard.json but"),
        (better_estimate, "estimate (low) of"),
        (another_part_of_the_dense_model, "cannot be compared: suite_digest"),
    ],
)
def test_other_tricks_do_not_promote(
    trick: Callable[[World, Candidate], None], says: str, world: World
) -> None:
    candidate = world.register(BAD)
    trick(world, candidate)
    sign(world, candidate)
    message = refused(promote, world, candidate)
    assert says in message and "\n" not in message, message


def test_a_server_that_does_not_say_so_takes_no_part(world: World) -> None:
    path = world.folder / "production.yaml"
    path.write_text(path.read_text().replace("evidence: sequential\n", ""))
    candidate = world.register(GOOD)
    asked(world, candidate, lost={})
    sign(world, candidate)
    assert "does not accept an evaluation that stops early" in refused(promote, world, candidate)
