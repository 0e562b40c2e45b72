"""Write what MLflow's pages say of a run, version and model; a guarded server writes its own."""

import contextlib
import logging

from comptrust import config, description
from comptrust.description import Facts, Place
from comptrust.errors import UserError
from comptrust.gate import policy
from comptrust.gate.signing import attestations, keys, waivers
from comptrust.gate.signing.waivers import Waiver
from comptrust.records import Verdict
from comptrust.report import entries
from comptrust.tracking import history, promotion, registry, runs, serving_cost

log = logging.getLogger(__name__)


@runs.service()
def update(run_id: str) -> None:
    """Describe a run, and its versions and their models if it has any, as its files say now."""
    from mlflow.exceptions import MlflowException

    client = runs.client()
    run = client.get_run(run_id)
    verdict, signed, kept = _judged(run_id)
    versions = registry.evaluated_in(run_id)
    waived: tuple[str, ...] = ()
    if verdict and kept:
        waived = waivers.since(
            verdict,
            kept,
            waivable=policy.waivable(),
            trusted=keys.load_public_keys(),
            model=versions[0].name if versions else None,
        )
    facts = Facts(
        experiment=run.info.experiment_id,
        run_id=run_id,
        recipe=run.data.tags.get("recipe", ""),
        signed=signed,
        urgent=run.data.tags.get(entries.EMERGENCY, ""),
        waived=waived,
        costs=serving_cost.of_run(run_id),
    )
    try:
        if verdict:
            text = description.of_run(verdict, facts)
            before = run.data.tags.get(description.NOTE)
            client.set_tag(run_id, description.NOTE, description.merged(text, before))
        for version in versions:
            before = client.get_model_version(version.name, version.version).description
            text = description.merged(description.of_version(verdict, facts), before)
            client.update_model_version(version.name, version.version, text)
            model = client.get_registered_model(version.name)
            text = description.of_model(_places(version.name, model.aliases))
            text = description.merged(text, model.description)
            client.update_registered_model(version.name, text)
    except MlflowException as error:
        # The decision stands; what people wrote there before may be refused.
        if error.error_code != "PERMISSION_DENIED":
            raise
        log.warning("the description was not changed: %s", error.message)


def _judged(run_id: str) -> tuple[Verdict | None, str, tuple[Waiver, ...]]:
    names = (attestations.VERDICT, attestations.NAME, waivers.NAME)
    with runs.files(run_id, *names) as folder:
        if not (folder / attestations.VERDICT).exists():
            return None, "", ()
        verdict = config.load_json(folder / attestations.VERDICT, Verdict)
        kept: tuple[Waiver, ...] = ()
        with contextlib.suppress(UserError):  # anybody may log them
            kept = waivers.read(folder / waivers.NAME)
        try:
            signed = attestations.read(folder / attestations.NAME)
        except UserError:
            return verdict, "not signed", kept
    if signed.verdict.digest_of_fields() != verdict.digest_of_fields():
        return verdict, "not signed", kept
    until = f"signed by key {signed.key_id}, valid until {signed.expires:%Y-%m-%d %H:%M} UTC"
    return verdict, until, kept


def _places(name: str, aliases: dict[str, str]) -> list[Place]:
    places = []
    for alias in sorted({alias for _, alias in promotion.TARGETS.values()} & aliases.keys()):
        version = registry.resolve(f"models:/{name}/{aliases[alias]}")
        found = [
            event
            for event in (history.events(version.run_id) if version.run_id else ())
            if event.place.endswith(f"@{alias}") and event.version == version.version
        ]
        if found:
            last = found[-1]
            place = Place(alias, name, version.version, last.time, last.who, last.text)
            places.append(place)
    return places
