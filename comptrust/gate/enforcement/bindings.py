"""A registered name stays with the dense source of what was first granted under it."""

from pathlib import Path

from comptrust.errors import UserError
from comptrust.gate import dense
from comptrust.gate.enforcement import audit, replay
from comptrust.gate.enforcement.audit_record import Grant, written
from comptrust.gate.policy import Policy


def check(log: Path, model: str, grant: Grant, policy: Policy) -> str:
    """Return what to record if a grant is the first that binds a name; else nothing.

    If the policy binds the name to a checkpoint, that was judged already. Otherwise the newest
    grant in the log binds it, whatever has become of that version since. Raises UserError if that
    is another dense source. An emergency compares nothing; a human answers for its bytes.
    """
    # A base model and its revision are what a recipe states; the log knows the files.
    bound_by_policy = dense.binding(model, policy.sources).values()
    if grant.emergency or any(source.checkpoint for source in bound_by_policy):
        return ""
    events = replay.history(audit.changes_of(log, written(model))).values()
    granted = [record for records in events for record in records if record.grant]
    bound = [record for record in granted if record.grant and record.grant.dense]
    last = max(bound, key=lambda record: record.number, default=None)
    if last is None or last.grant is None:
        return f"The first grant of this name, which binds it to the dense checkpoint {grant.dense}"
    if last.grant.dense == grant.dense:
        return ""
    raise UserError(
        f"It was compared with the dense checkpoint {grant.dense}, but {model} is the name of what"
        f" is made from {last.grant.dense} (version {last.version}, record {last.number} of the"
        " log)."
        " Register it under another name. If the source of this name is to change, let `sources:`"
        f" in policy {policy.name} of the server name the new `checkpoint`."
    )
