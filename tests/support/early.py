"""Evaluations that stop early, of models that answer wrongly as often as a test says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from comptrust.gate.policy import Policy
from comptrust.records import Checkpoint, Generation, Prompt, Suite
from comptrust.trust import suite as suites
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.ledger import Ledger
from comptrust.trust.run import Asking
from comptrust.workflow import early, measuring
from tests.support.echo import Echo
from tests.support.evaluations import EIGHT, checkpoint


def share(prompt: Prompt, salt: str) -> float:
    """Return a number (0-1) that depends on the prompt alone."""
    text = f"{salt}/{prompt.dimension}/{prompt.id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32


class Losing(Echo):
    """Answers rightly, but for a share of each dimension's prompts."""

    def __init__(self, lost: Mapping[str, float] = {}) -> None:
        super().__init__()
        self.lost, self.asked = lost, list[str]()

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        for prompt in prompts:
            self.asked.append(prompt.id)
            [row] = super().answer([prompt])
            if share(prompt, "lost") < self.lost.get(prompt.dimension, 0.0):
                other = next(one.text for one in prompt.choices if one.text != row.texts[0])
                row = row.model_copy(update={"texts": (other,)})
            yield row


def suite(*dimensions: str) -> Suite:
    """Return dimensions of mini in which a right answer is its target."""
    return suites.load("mini", dimensions=list(dimensions or ("mmlu", "ethics")))


def both(
    folder: Path,
    policy: Policy,
    *,
    lost: Mapping[str, float] = {},
    asked: Suite | None = None,
    records: Mapping[str, Checkpoint] = {},
    witness: measuring.Witness | None = None,
) -> tuple[Evaluation, Evaluation]:
    """Ask a model that lost some answers, and its dense source, until the rule stops.

    `records` are those of their weights, under `candidate` and `dense`.
    """
    asked = asked or suite()
    witness = witness or measuring.Witness(key=None)
    asking = {
        role: Asking(
            Losing(lost if role == "candidate" else {}),
            asked,
            kept=folder / "kept" / role,
            checkpoint_digest=records[role].digest if records else role,
            ledger=witness.ledger(asked, stop="early") if witness.key else Ledger(),
            say=lambda line: None,
        )
        for role in ("candidate", "dense")
    }
    part = early.ask(
        asking["candidate"],
        asking["dense"],
        asked,
        policy,
        record=records.get("candidate") or checkpoint(EIGHT, size=500),
        say=lambda line: None,
    )
    made = {}
    for role, one in asking.items():
        out = folder / role
        measured = one.finish(part, out=out, dense=role == "dense")
        if records:
            (out / "checkpoint.json").write_text(records[role].model_dump_json(indent=2))
        if witness.key:
            witness.place(out)
            measured = witness.sign(out, one.ledger)
        made[role] = measured
    return made["candidate"], made["dense"]
