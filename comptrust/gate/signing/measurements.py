"""Measurements: the machine that evaluated signs which model gave which answers.

`measurement.json` beside the scorecard names the weights, the suite, the engine, the SHA-256 of
every file of the evaluation, and the head of a chain over the answers as they came.
"""

from __future__ import annotations

import datetime
import operator
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import AwareDatetime, Field

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.gate.signing import keys
from comptrust.gate.signing.roles import Role

if TYPE_CHECKING:  # they need numpy, and whoever verifies needs none
    from comptrust.trust.evaluation import Evaluation
    from comptrust.trust.ledger import Ledger

NAME = "measurement.json"


class Measurement(keys.SignedRecord):
    """What was measured, by the machine that measured it."""

    purpose: ClassVar[str] = "measurement/v1"
    role: ClassVar[Role] = "evaluate"

    checkpoint: str
    """Digest of the weights that answered."""
    suite: str
    """Digest of what was asked."""
    engine: dict[str, str]
    """What computed the answers: its name, versions and dtype."""
    files: dict[str, str]
    """Name -> SHA-256 of every file of the evaluation."""
    order: dict[str, tuple[int, ...]]
    """Dimension -> rows of its generations file in the order in which they came."""
    chain: str
    """Head of the chain over the answers in that order."""
    began: AwareDatetime
    """When the first answer was made."""
    ended: AwareDatetime
    seal: str = Field(default="", exclude_if=operator.not_)
    """Digest of the seal under which it was made."""


class Import(Measurement):
    """An evaluation that was made elsewhere, signed by whoever brought it in."""

    purpose: ClassVar[str] = "import/v1"
    role: ClassVar[Role] = "import"

    imported: Literal[True] = True


def sign(folder: Path, key: keys.PrivateKey | None, kept: Ledger | None) -> Evaluation:
    """Write measurement.json to an evaluation folder, and return the evaluation.

    Without a ledger the answers were given elsewhere. Without a key there is no measurement
    afterwards: an older one would be of other files.
    """
    from comptrust.trust import evaluation, ledger

    path = folder / NAME
    path.unlink(missing_ok=True)
    evaluated = evaluation.load(folder, ref=str(folder / "scorecard.json"))
    if key is None:
        return evaluated
    card = evaluated.scorecard
    kind = Measurement if kept else Import
    kept = kept or ledger.Ledger.of_rows(evaluated.generations)
    made = kind(
        checkpoint=card.checkpoint_digest,
        suite=card.suite_digest,
        engine=card.engine,
        files=evaluated.files,
        order=kept.order,
        chain=ledger.head(evaluated.generations, kept.order),
        began=datetime.datetime.fromtimestamp(kept.began, datetime.UTC),
        ended=datetime.datetime.now(datetime.UTC),
        seal=kept.seal,
    )
    digests.write_atomic(path, keys.sign(made, key).model_dump_json() + "\n")
    return evaluation.load(folder, ref=evaluated.ref)


def read(evaluated: Evaluation) -> Measurement:
    """Return the measurement beside a scorecard. Raises UserError if there is none."""
    if NAME not in evaluated.signed:
        raise UserError(f"there is no {NAME}")
    return parse(config.decoded(evaluated.signed[NAME], where=NAME))


def parse(text: str) -> Measurement:
    """Read the text of measurement.json. Raises UserError."""
    data = config.json_value(text, where=NAME)
    imported = isinstance(data, dict) and "imported" in data
    return config.parse(data, Import if imported else Measurement, where=NAME)


def refusal(
    evaluated: Evaluation,
    trusted: keys.Trusted,
    *,
    imports: bool = False,
    scope: Mapping[str, Any] | None = None,
) -> str:
    """Return why nothing proves an evaluation, to follow its name; empty if a trusted key does.

    `imports`: whether evaluations made elsewhere count. `scope` are the model, level and day for
    which the key must be allowed to sign.
    """
    try:
        measurement = read(evaluated)
    except UserError as error:
        return f"is not signed by the machine that evaluated it ({str(error).rstrip('.')})"
    if refused := keys.refusal(measurement, trusted, **(scope or {})):
        return refused
    if measurement.role == "import" and not imports:
        return "was made elsewhere, which counts only under a policy that says `evidence: imported`"
    if changed := _changed(measurement, evaluated):
        return f"is not what key {measurement.key_id} signed: {changed}"
    return ""


def first_change(
    signed: Mapping[str, str], present: Mapping[str, str], *, but: Collection[str] = ()
) -> str:
    """Return the first difference between files (name -> SHA-256), other than missing ones in
    `but`; empty if there is none.
    """
    for file in sorted((signed.keys() | present.keys()) - (set(but) - present.keys())):
        if file not in present:
            return f"{file} is missing"
        if signed.get(file) != present[file]:
            return f"{file} was {'changed' if file in signed else 'added'}"
    return ""


def _changed(measurement: Measurement, evaluated: Evaluation) -> str:
    """Return the first difference between an evaluation and its measurement."""
    from comptrust.trust import ledger

    card, answers = evaluated.scorecard, evaluated.generations
    unread = [] if answers else [file for file in measurement.files if "/" in file]
    if change := first_change(measurement.files, evaluated.files, but=unread):
        return change
    if (measurement.checkpoint, measurement.suite) != (card.checkpoint_digest, card.suite_digest):
        return f"{NAME} is of another checkpoint or suite"
    try:
        forms = (digests.of_value, digests.of_older) if answers else ()
        heads = (ledger.head(answers, measurement.order, form) for form in forms)
        if answers and measurement.chain not in heads:
            return "its answers are not those of the chain"
    except UserError as error:
        return str(error).rstrip(".")
    return ""
