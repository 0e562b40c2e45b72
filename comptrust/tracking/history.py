"""What was decided about a run and its versions: one small file an event, none ever overwritten.

A verdict's event has the files that were logged with it beside it, so that the verdict of each
policy stays usable.
"""

import contextlib
import datetime
import logging
import secrets
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Record, Result, Verdict
from comptrust.tracking import registry, runs
from comptrust.tracking.store import has_tags, search_runs

FOLDER, EVENT, VERDICT, SIGNED = "history", "event.json", "verdict.json", "attestation.json"
LOG = logging.getLogger(__name__)
What = Literal["verdict", "promotion", "waiver"]


class Event(Record):
    """One decision: who made it, when, and in one line what it was."""

    what: What
    time: AwareDatetime
    who: str
    """The user as this machine names him; nobody has checked it."""
    text: str
    outcome: Result | None = None
    policy: str = ""
    policy_digest: str = ""
    key_id: str = ""
    """Key that signed it, if one did."""
    place: str = ""
    """Stage and alias of a promotion, which may be an emergency: its text says so."""
    version: str = ""


@runs.service()
def record(run_id: str, event: Event, files: Mapping[str, str] | None = None) -> None:
    """Log an event on a run, with the texts of the files that belong to it."""
    stamp = f"{event.time:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as temporary:
        for name, text in {**(files or {}), EVENT: event.model_dump_json(indent=2)}.items():
            Path(temporary, f"{stamp}.{name}").write_text(text, encoding="utf-8")
        runs.client().log_artifacts(run_id, temporary, FOLDER)


def now(what: What, text: str, **fields: str | None) -> Event:
    """Return an event of this moment, by this user."""
    from mlflow.tracking.context import registry
    from mlflow.utils.mlflow_tags import MLFLOW_USER

    time = datetime.datetime.now(datetime.UTC)
    who = registry.resolve_tags().get(MLFLOW_USER, "unknown")
    values = {"what": what, "time": time, "who": who, "text": text} | fields
    return Event.model_validate(values)


def of_verdict(verdict: Verdict, *, key_id: str = "") -> Event:
    """Return the event of a new verdict."""
    failing = [found for found in verdict.findings if found.outcome == verdict.outcome]
    text = "; ".join(f"{found.rule}: {found.reason}" for found in failing)
    if verdict.outcome == "pass":
        text = f"All {len(verdict.findings)} rules pass."
    return now(
        "verdict",
        text,
        outcome=verdict.outcome,
        policy=verdict.policy,
        policy_digest=verdict.policy_digest,
        key_id=key_id,
    )


def events(run_id: str) -> tuple[Event, ...]:
    """Return the events of a run, oldest first; the one verdict of an older version is one."""
    with runs.files(run_id, FOLDER, VERDICT) as folder:
        listed = [event for _, event in _events(folder)]
        if not any(event.what == "verdict" for event in listed) and (folder / VERDICT).exists():
            with runs.service():
                run = runs.client().get_run(run_id)
            verdict = of_verdict(config.load_json(folder / VERDICT, Verdict))
            ended = (run.info.end_time or run.info.start_time) / 1000
            time = datetime.datetime.fromtimestamp(ended, datetime.UTC)
            who = run.data.tags.get("mlflow.user", "unknown")
            listed.append(verdict.model_copy(update={"time": time, "who": who}))
    return tuple(sorted(listed, key=lambda event: event.time))


def of_version(version: registry.Version) -> tuple[Event, ...]:
    """Return the events of a version's bytes, oldest first, but no promotions of others."""
    if not version.run_id:
        return ()
    digest = registry.checkpoint_digest(version)
    same = search_runs(has_tags({"checkpoint_digest": digest})) if digest else []
    run_ids = dict.fromkeys([version.run_id, *(run.info.run_id for run in same)])
    found = [event for run_id in run_ids for event in events(run_id)]
    own = [event for event in found if event.version in ("", version.version)]
    return tuple(sorted(own, key=lambda event: event.time))


def restore(run_id: str, policy: Collection[str], *, into: Path) -> dict[str, Path]:
    """Put the files of the newest verdict under a policy in the place of those in a folder.

    `policy` are its digests. A run's present verdict, which is there already, stays if it is under
    that policy. Returns name -> path; empty if it stays, or if no such verdict was recorded.
    """
    present = into / VERDICT
    if present.exists() and config.load_json(present, Verdict).policy_digest in policy:
        return {}
    with runs.files(run_id, FOLDER) as folder:
        for path, event in reversed(_events(folder)):
            if event.what != "verdict" or event.policy_digest not in policy:
                continue
            stamp = path.name.removesuffix(EVENT)
            files = [item for item in path.parent.glob(f"{stamp}*") if item != path]
            (into / SIGNED).unlink(missing_ok=True)
            restored = {item.name.removeprefix(stamp): item for item in files}
            return {name: item.replace(into / name) for name, item in restored.items()}
    return {}


def verdicts(run_id: str) -> tuple[Verdict, ...]:
    """Return the verdicts that a run has, the one logged last and all recorded ones.

    Anybody may log files that cannot be read; these are left out.
    """
    found = []
    with runs.files(run_id, FOLDER, VERDICT) as folder:
        for path in (*_paths(folder, VERDICT), *folder.glob(VERDICT)):
            with contextlib.suppress(UserError):
                found.append(config.load_json(path, Verdict))
    return tuple(found)


def _events(folder: Path) -> list[tuple[Path, Event]]:
    """Return the recorded events, oldest first. Anybody may log some that cannot be read."""
    events = []
    for path in _paths(folder, EVENT):
        try:
            events.append((path, config.load_json(path, Event)))
        except UserError as error:
            why = str(error).replace(str(path), f"{FOLDER}/{path.name}")
            LOG.warning("An event of the run does not count. %s", why)
    return events


def _paths(folder: Path, name: str) -> list[Path]:
    return sorted((folder / FOLDER).glob(f"*.{name}"))
