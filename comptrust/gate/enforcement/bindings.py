"""A registered name stays with the dense source of what was first granted under it."""

from pathlib import Path

from comptrust.gate import dense
from comptrust.gate.enforcement import audit, replay
from comptrust.gate.enforcement.audit_record import Grant, written
from comptrust.gate.policy import Policy


def refusal(log: Path, model: str, grant: Grant, policy: Policy) -> str | None:
    """Return why a model may not be granted for its dense source; None if it may.

    If the policy binds the name to a checkpoint, that was judged already. Otherwise the newest
    grant in the log binds it, whatever has become of that version since.
    """
    # A base model and its revision are what a recipe states; the log knows the files.
    if any(source.checkpoint for source in dense.binding(model, policy.sources).values()):
        return None
    events = replay.history(audit.changes_of(log, written(model))).values()
    granted = [record for records in events for record in records if record.grant]
    bound = [record for record in granted if record.grant and record.grant.dense]
    last = max(bound, key=lambda record: record.number, default=None)
    if last is None or last.grant is None or last.grant.dense == grant.dense:
        return None
    return (
        f"It was compared with the dense checkpoint {grant.dense}, but {model} is the name of what"
        f" is made from {last.grant.dense} (version {last.version}, record {last.number} of the"
        " log)."
        " Register it under another name. If the source of this name is to change, let `sources:`"
        f" in policy {policy.name} of the server name the new `checkpoint`."
    )
