"""The server's part of descriptions: the text about a verdict is its own, the rest is people's.

It is written anew, from what this server can verify, whenever a verdict, a place or the description
changes. Clients' text that could pass for it is refused.
"""

import contextlib
import datetime
import html
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from comptrust import config, description, serving_cost
from comptrust.description import Facts, Place
from comptrust.errors import ComptrustError, UserError
from comptrust.gate import policy
from comptrust.gate.enforcement import audit, names, replay
from comptrust.gate.enforcement.guard import Guard
from comptrust.gate.enforcement.places import run_of
from comptrust.gate.signing import attestations, emergency, waivers
from comptrust.records import SEVERITY, Verdict
from comptrust.serving_cost import ServingCosts

TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of what follows, so that text reads as what it is not."""
MARKUP = re.compile(r"<[^>]*>")
LOOK_ALIKES = str.maketrans(
    "АВЕЅІЈКМНОРСТУХԁаеѕіјкмнорстухһӏԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορτυχɑɡıʟᴀʙᴄᴅᴇɪᴋᴍɴᴏᴘꜱᴛᴜᴠᴡʏ",
    "abesijkmhopctyxdaesijkmhopctyxhlqwabezhikmnoptyxaiknoptuxagilabcdeikmnopstuvwy",
)
"""Letters of other scripts that are drawn like Latin ones."""
SIGNS = (
    *(f"{outcome} under policy" for outcome in SEVERITY),
    *("verdict pass", "verdict is pass", "rules pass", "emergency until"),
    *("signed by key", "passed the gate", "passes policy"),
    *("comptrust begin", "comptrust end", "comptrust wrote"),
)
"""What only the gate says."""

MAX_BYTES_BESIDE = 1 << 18
"""The longest file of waivers or costs that is read; anybody may log one."""
T = TypeVar("T")


class Descriptions:
    """Writes the descriptions of a guarded registry and of the runs beside it."""

    def __init__(
        self, store: SqlAlchemyStore, guard: Guard, tracking: Callable[[], MlflowClient]
    ) -> None:
        self._store, self._guard, self._tracking = store, guard, tracking

    def refresh(self, version: ModelVersion) -> None:
        """Write the descriptions of a version and its model anew, after something changed.

        What was changed stays so, whether or not this can be done.
        """
        with contextlib.suppress(MlflowException, ComptrustError):
            entity = self._store.get_model_version(version.name, version.version)
            text = self.of_version(entity, entity.description)
            SqlAlchemyStore.update_model_version(
                self._store, version.name, version.version, text or None
            )
            model = self._store.get_registered_model(version.name)
            text = self.of_model(version.name, model.description)
            SqlAlchemyStore.update_registered_model(self._store, version.name, text or None)

    def of_version(self, version: ModelVersion, text: str | None) -> str:
        """Return the description of a version that keeps the people's part of a text."""
        tags = version.tags or {}
        run_id = run_of(version)
        verdict, facts = self._verified(run_id, version.name)
        urgent = self._urgent(version.name, str(version.version))
        if verdict is None and not urgent and (claim := tags.get(names.CLAIM)):
            urgent = f"{claim}, says whoever judged it: this server has no signed verdict."
        shown = replace(facts, recipe=tags.get("recipe", ""), urgent=urgent)
        return description.merged(description.of_version(verdict, shown), text)

    def of_run(self, run_id: str, text: str) -> str:
        """Return the description of a run."""
        self.check(text, target=f"run {run_id}")
        verdict, facts = self._verified(run_id, None)
        return description.merged(description.of_run(verdict, facts) if verdict else "", text)

    def of_model(self, name: str, text: str | None) -> str:
        """Return the description of a registered model: what the log says is where."""
        held = replay.promoted(self._changes(name))
        places = [
            Place(
                record.target,
                name,
                record.version,
                record.time,
                record.user or record.address or "unknown",
                record.finding,
            )
            for _, record in sorted(held.items())
        ]
        return description.merged(description.of_model(places), text)

    def check(self, text: str | None, *, target: str, model: str = "", version: str = "") -> None:
        """Refuse a text of a client if people could take it for the gate's."""
        if imitates(description.others(text)):
            self._guard.refuse(
                (model, version, "describe", target),
                "The text could pass for a verdict of the gate, or has characters that turn the"
                " direction of text. Word it differently.",
            )

    def _verified(self, run_id: str, model: str | None) -> tuple[Verdict | None, Facts]:
        """Return the verdict of a run that a trusted key signed for it, whether it has expired."""
        try:
            info = self._tracking().get_run(run_id).info
            facts = Facts(info.experiment_id, run_id)
            with tempfile.TemporaryDirectory() as temporary:
                trusted = self._guard.verifier.trusted()
                names = (attestations.NAME, waivers.NAME, serving_cost.NAME)
                folder = self._guard.verifier.places.fetch(run_id, names, Path(temporary))
                signed = attestations.read(folder / attestations.NAME)
                kept = _small(waivers.read, folder / waivers.NAME)
                costs = _small(config.load_json, folder / serving_cost.NAME, ServingCosts)
        except (MlflowException, ComptrustError):
            return None, Facts("", run_id)
        problems = attestations.problems(
            signed,
            trusted=trusted,
            run_id=run_id,
            model=model or signed.model,
            now=signed.issued,
        )
        if any(problem.kind in ("changed", "unverified") for problem in problems):
            return None, facts
        verdict = signed.verdict
        if verdict.policy_digest not in self._guard.policies:
            name = f"{verdict.policy} (not a policy of this server)"
            verdict = verdict.model_copy(update={"policy": name})
        until = f"signed by key {signed.key_id}, valid until {signed.expires:%Y-%m-%d %H:%M} UTC"
        waived = waivers.since(
            verdict, kept or (), waivable=policy.waivable(), trusted=trusted, model=model
        )
        return verdict, replace(facts, signed=until, waived=waived, costs=costs)

    def _urgent(self, name: str, version: str) -> str:
        """Return the line about the last emergency of a version; empty without any."""
        found = [
            (event, events[-1])
            for events in self._changes(name).values()
            for event in events
            if event.version == version and event.grant and event.grant.emergency
        ]
        if not found:
            return ""
        event, last = max(found, key=lambda pair: (pair[0] is pair[1], pair[0].number))
        grant = event.grant
        assert grant
        if event is last and grant.expires > datetime.datetime.now(datetime.UTC):
            return emergency.notice(grant.expires, grant.emergency or "")
        ended = grant.expires if event is last else min(last.time, grant.expires)
        return f"{emergency.MARK} ended at {ended:%Y-%m-%d %H:%M} UTC."

    def _changes(self, name: str) -> replay.History:
        return replay.history(audit.changes_of(self._guard.audit.path, name))


def _small(read: Callable[..., T], path: Path, *more: Any) -> T | None:
    """Return what a file of a run says beside its verdict; None if it is not as it should be."""
    with contextlib.suppress(UserError, OSError):
        if path.stat().st_size <= MAX_BYTES_BESIDE:
            return read(path, *more)
    return None


def imitates(text: str) -> bool:
    """Whether people could take a text for the gate's, however it is written.

    >>> imitates("Looks good to me"), imitates("**PA**SS un<b>der</b> policy x")
    (False, True)
    """
    plain = MARKUP.sub("", html.unescape(html.unescape(text))).translate(LOOK_ALIKES)
    drawn = _squeezed(plain)
    return bool(TURNS.search(text)) or any(_squeezed(sign) in drawn for sign in SIGNS)


def _squeezed(text: str) -> str:
    """Return the letters and digits of a text as they are drawn."""
    return "".join(filter(str.isalnum, names.drawn(text)))
