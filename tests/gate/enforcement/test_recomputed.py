"""The server believes no number: it scores the answers again and measures the weights."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from comptrust.gate import earlier
from comptrust.gate import policy as policies
from comptrust.gate.enforcement import blocks
from comptrust.gate.enforcement.store import GuardedStore
from comptrust.gate.signing import attestations, keys
from comptrust.gate.signing.waivers import Waiver
from comptrust.records import Verdict
from tests.support.enforcement.inprocess import a_pass, promote, refused
from tests.support.enforcement.tricks import DAY
from tests.support.enforcement.world import BAD, GOOD, KEY, Candidate, World, questions
from tests.support.measuring import sealed, signed

NOW = datetime.datetime.now(datetime.UTC)
DENSE_ONLY = {"method": "none", "bits": None, "group_size": None}


def rewritten(world: World, candidate: Candidate, name: str, old: str, new: str) -> None:
    """Change a file of the run, as a machine that evaluates wrongly would have written it."""
    path = candidate.evidence / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    signed(candidate.evidence, KEY)
    world.upload(candidate)


def score(value: str, *, old: str = "25.0") -> Callable[[World], Candidate]:
    def make(world: World) -> Candidate:
        candidate = world.register(BAD)
        rewritten(world, candidate, "scorecard.json", f'"value": {old}', f'"value": {value}')
        world.gate(candidate)
        return candidate

    return make


def record(old: str, new: str) -> Callable[[World], Candidate]:
    def make(world: World) -> Candidate:
        candidate = world.register(GOOD, spare=32)
        text = (candidate.evidence / "checkpoint.json").read_text()
        [line] = [line for line in text.splitlines() if line.strip().startswith(f'"{old}":')]
        rewritten(world, candidate, "checkpoint.json", line, f'  "{old}": {new},')
        world.gate(candidate, policy_name="staging")
        return candidate

    return make


def refusals(world: World) -> Candidate:
    candidate = world.register(GOOD, refuses=True)
    rewritten(world, candidate, "scorecard.json", '"refusal_rate": 25.0', '"refusal_rate": 0.0')
    world.gate(candidate)
    return candidate


def without_answers(world: World) -> Candidate:
    candidate = world.register(GOOD)
    shutil.rmtree(candidate.evidence / "generations")
    text = (candidate.evidence / "scorecard.json").read_text()
    start = text.index('"generations"')
    end = text.index("}", start) + 1
    (candidate.evidence / "scorecard.json").write_text(
        f'{text[:start]}"generations": {{}}{text[end:]}'
    )
    artifacts = world.folder / "artifacts" / candidate.run_id / "artifacts"
    shutil.rmtree(artifacts / "generations")
    signed(candidate.evidence, KEY)
    world.upload(candidate)
    world.gate(candidate, policy_name="shown")
    return candidate


def bits(world: World) -> Candidate:
    """Four bits that call themselves eight."""
    candidate = world.register(GOOD)
    rewritten(world, candidate, "checkpoint.json", '"bits": 4', '"bits": 8')
    world.gate(candidate)
    return candidate


def pruned(world: World) -> Candidate:
    """A dense model that calls itself pruned."""
    candidate = world.register(GOOD, method="magnitude", bits=None, group_size=None, sparsity=0.5)
    rewritten(world, candidate, "checkpoint.json", '"sparsity": 0.0', '"sparsity": 0.5')
    world.gate(candidate, policy_name="staging")
    return candidate


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (score("75.0"), "score of mmlu is 75.0 in scorecard.json but 25.0 from its answers"),
        (score("76.0"), "score of mmlu is 76.0 in scorecard.json but 25.0 from its answers"),
        (refusals, "refusal rate of mmlu is 0.0 in scorecard.json but 25.0 from its answers"),
        (without_answers, "There are no answers of mmlu"),
        (record("bytes", "100"), "bytes is 100 in checkpoint.json but "),
        (
            record("dense_bytes", "999999"),
            "The dense source has 999999 bytes in the candidate's checkpoint.json and 8400",
        ),
        (record("effective_bits", "8.5"), "effective_bits is 8.50 in checkpoint.json but 4.5"),
        (bits, "bits of the recipe is 8 in checkpoint.json but 4 in the weight files"),
        (pruned, "sparsity is 0.500 in checkpoint.json but 0.000 in the weight files"),
    ],
)
def test_a_number_that_is_not_that_of_answers_and_files(
    inside: World, make: Callable[[World], Candidate], says: str
) -> None:
    candidate = make(inside)
    message = refused(promote, inside, candidate, "challenger")
    assert says in message and "\n" not in message
    inside.pass_truly(honest := inside.register(GOOD))
    promote(inside, honest)


def test_a_score_beyond_its_range_is_not_read(inside: World) -> None:
    candidate = a_pass(inside)
    for value in ("1000.0", "-1.0"):
        path = candidate.evidence / "scorecard.json"
        text = path.read_text().replace('"value": 75.0', f'"value": {value}')
        with pytest.raises(Exception, match="not within 0-100"):
            type(inside).gate(inside, _with(candidate, text))
    promote(inside, candidate)


def _with(candidate: Candidate, text: str) -> Candidate:
    (candidate.evidence / "scorecard.json").write_text(text)
    return candidate


def test_a_dense_model_is_not_promoted_by_comparing_it_with_itself(inside: World) -> None:
    candidate = inside.register(GOOD, **DENSE_ONLY)
    inside.dense = candidate
    inside.gate(candidate, policy_name="lax")
    assert "The signed verdict is inconclusive" in refused(promote, inside, candidate)
    (inside.folder / "lax.yaml").write_text(
        (inside.folder / "lax.yaml").read_text() + "dense: allowed\n"
    )
    signed = inside.gate(candidate, policy_name="lax")
    assert signed is not None and signed.verdict.outcome == "pass"
    assert "declared dense (method none)" in refused(promote, inside, candidate)


def test_a_signature_is_valid_as_long_as_the_servers_policy_says(inside: World) -> None:
    candidate = inside.register(GOOD)
    inside.gate(candidate, days=3650, now=NOW - 91 * DAY)
    message = refused(promote, inside, candidate)
    assert f"The signature expired on {NOW - DAY:%Y-%m-%d}" in message
    inside.gate(candidate, days=3650, now=NOW - 89 * DAY)
    promote(inside, candidate)


@pytest.mark.parametrize(("ahead", "counts"), [(40, True), (86_400, False), (120, False)])
def test_clocks_may_differ_by_a_minute(inside: World, ahead: int, counts: bool) -> None:
    candidate = inside.register(GOOD)
    now = datetime.datetime.now(datetime.UTC)
    inside.gate(candidate, now=now + datetime.timedelta(seconds=ahead))
    if counts:
        promote(inside, candidate)
        return
    message = refused(promote, inside, candidate)
    assert "is not valid until" in message and "Set the clock that is wrong" in message


def narrowed(world: World, items: int, *, seal: bool = False) -> tuple[Candidate, Candidate]:
    """Block a version, then register its bytes again and pass them on other items."""
    blocked = world.register(BAD)
    world.gate(blocked)
    world.client.set_tag(blocked.run_id, "checkpoint_digest", _digest(blocked))
    assert world.dense is not None
    suite, rules = questions(items), policies.load(str(world.folder / "production.yaml"))
    place = sealed(world.folder / "seal.json", KEY, suite, rules) if seal else None
    for candidate in (world.dense, again := _again(world, blocked)):
        recipe = DENSE_ONLY if candidate is world.dense else {}
        world.evaluate(candidate, GOOD, suite=suite, seal=place, **recipe)
    world.gate(again)
    return blocked, again


def _again(world: World, candidate: Candidate) -> Candidate:
    return world.register(GOOD, files=world.files(candidate))


def _claim(candidate: Candidate) -> dict[str, str]:
    return {"checkpoint_digest": _digest(candidate)}


def _digest(candidate: Candidate) -> str:
    return str(json.loads((candidate.evidence / "checkpoint.json").read_text())["digest"])


@pytest.mark.parametrize("items", [4, 8])
def test_a_narrower_question_erases_no_block(inside: World, items: int) -> None:
    blocked, again = narrowed(inside, items)
    message = refused(promote, inside, again)
    assert f"earlier_block: The same bytes were blocked before (runs:/{blocked.run_id})" in message
    # A deleted run counts as well.
    inside.client.delete_run(blocked.run_id)
    assert "earlier_block" in refused(promote, inside, again)
    # A named human may accept it.
    waiver = Waiver(
        rule=earlier.RULE,
        checkpoint=_digest(again),
        who="Ada",
        why="the first questions were wrong",
        until=(NOW + DAY).date(),
    )
    policy = inside.folder / "production.yaml"
    signed = keys.sign(waiver, KEY).model_dump_json()
    policy.write_text(f"{policy.read_text()}waivers: [{signed}]\n")
    opened = GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")
    opened.set_registered_model_alias(again.name, "champion", again.version)
    assert inside.promoted(again) == ["champion"]


def test_more_questions_end_a_block_if_the_bar_was_sealed_before(inside: World) -> None:
    _, again = narrowed(inside, 12)
    message = refused(promote, inside, again)
    assert "which only a sealed evaluation ends, but there is no seal.json" in message
    _, again = narrowed(inside, 12, seal=True)
    promote(inside, again)


def test_a_block_counts_when_its_answers_were_changed_or_its_tag_is_gone(inside: World) -> None:
    blocked, again = narrowed(inside, 12, seal=True)
    answers = inside.folder / "artifacts" / blocked.run_id / "artifacts" / "generations"
    (answers / "mmlu.jsonl").write_text((answers / "mmlu.jsonl").read_text().split("\n")[0])
    assert "earlier_block" in refused(promote, inside, again)


def test_a_recorded_block_stands_whatever_was_judged_since(inside: World) -> None:
    blocked = inside.register(BAD)
    made = inside.gate(blocked)
    assert made and made.verdict.outcome == "block"
    text = made.model_dump_json(indent=2)
    inside.client.log_text(blocked.run_id, text, f"history/1.{attestations.NAME}")
    inside.gate(blocked, policy_name="lax")
    inside.client.set_tag(blocked.run_id, "checkpoint_digest", _digest(blocked))
    again = _again(inside, blocked)
    inside.gate(again)
    assert "earlier_block" in refused(promote, inside, again)


def test_a_block_that_no_trusted_key_signed_counts_for_nothing(inside: World) -> None:
    blocked = inside.register(BAD)
    inside.gate(blocked, key=None)
    inside.client.set_tag(blocked.run_id, "checkpoint_digest", _digest(blocked))
    again = _again(inside, blocked)
    inside.gate(again)
    promote(inside, again)


def test_false_attestations_are_read_once_and_hide_no_block(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked, again = narrowed(inside, 12)
    text = (blocked.evidence / attestations.NAME).read_text()
    for n, false in enumerate(["{}", text, "[" + "1," * (1 << 20) + "1]", *[""] * 3]):
        run_id = inside.client.create_run(inside.experiment, tags=_claim(again)).info.run_id
        forged = text.replace(blocked.run_id, run_id).replace('"issued"', f'"issue{n}"')
        inside.client.log_text(run_id, false or forged, attestations.NAME)
    parsed: list[Path] = []
    read = attestations.read
    monkeypatch.setattr(attestations, "read", lambda path: parsed.append(path) or read(path))
    monkeypatch.setattr(blocks, "MAX_PARSED_BYTES", len(text) * 3 + 100)
    message = refused(promote, inside, again)  # the newest three run out of room
    assert "8 runs claim the checkpoint" in message and "Try again" in message
    message = refused(promote, inside, again)
    assert f"earlier_block: The same bytes were blocked before (runs:/{blocked.run_id})" in message
    assert len(parsed) == 2 + 5  # a version's own each time; once more as a run; 3 forged; 1 true
    refused(promote, inside, again)
    assert len(parsed) == 8
    monkeypatch.setattr(blocks, "MAX_RUNS", 3)
    assert "More than 3 runs claim the checkpoint" in refused(promote, inside, again)


def test_a_version_keeps_the_block_of_the_run_that_registered_it(inside: World) -> None:
    """Without any tag: the version's own run is known to the registry."""
    blocked = inside.register(BAD)
    inside.gate(blocked)
    other = _again(inside, blocked)
    inside.gate(other)
    inside.client.set_model_version_tag(blocked.name, blocked.version, "evaluated_by", other.run_id)
    signed = inside.gate(other, model=blocked.name)
    assert signed is not None and signed.verdict.outcome == "pass"
    assert "earlier_block" in refused(promote, inside, blocked)


def test_what_was_signed_can_be_read_again(tmp_path: Path) -> None:
    """Verdicts say so if their policy guards no stage, and only then."""
    fields = {
        "policy": "p",
        "policy_digest": "",
        "checkpoint_digest": "",
        "baseline_digest": None,
        "scorecard_digest": "",
        "findings": (),
    }
    assert "stages" not in Verdict(**fields).model_dump()
    assert Verdict(**fields, stages=False).model_dump()["stages"] is False
