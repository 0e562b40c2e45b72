"""Ways to promote what has not earned it: each starts from a candidate, does something, then asks for a guarded stage or alias."""

from __future__ import annotations

from dataclasses import dataclass

from tests.validation.enforcement.tricks import *  # noqa


def passes(world: World, candidate: Candidate) -> Candidate:
    """Evaluate the files as they are now, and let the gate sign that."""
    world.pass_truly(candidate)
    return candidate


def logged_anew(world: World, candidate: Candidate) -> Candidate:
    """Log the model through the server, then as above."""
    return passes(world, world.register(GOOD, name=candidate.name))


@dataclass(frozen=True)
class Attempt:
    """One row of the table."""

    name: str
    trick: Trick
    """What is done to the candidate, or beside it."""
    make: Make
    """Where it starts."""
    route: Route
    """How promotion is asked for."""
    mend: Callable[[World, Candidate], Candidate] = passes
    """How the candidate, as the trick left it, earns a true pass."""


TABLE = (
    # every route and client call that promotes
    Attempt("REST api, Production", nothing, blocked, rest("model-versions/transition-stage", stage="Production")),
    Attempt("REST api, Staging", nothing, blocked, rest("model-versions/transition-stage", stage="Staging")),
    Attempt("REST ajax-api, Production", nothing, blocked, rest("model-versions/transition-stage", stage="Production", prefix="ajax-api")),
    Attempt("REST ajax-api, Staging", nothing, blocked, rest("model-versions/transition-stage", stage="Staging", prefix="ajax-api")),
    Attempt("REST api, champion", nothing, blocked, rest("registered-models/alias", alias="champion")),
    Attempt("REST ajax-api, champion", nothing, blocked, rest("registered-models/alias", alias="champion", prefix="ajax-api")),
    Attempt("REST api, challenger", nothing, blocked, rest("registered-models/alias", alias="challenger")),
    Attempt("REST ajax-api, challenger", nothing, blocked, rest("registered-models/alias", alias="challenger", prefix="ajax-api")),
    Attempt("client, Production", nothing, blocked, stage("Production")),
    Attempt("client, Staging, archiving others", nothing, blocked, stage("Staging", archive_existing_versions=True)),
    Attempt("client, champion", nothing, blocked, champion),
    Attempt("client, alias of a pattern", nothing, blocked, alias("prod-eu")),
    Attempt("never judged", nothing, unjudged, champion),
    Attempt("good for Staging, asks for Production", nothing, only_good_enough_for_staging, stage("Production")),
    Attempt("good for challenger, asks for champion", nothing, only_good_enough_for_staging, champion),
    Attempt("by way of Archived and None", both_stages, blocked, stage("Production")),
    # other spellings
    Attempt("PRODUCTION", nothing, blocked, stage("PRODUCTION")),
    Attempt("sTaGiNg", nothing, blocked, stage("sTaGiNg")),
    Attempt("Champion", nothing, blocked, alias("Champion")),
    Attempt("CHALLENGER", nothing, blocked, alias("CHALLENGER")),
    Attempt("full-width letters", nothing, blocked, alias("ｃｈａｍｐｉｏｎ")),
    Attempt("Cyrillic letter", nothing, blocked, alias("сhampion")),
    Attempt("accent", nothing, blocked, alias("chámpion")),
    Attempt("PROD-EU", nothing, blocked, alias("PROD-EU")),
    # claims
    Attempt("tag verdict=pass", tag_version("verdict", "pass"), blocked, champion),
    Attempt("tag Verdict=pass", tag_version("Verdict", "pass"), blocked, champion),
    Attempt("tag comptrust.gate", tag_version("comptrust.gate", "pass"), blocked, champion),
    Attempt("tag of the model", tag_model("verdict", "pass"), blocked, champion),
    Attempt("tags of the run", tag_run, blocked, champion),
    Attempt("tag deleted", delete_tag, blocked, champion),
    Attempt("created with tags", create_with_tags, blocked, champion),
    Attempt("evaluated_by another", point_to_a_pass, blocked, champion),
    Attempt("metrics after the gate", log_metrics, blocked, champion),
    Attempt("metrics from another run", log_metrics_from_elsewhere, blocked, champion),
    Attempt("verdict.json that passes", log_passing_verdict, blocked, champion),
    # attestations
    Attempt("signed verdict flipped", flip_signed_verdict, blocked, champion),
    Attempt("signed for longer", forged(expires="2999-01-01T00:00:00Z"), blocked, champion),
    Attempt("signed model renamed", forged(model="other"), passed, champion),
    Attempt("signed field added", forged(approved=True), passed, champion),
    Attempt("wrong key", sign_with_own_key, blocked, champion),
    Attempt("wrong key in a trusted name", sign_with_own_key_in_a_trusted_name, blocked, champion),
    Attempt("not signed", unsigned_pass, blocked, champion),
    Attempt("attestation that is no JSON", broken_attestation, blocked, champion),
    Attempt("replay of another run's evidence", replay_from_another_run, blocked, champion),
    Attempt("replay by run id", replay_by_run_id, blocked, champion),
    Attempt("replay of an earlier pass", replay_earlier_pass, passed, champion),
    Attempt("copy of a blocked version", copied, blocked, champion),
    Attempt("copy of a pass to another model", copied, passed, champion),
    Attempt("expired", expired, unjudged, champion),
    Attempt("not yet valid", of_the_future, unjudged, champion),
    Attempt("lax policy", under_a_lax_policy, lambda world: world.register(BAD), champion),
    Attempt("policy changed after signing", under_a_policy_changed_after_signing, lambda world: world.register(BAD), champion),
    # waivers
    Attempt("expired waiver", waived(until=(TODAY - DAY).date(), now=TODAY - 3 * DAY), refusing, champion),
    Attempt("waiver of a wrong key", waived(until=(TODAY + DAY).date(), key=STRANGER), refusing, champion),
    Attempt("waiver for another checkpoint", waived(until=(TODAY + DAY).date(), checkpoint="0" * 64), refusing, champion),
    # files
    Attempt("weights swapped", swapped("model/model.safetensors"), passed, champion),
    Attempt("weights swapped, ajax-api", swapped_through_ajax, passed, stage("Production")),
    Attempt("MLmodel swapped", swapped("MLmodel", b"flavors: {transformers: {model_binary: evil}}"), passed, champion),
    Attempt("file added", swapped("model/adapter.safetensors"), passed, champion),
    Attempt("file deleted", deleted_file, passed, champion),
    Attempt("checkpoint.json changed", uploaded("checkpoint.json", lambda text: text.replace('"bits": 4', '"bits": 8')), passed, champion),
    Attempt("suite.json changed", uploaded("suite.json", lambda text: text.replace('"limit": null', '"limit": 1')), passed, champion),
    Attempt("scorecard.json changed", uploaded("scorecard.json", lambda text: text.replace("25.0", "75.0")), blocked, champion),
    Attempt("answers changed", uploaded("generations/mmlu.jsonl", lambda text: text.replace('"B"', '"A"')), passed, champion),
    Attempt("baseline made worse", worse_baseline, blocked, champion),
    Attempt("files outside the server's folder", other_experiment, unjudged, champion, logged_anew),
    # another thing in its place
    Attempt("rename a promoted model", rename_into_its_place, blocked, champion),
    Attempt("rename a promoted model, api", rename_with_rest("api"), blocked, champion),
    Attempt("rename a promoted model, ajax-api", rename_with_rest("ajax-api"), blocked, champion),
    Attempt("delete a promoted model", delete_model_then_recreate, blocked, champion),
    Attempt("delete a promoted version", delete_version, blocked, champion),
    Attempt("delete a guarded alias", delete_alias, blocked, champion),
    Attempt("move the champion to a worse version", nothing, move_alias, champion),
    # prompts, and requests that are no promotion
    Attempt("dressed as a prompt", dress_as_prompt, blocked, champion),
    Attempt("inside a prompt", nothing, in_a_prompt, champion),
    Attempt("GraphQL", graphql, blocked, champion),
    Attempt("stage and alias at creation", create_promoted, blocked, champion),
    Attempt("other methods", other_methods, blocked, champion),
)
