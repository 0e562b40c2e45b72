"""Seals: the bar, signed before the first answer (pre-registration).

A seal names the policy, the suite with its sample, and when to stop. An evaluation made under it is
a sealed one.
"""

import datetime
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import AwareDatetime

from comptrust import config
from comptrust.errors import UserError
from comptrust.gate.signing import keys, measurements
from comptrust.gate.signing.roles import Role
from comptrust.records import Limit, Sample, Stop
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation

NAME = evaluation.SEAL


class Seal(keys.SignedRecord):
    """What will be asked, how it will be judged, and when this was said."""

    purpose: ClassVar[str] = "seal/v1"
    role: ClassVar[Role] = "evaluate"

    policy: str
    policy_digest: str
    suite: str
    suite_digest: str
    limit: Limit | None
    sample: Sample | None
    """Of which suite it is a sample, and the seed."""
    stop: Stop = "full"
    """When to stop. `early`: `suite_digest` is of all that may be asked."""
    baseline: str | None = None
    """Digest of the dense source's scorecard, if it is to be a certain one."""
    time: AwareDatetime


def read(path: Path) -> Seal:
    """Read a seal. Raises UserError if the file is not one."""
    return config.load_json(path, Seal)


def refusal(
    evaluated: Evaluation,
    trusted: keys.Trusted,
    *,
    policy: Collection[str] | None = None,
    baseline: Evaluation | None = None,
    scope: Mapping[str, Any] | None = None,
) -> str:
    """Return why an evaluation is not a sealed one; empty if it is.

    Its measurement must be good already. `policy` are the digests of the one that it must name.
    """
    if NAME not in evaluated.signed:
        return "there is no seal.json. Seal the bar first (comptrust seal), then evaluate with it"
    try:
        text = config.decoded(evaluated.signed[NAME], where=NAME)
        seal = config.parse(config.json_value(text, where=NAME), Seal, where=NAME)
        measurement = measurements.read(evaluated)
    except UserError as error:
        return str(error).rstrip(".")
    if refused := keys.refusal(seal, trusted, **(scope or {})):
        return f"its seal {refused}"
    card, stopped = evaluated.scorecard, evaluated.suite and evaluated.suite.stopped
    of_suite = stopped.parent if stopped else card.suite_digest
    baselines = (None, *baseline.scorecard.digests) if baseline else (None,)
    checks = (
        (measurement.seal not in seal.digests, "it was not evaluated under this seal"),
        (measurement.began + keys.SKEW < seal.time, "its first answer is older than the seal"),
        (bool(stopped) != (seal.stop == "early"), f"the seal says to stop {seal.stop}"),
        (of_suite != seal.suite_digest, "the seal is for another suite or sample"),
        (policy is not None and seal.policy_digest not in policy, "the seal is for another policy"),
        (seal.baseline not in baselines, "the seal names another baseline"),
    )
    return next((why for wrong, why in checks if wrong), "")


def check(seal: Seal, *, suite_digest: str, stop: Stop) -> None:
    """Raise UserError unless an evaluation on a suite can begin under the seal now."""
    if seal.stop != stop:
        raise UserError(
            f"The seal is for --stop {seal.stop}, not for --stop {stop}. Use that, or seal the bar"
            " again."
        )
    if seal.suite_digest != suite_digest:
        raise UserError(
            f"The seal is for suite {seal.suite} with digest {seal.suite_digest[:12]}, not for"
            f" {suite_digest[:12]}. Give the same --suite, --dimensions, --limit and --scoring as"
            " for `comptrust seal`."
        )
    if seal.time > datetime.datetime.now(datetime.UTC) + keys.SKEW:
        raise UserError(f"The seal is of {seal.time:%Y-%m-%d %H:%M} UTC, which is not yet.")
