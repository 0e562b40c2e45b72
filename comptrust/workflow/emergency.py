"""Promote a version in an emergency: sign it, log it on the version's run, move stage and alias."""

import contextlib
import datetime
import tempfile
from pathlib import Path

from comptrust import config
from comptrust.errors import UserError
from comptrust.gate.signing import attestations, keys
from comptrust.gate.signing import emergency as emergencies
from comptrust.gate.signing.emergency import Emergency
from comptrust.report import descriptions, entries, page
from comptrust.tracking import promotion, registry, runs, store

DEFAULT = datetime.timedelta(days=1)


def promote(
    name: str, version: str, *, to: str, why: str, until: datetime.datetime | None = None
) -> promotion.Promotion:
    """Let a version into a stage and alias without a passing verdict, for a day by default.

    The signing key needs the role `release`: where the registry is a server, it is the server that
    checks this, and otherwise this machine. Raises UserError if something is missing.
    """
    stage, alias = promotion.check_target(to)
    if stage is None:
        raise UserError("Target demo guards nothing, so it needs no emergency.")
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    until = until or now + DEFAULT
    if not now < until <= now + emergencies.LONGEST:
        raise UserError(
            f"An emergency ends within {emergencies.LONGEST.days} days, so --until"
            f" {until:%Y-%m-%d %H:%M} UTC is wrong: it is {now:%Y-%m-%d %H:%M} UTC."
        )
    key = keys.signing_key()
    if key is None:
        raise UserError(
            "There is no signing key. Set COMPTRUST_SIGNING_KEY to the one with the role release."
        )
    candidate = registry.resolve(f"models:/{name}/{version}")
    if not candidate.run_id:
        raise UserError(f"{candidate.ref} has no run to log the emergency on. Register it again.")
    with tempfile.TemporaryDirectory() as temporary:
        artifact = attestations.held_by(registry.download_all(candidate.ref, into=Path(temporary)))
    fields = {
        "model": candidate.name,
        "version": candidate.version,
        "target": stage.lower(),
        "artifact": artifact,
        "why": why,
        "issued": now,
        "until": until,
    }
    record = keys.sign(config.parse(fields, Emergency, where="emergency"), key)
    if not store.tracking_uri().startswith("http"):
        problem = emergencies.problem(
            record,
            trusted=keys.load_public_keys(),
            model=candidate.name,
            version=candidate.version,
            place=alias,
            now=now,
        )
        if problem:
            raise UserError(f"{problem} An emergency needs a key with the role release.")
    line = emergencies.notice(until, record.why)
    run = runs.Run(candidate.run_id)
    run.text(emergencies.NAME, record.model_dump_json(indent=2))
    moved = promotion.move(candidate, stage, alias, reason=f"{line} Signed by {record.key_id}.")
    if moved.outcome == "pass":
        run.tags({entries.EMERGENCY: line})
        with contextlib.suppress(UserError):  # what was never evaluated has no page
            page.log_version(candidate.run_id)
        descriptions.update(candidate.run_id)
    return moved
