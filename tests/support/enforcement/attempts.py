"""Ways to promote a version that has not earned it.

Each starts from a candidate, does something, then requests a guarded stage or alias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy import zeros
from safetensors.numpy import save

from tests.support.enforcement import exceptions, packages
from tests.support.enforcement import forgeries as forge
from tests.support.enforcement import tricks as do
from tests.support.enforcement.tricks import DAY, TODAY, Make, Route, Trick
from tests.support.enforcement.world import (
    BAD,
    GOOD,
    KEY,
    STRANGER,
    TRUSTED,
    Candidate,
    World,
    questions,
)


def passes(world: World, candidate: Candidate) -> Candidate:
    """Evaluate the files as they are now, and let the gate sign the result.

    What was blocked passes truly only on more questions, under a seal.
    """
    return forge.asked_more(world, candidate)


def logged_again(world: World, candidate: Candidate) -> Candidate:
    """Log the model through the server, then evaluate and sign it."""
    return passes(world, world.register(GOOD, name=candidate.name))


@dataclass(frozen=True)
class Attempt:
    """One row of the table."""

    name: str
    trick: Trick
    """What is done to the candidate, or next to it."""
    make: Make
    """The candidate it starts from."""
    route: Route
    """How promotion is requested."""
    repair: Callable[[World, Candidate], Candidate] = passes
    """How the candidate earns a true pass after the trick."""


ALIAS = "/api/2.0/mlflow/registered-models/alias"
STAGE = "/api/2.0/mlflow/model-versions/transition-stage"
BODY = '{"name": "NAME", "version": "VERSION", "alias": "champion"}'

TABLE = (
    # every route and client call that promotes
    Attempt(
        "REST api, Production",
        do.nothing,
        do.blocked,
        do.rest("model-versions/transition-stage", stage="Production"),
    ),
    Attempt(
        "REST api, Staging",
        do.nothing,
        do.blocked,
        do.rest("model-versions/transition-stage", stage="Staging"),
    ),
    Attempt(
        "REST ajax-api, Production",
        do.nothing,
        do.blocked,
        do.rest("model-versions/transition-stage", stage="Production", prefix="ajax-api"),
    ),
    Attempt(
        "REST ajax-api, Staging",
        do.nothing,
        do.blocked,
        do.rest("model-versions/transition-stage", stage="Staging", prefix="ajax-api"),
    ),
    Attempt(
        "REST api, champion",
        do.nothing,
        do.blocked,
        do.rest("registered-models/alias", alias="champion"),
    ),
    Attempt(
        "REST ajax-api, champion",
        do.nothing,
        do.blocked,
        do.rest("registered-models/alias", alias="champion", prefix="ajax-api"),
    ),
    Attempt(
        "REST api, challenger",
        do.nothing,
        do.blocked,
        do.rest("registered-models/alias", alias="challenger"),
    ),
    Attempt(
        "REST ajax-api, challenger",
        do.nothing,
        do.blocked,
        do.rest("registered-models/alias", alias="challenger", prefix="ajax-api"),
    ),
    Attempt("client, Production", do.nothing, do.blocked, do.stage("Production")),
    Attempt(
        "client, Staging, archiving others",
        do.nothing,
        do.blocked,
        do.stage("Staging", archive_existing_versions=True),
    ),
    Attempt("client, champion", do.nothing, do.blocked, do.champion),
    Attempt("client, alias of a pattern", do.nothing, do.blocked, do.alias("prod-eu")),
    Attempt("never judged", do.nothing, do.unjudged, do.champion),
    Attempt(
        "good for Staging, asks for Production",
        do.nothing,
        forge.only_good_enough_for_staging,
        do.stage("Production"),
        logged_again,
    ),
    Attempt(
        "good for challenger, asks for champion",
        do.nothing,
        forge.only_good_enough_for_staging,
        do.champion,
        logged_again,
    ),
    Attempt("by way of Archived and None", do.both_stages, do.blocked, do.stage("Production")),
    # other spellings
    Attempt("PRODUCTION", do.nothing, do.blocked, do.stage("PRODUCTION")),
    Attempt("sTaGiNg", do.nothing, do.blocked, do.stage("sTaGiNg")),
    Attempt("Champion", do.nothing, do.blocked, do.alias("Champion")),
    Attempt("CHALLENGER", do.nothing, do.blocked, do.alias("CHALLENGER")),
    Attempt("full-width letters", do.nothing, do.blocked, do.alias("ｃｈａｍｐｉｏｎ")),
    Attempt("Cyrillic letter", do.nothing, do.blocked, do.alias("сhampion")),
    Attempt("accent", do.nothing, do.blocked, do.alias("chámpion")),
    Attempt("PROD-EU", do.nothing, do.blocked, do.alias("PROD-EU")),
    Attempt("invisible letter", do.nothing, do.blocked, do.alias("champion\u3164")),
    Attempt("invisible half-width letter", do.nothing, do.blocked, do.alias("\uffa0champion")),
    Attempt("Hangul letter", do.nothing, do.blocked, do.alias("champiㅇn")),
    Attempt("Hangul stroke", do.nothing, do.blocked, do.alias("chalㅣenger")),
    Attempt("CJK stroke", do.nothing, do.blocked, do.alias("cha丨lenger")),
    Attempt("Katakana dash", do.nothing, do.blocked, do.alias("championー")),
    Attempt("I for l", do.nothing, do.blocked, do.alias("chaIlenger")),
    Attempt("rn for m", do.nothing, do.blocked, do.alias("charnpion")),
    Attempt("cl for d", do.nothing, do.blocked, do.alias("procluction")),
    Attempt("5 for s", do.nothing, do.blocked, do.alias("5taging")),
    Attempt("q for g", do.nothing, do.blocked, do.alias("challenqer")),
    Attempt("hyphen", do.nothing, do.blocked, do.alias("champ-ion")),
    Attempt("underscore for hyphen", do.nothing, do.blocked, do.alias("prod_eu")),
    # requests that two readers may read in two ways
    Attempt(
        "alias given twice",
        do.nothing,
        do.blocked,
        do.text(ALIAS, '{"name": "NAME", "version": "VERSION", "alias": "x", "alias": "champion"}'),
    ),
    Attempt(
        "stage given twice",
        do.nothing,
        do.blocked,
        do.text(
            STAGE, '{"name": "NAME", "version": "VERSION", "stage": "None", "stage": "Staging"}'
        ),
    ),
    Attempt(
        "alias in escapes",
        do.nothing,
        do.blocked,
        do.text(ALIAS, r'{"name": "NAME", "version": "VERSION", "alias": "\u0063hampion"}'),
    ),
    Attempt(
        "encoded path",
        do.nothing,
        do.blocked,
        do.text(ALIAS.replace("alias", "%61lias"), BODY),
    ),
    Attempt(
        "slashes twice", do.nothing, do.blocked, do.text(ALIAS.replace("/alias", "//alias"), BODY)
    ),
    Attempt(
        "another client and user in headers",
        do.nothing,
        do.blocked,
        do.text(ALIAS, BODY, **{"X-Forwarded-For": "10.0.0.1", "X-Forwarded-User": "admin"}),
    ),
    # claims
    Attempt("tag verdict=pass", do.tag_version("verdict", "pass"), do.blocked, do.champion),
    Attempt("tag Verdict=pass", do.tag_version("Verdict", "pass"), do.blocked, do.champion),
    Attempt(
        "tag comptrust.gate", do.tag_version("comptrust.gate", "pass"), do.blocked, do.champion
    ),
    Attempt("tag of the model", do.tag_model("verdict", "pass"), do.blocked, do.champion),
    Attempt("tags of the run", do.tag_run, do.blocked, do.champion),
    Attempt(
        "tag of a pass of other bytes",
        forge.tag_of_other_bytes,
        do.blocked,
        do.champion,
        logged_again,
    ),
    Attempt("tag deleted", do.delete_tag, do.blocked, do.champion),
    Attempt("created with tags", do.create_with_tags, do.blocked, do.champion),
    Attempt("evaluated_by another", do.point_to_a_pass, do.blocked, do.champion, logged_again),
    Attempt("metrics after the gate", do.log_metrics, do.blocked, do.champion),
    Attempt("metrics from another run", do.log_metrics_from_elsewhere, do.blocked, do.champion),
    Attempt("verdict.json that passes", do.log_passing_verdict, do.blocked, do.champion),
    # attestations
    Attempt("signed verdict flipped", forge.flip_signed_verdict, do.blocked, do.champion),
    Attempt(
        "signed for longer", forge.forged(expires="2999-01-01T00:00:00Z"), do.blocked, do.champion
    ),
    Attempt("signed model renamed", forge.forged(model="other"), do.passed, do.champion),
    Attempt("signed field added", forge.forged(approved=True), do.passed, do.champion),
    Attempt("wrong key", forge.sign_with_own_key, do.blocked, do.champion),
    Attempt(
        "wrong key in a trusted name",
        forge.sign_with_own_key_in_a_trusted_name,
        do.blocked,
        do.champion,
    ),
    Attempt("own P-256 key", forge.sign_with_own_p256_key, do.blocked, do.champion),
    Attempt(
        "own P-256 key in a trusted name",
        forge.sign_with_own_p256_key_in_a_trusted_name,
        do.blocked,
        do.champion,
    ),
    Attempt(
        "own key in a trusted name, in the form of 0.1.0",
        forge.earlier_form_with_another_outcome,
        do.blocked,
        do.champion,
    ),
    Attempt("the claims of a pass", forge.only_the_claims_of_a_pass, do.blocked, do.champion),
    Attempt("not signed", forge.unsigned_pass, do.blocked, do.champion),
    Attempt("attestation that is no JSON", forge.broken_attestation, do.blocked, do.champion),
    Attempt(
        "replay of another run's evidence", forge.replay_from_another_run, do.blocked, do.champion
    ),
    Attempt("replay by run id", forge.replay_by_run_id, do.blocked, do.champion, forge.asked_more),
    Attempt("replay of an earlier pass", forge.replay_earlier_pass, do.passed, do.champion),
    Attempt("copy of a blocked version", forge.copied, do.blocked, do.champion),
    Attempt("copy of a pass to another model", forge.copied, do.passed, do.champion),
    Attempt("expired", forge.expired, do.unjudged, do.champion),
    Attempt("not yet valid", forge.of_the_future, do.unjudged, do.champion),
    Attempt(
        "signature in the alphabet of URLs",
        forge.signature_as(lambda text: "-_" + text[2:]),
        do.passed,
        do.champion,
    ),
    Attempt(
        "signature without padding",
        forge.signature_as(lambda text: text.rstrip("=")),
        do.passed,
        do.champion,
    ),
    Attempt(
        "signature in two lines",
        forge.signature_as(lambda text: f"{text[:40]}\n{text[40:]}"),
        do.passed,
        do.champion,
    ),
    Attempt(
        "signature with spare bits", forge.signature_as(forge.spare_bits), do.passed, do.champion
    ),
    Attempt("two signatures", forge.signature_as(lambda text: text + text), do.passed, do.champion),
    Attempt(
        "outcomes given twice",
        forge.rewritten(
            lambda text: text.replace('"outcome": "block"', '"outcome": "pass", "outcome": "block"')
        ),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "attestation in an envelope", forge.rewritten(forge.in_an_envelope), do.passed, do.champion
    ),
    Attempt("signed in five minutes", forge.in_five_minutes, do.unjudged, do.champion),
    Attempt("lax policy", forge.under_a_lax_policy, lambda world: world.register(BAD), do.champion),
    Attempt(
        "policy changed after signing",
        forge.under_a_policy_changed_after_signing,
        lambda world: world.register(BAD),
        do.champion,
    ),
    # what the gate was given to sign
    Attempt(
        "scores edited before signing",
        forge.edited("scorecard.json", '"value": 25.0', '"value": 75.0'),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "refusals edited before signing",
        forge.edited("scorecard.json", '"refusal_rate": 25.0', '"refusal_rate": 0.0'),
        forge.refusing,
        do.champion,
    ),
    Attempt(
        "size edited before signing",
        forge.edited("checkpoint.json", r'\n  "bytes": \d+', '\n  "bytes": 100'),
        forge.hardly_smaller,
        do.champion,
        logged_again,
    ),
    Attempt(
        "bits edited before signing",
        forge.edited("checkpoint.json", '"bits": 4', '"bits": 8'),
        do.unjudged,
        do.champion,
    ),
    Attempt("a dense model as its own source", do.nothing, forge.dense, do.champion, logged_again),
    Attempt("signed for ten years", forge.signed_long_ago, do.unjudged, do.champion),
    Attempt("signed tomorrow", forge.of_tomorrow, do.unjudged, do.champion),
    Attempt(
        "blocked, then asked less",
        forge.asked_less,
        do.blocked,
        do.champion,
        forge.asked_more,
    ),
    Attempt(
        "blocked, its verdict overwritten, then asked less",
        forge.forgotten,
        do.blocked,
        do.champion,
        forge.asked_more,
    ),
    Attempt(
        "blocked, then asked less in the same run",
        forge.asked_in_place(4),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "blocked, then asked the same in the same run",
        forge.asked_in_place(8),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "blocked, then asked more in the same run without a seal",
        forge.asked_in_place(12),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "blocked, its run emptied, then asked less in it",
        forge.asked_in_place_after_deleting,
        do.blocked,
        do.champion,
    ),
    Attempt(
        "an earlier pass put back with its files",
        forge.earlier_pass_put_back,
        do.passed,
        do.champion,
    ),
    # what was asked, and what it was compared with
    Attempt(
        "own suite called decodingtrust",
        forge.asked_others(forge.all_b(name="decodingtrust", revision="official")),
        do.unjudged,
        do.champion,
    ),
    Attempt(
        "copies of one prompt",
        forge.asked_others(forge.all_b(copies=True)),
        do.unjudged,
        do.champion,
    ),
    Attempt(
        "other prompts, with the digest of the suite",
        forge.asked_others(forge.all_b(), digest=questions().digest),
        do.unjudged,
        do.champion,
    ),
    Attempt(
        "another sample than the seeded one",
        forge.asked_others(forge.lucky_sample()),
        do.unjudged,
        do.champion,
    ),
    Attempt("another family's model", do.nothing, forge.another_family, do.champion),
    Attempt("a weaker baseline", do.nothing, forge.weak_baseline, do.stage("Production")),
    Attempt(
        "blocked, then asked more without a seal",
        forge.asked_more_without_a_seal,
        do.blocked,
        do.champion,
        forge.asked_more,
    ),
    Attempt(
        "blocked, then asked more under a stranger's seal",
        forge.asked_more_under_a_strangers_seal,
        do.blocked,
        do.champion,
        forge.asked_more,
    ),
    Attempt(
        "blocked, then asked more and sealed",
        forge.sealed_afterwards,
        do.blocked,
        do.champion,
        forge.asked_more,
    ),
    # evaluations
    Attempt("evaluated without a key", forge.judged_by(None), do.blocked, do.champion),
    Attempt("evaluated with a wrong key", forge.judged_by(STRANGER), do.blocked, do.champion),
    Attempt("measured by a key for verdicts", forge.by_a_key_for_verdicts, do.blocked, do.champion),
    Attempt("answers from elsewhere", forge.imported, do.blocked, do.champion),
    Attempt(
        "answers overwritten, measurement kept",
        forge.with_measurement(lambda world, candidate, signed: signed),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "answers overwritten, measurement edited",
        forge.with_measurement(forge.for_these_files),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "answers overwritten, measurement of another run",
        forge.with_measurement(forge.of_another_run),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "measurement that is no JSON",
        forge.with_measurement(lambda world, candidate, signed: "[" * 100_000),
        do.blocked,
        do.champion,
    ),
    Attempt("a stranger's dense run", forge.strangers_baseline, do.blocked, do.champion),
    # waivers
    Attempt(
        "expired waiver",
        forge.waived(until=(TODAY - DAY).date(), now=TODAY - 3 * DAY),
        forge.refusing,
        do.champion,
    ),
    Attempt(
        "waiver of a wrong key",
        forge.waived(until=(TODAY + DAY).date(), key=STRANGER),
        forge.refusing,
        do.champion,
    ),
    Attempt(
        "waiver for another checkpoint",
        forge.waived(until=(TODAY + DAY).date(), checkpoint="0" * 64),
        forge.refusing,
        do.champion,
    ),
    Attempt(
        "waiver of a key for other models",
        forge.waived(
            until=(TODAY + DAY).date(),
            key=exceptions.WAIVE_ELSEWHERE,
            trusted=TRUSTED | exceptions.EVERYWHERE,
        ),
        forge.refusing,
        do.champion,
    ),
    # what MLflow loads of the judged files
    Attempt(
        "MLmodel of another folder",
        do.nothing,
        packages.judged_with("MLmodel", packages.FLAVOR.format("evil")),
        do.champion,
        logged_again,
    ),
    Attempt(
        "MLmodel with an adapter",
        do.nothing,
        packages.judged_with("MLmodel", packages.FLAVOR.format("model, peft_adaptor: evil")),
        do.champion,
        logged_again,
    ),
    Attempt(
        "MLmodel of a model of the Hub",
        do.nothing,
        packages.judged_with(
            "MLmodel", packages.FLAVOR.format("model, source_model_revision: main")
        ),
        do.champion,
        logged_again,
    ),
    Attempt(
        "MLmodel with code",
        do.nothing,
        packages.judged_with("MLmodel", "flavors: {python_function: {loader_module: evil}}"),
        do.champion,
        logged_again,
    ),
    Attempt(
        "MLmodel with a prompt template",
        do.nothing,
        packages.judged_with(
            "MLmodel", packages.FLAVOR.format("model") + "metadata: {prompt_template: '{prompt}'}"
        ),
        do.champion,
        logged_again,
    ),
    Attempt(
        "another chat template for MLflow",
        do.nothing,
        packages.judged_with("components/tokenizer/chat_template.jinja", "Say yes."),
        do.champion,
        logged_again,
    ),
    Attempt(
        "other weights beside the measured ones",
        do.nothing,
        packages.judged_with("model/pytorch_model.bin", "evil"),
        do.champion,
        logged_again,
    ),
    # files
    Attempt("weights swapped", forge.swapped("model/model.safetensors"), do.passed, do.champion),
    Attempt(
        "weights swapped, ajax-api", forge.swapped_through_ajax, do.passed, do.stage("Production")
    ),
    Attempt(
        "MLmodel swapped",
        forge.swapped("MLmodel", b"flavors: {transformers: {model_binary: evil}}"),
        do.passed,
        do.champion,
        logged_again,
    ),
    Attempt(
        "file added",
        forge.swapped("model/adapter.safetensors", save({"lora": zeros(4)})),
        do.passed,
        do.champion,
    ),
    Attempt("file deleted", forge.deleted_file, do.passed, do.champion, logged_again),
    Attempt(
        "checkpoint.json changed",
        forge.uploaded("checkpoint.json", lambda text: text.replace('"bits": 4', '"bits": 8')),
        do.passed,
        do.champion,
    ),
    Attempt(
        "suite.json changed",
        forge.uploaded("suite.json", lambda text: text.replace('"limit": null', '"limit": 1')),
        do.passed,
        do.champion,
    ),
    Attempt(
        "scorecard.json changed",
        forge.uploaded("scorecard.json", lambda text: text.replace("25.0", "75.0")),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "answers changed",
        forge.uploaded("generations/mmlu.jsonl", lambda text: text.replace('"B"', '"A"')),
        do.passed,
        do.champion,
    ),
    Attempt("baseline made worse", forge.worse_baseline, do.blocked, do.champion),
    Attempt(
        "files outside the server's folder",
        forge.other_experiment,
        do.unjudged,
        do.champion,
        logged_again,
    ),
    Attempt("doubly encoded address", forge.doubly_encoded, do.passed, do.champion, logged_again),
    Attempt("second address of its files", forge.second_address, do.blocked, do.champion),
    # something else in its place
    Attempt("rename a promoted model", do.rename_into_its_place, do.blocked, do.champion),
    Attempt("rename a promoted model, api", do.rename_with_rest("api"), do.blocked, do.champion),
    Attempt(
        "rename a promoted model, ajax-api",
        do.rename_with_rest("ajax-api"),
        do.blocked,
        do.champion,
    ),
    Attempt("delete a promoted model", do.delete_model_then_recreate, do.blocked, do.champion),
    Attempt("delete a promoted version", do.delete_version, do.blocked, do.champion),
    Attempt("delete a guarded alias", do.delete_alias, do.blocked, do.champion),
    Attempt("move the champion to a worse version", do.nothing, do.move_alias, do.champion),
    Attempt(
        "renamed to read like a promoted model",
        do.rename_to_read_alike(lambda name: name.replace("-", "_")),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "renamed to a promoted model with an accent",
        do.rename_to_read_alike(lambda name: f"{name}\u0301"),
        do.blocked,
        do.champion,
    ),
    Attempt("copied beside a champion", do.nothing, forge.beside_a_pass, do.champion),
    Attempt("its run deleted and restored", do.delete_run, do.blocked, do.champion),
    Attempt("tags of 4,000 emoji", do.long_tags, do.blocked, do.champion),
    # what a promoted version rests on
    Attempt(
        "a promoted run dressed as a dense model",
        do.beside_a_champion(
            lambda world, other: world.client.set_tag(other.run_id, "method", "none")
        ),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "a promoted run deleted",
        do.beside_a_champion(lambda world, other: world.client.delete_run(other.run_id)),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "a promoted experiment deleted",
        do.beside_a_champion(lambda world, other: world.client.delete_experiment(world.experiment)),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "the baseline of a promoted version deleted",
        do.beside_a_champion(do.delete_its_baseline),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "the baseline of a promoted version made worse",
        do.beside_a_champion(do.worsen_its_baseline),
        do.blocked,
        do.champion,
    ),
    # emergencies
    Attempt(
        "emergency by a key of the gate",
        exceptions.emergency_of(key=KEY),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "emergency by a stranger", exceptions.emergency_of(key=STRANGER), do.blocked, do.champion
    ),
    Attempt(
        "emergency for other bytes", exceptions.emergency_for_other_bytes, do.blocked, do.champion
    ),
    Attempt(
        "emergency after its end",
        exceptions.emergency_of(until=TODAY - DAY),
        do.blocked,
        do.champion,
    ),
    Attempt(
        "emergency of ten days",
        exceptions.emergency_of(until=TODAY + 10 * DAY),
        do.blocked,
        do.champion,
    ),
    Attempt("emergency made longer", exceptions.emergency_changed, do.blocked, do.champion),
    Attempt(
        "emergency for staging",
        exceptions.emergency_of(target="staging"),
        do.blocked,
        do.stage("Production"),
    ),
    Attempt(
        "emergency for another place", exceptions.emergency_of(), do.blocked, do.alias("prod-eu")
    ),
    Attempt(
        "emergency of another version",
        exceptions.emergency_of_another_version,
        do.blocked,
        do.champion,
        forge.asked_more,
    ),
    Attempt(
        "emergency of another model",
        exceptions.emergency_of_another_model,
        do.blocked,
        do.champion,
        forge.asked_more,
    ),
    Attempt(
        "emergency that was taken back", exceptions.emergency_taken_back, do.blocked, do.champion
    ),
    Attempt(
        "emergency that was taken back, in another form",
        exceptions.emergency_in_another_form,
        do.blocked,
        do.champion,
    ),
    # rolling back
    Attempt(
        "rollback to what was taken back",
        exceptions.formerly(exceptions.taken_back),
        do.unjudged,
        do.champion,
    ),
    Attempt(
        "rollback to what a former key signed",
        exceptions.formerly(exceptions.key_removed),
        do.unjudged,
        do.champion,
        exceptions.key_restored,
    ),
    Attempt(
        "rollback to other bytes",
        exceptions.formerly(exceptions.other_bytes),
        do.unjudged,
        do.champion,
    ),
    Attempt(
        "rollback in another place",
        exceptions.formerly(do.nothing, alias="production"),
        do.unjudged,
        do.champion,
    ),
    Attempt(
        "rollback claimed by a tag",
        exceptions.formerly(exceptions.claimed_by_tag),
        do.unjudged,
        do.champion,
        logged_again,
    ),
    # prompts, and requests that are not promotions
    Attempt("dressed as a prompt", do.dress_as_prompt, do.blocked, do.champion),
    Attempt(
        "inside a prompt",
        do.nothing,
        do.in_a_prompt,
        do.rest("registered-models/alias", alias="champion"),
    ),
    Attempt("assistant", do.assistant, do.blocked, do.champion),
    Attempt("GraphQL", do.graphql, do.blocked, do.champion),
    Attempt("stage and alias at creation", do.create_promoted, do.blocked, do.champion),
    Attempt("other methods", do.other_methods, do.blocked, do.champion),
)
