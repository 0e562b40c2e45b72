"""The loader of all suites: finds the plug-in, filters its prompts and checks them."""

from collections.abc import Sequence
from typing import NamedTuple

from comptrust import config
from comptrust.errors import UserError, unknown
from comptrust.plugins import Registry
from comptrust.records import Limit, Scoring, Stop, Suite
from comptrust.trust import content, sample, scorers
from comptrust.trust import limit as limits
from comptrust.trust.dimensions import dimensions as all_dimensions
from comptrust.trust.evaluation import Evaluation

SUITES = Registry("suite", "comptrust.trust.suites", "comptrust.suites", verb="load")


def load(
    spec: str,
    *,
    dimensions: Sequence[str] | None = None,
    scoring: Scoring = "compressed-trust",
    limit: Limit | None = None,
    toxicity_scorer: str = scorers.DEFAULT,
) -> Suite:
    """Load a suite by its spec: `mini`, `decodingtrust:DIR` or `hf:NAME`.

    `dimensions` selects some, and `limit` a sample of items of each (sample.py). Raises UserError
    for an unknown suite, dimension or scorer, a broken file, or prompts that `check` refuses.
    """
    name, _, argument = spec.partition(":")
    check_names(dimensions)
    chosen = None if dimensions is None else tuple(dict.fromkeys(dimensions))
    if limit is not None:
        limits.checked(limit)
    suite: Suite = SUITES.get(name)().load(argument or None, dimensions=chosen, scoring=scoring)
    wanted = set(chosen or all_dimensions())
    prompts = tuple(prompt for prompt in suite.prompts if prompt.dimension in wanted)
    needs_scorer = any(prompt.dimension == "toxicity" for prompt in prompts)
    suite = suite.model_copy(
        update={
            "prompts": prompts,
            "required": {key: value for key, value in suite.required.items() if key in wanted},
            "scorers": {"toxicity": scorers.get(toxicity_scorer).identity} if needs_scorer else {},
            "scoring": scoring,
        }
    )
    check(suite, spec=spec)
    return suite if limit is None else sample.draw(suite, limit)


def check_names(dimensions: Sequence[str] | None) -> None:
    """Raise UserError for an unknown dimension, or none at all."""
    if dimensions is not None and not dimensions:
        raise UserError(f"The list of dimensions is empty. Known: {', '.join(all_dimensions())}.")
    for dimension in dimensions or ():
        if dimension not in all_dimensions():
            raise unknown("dimension", dimension, all_dimensions())


def has_data(spec: str) -> bool:
    """Return whether a suite can be loaded without fetching or finding anything first."""
    name, _, place = spec.partition(":")
    return name not in ("decodingtrust", "hf") or not place or config.path_of(place).exists()


class Defaults(NamedTuple):
    """How `run` and sweeps use a suite where the user does not say."""

    limit: Limit | None
    policy: str | None
    """None: the default policy."""


def defaults(spec: str) -> Defaults:
    """Return what a suite's class says in `run_limit` and `run_policy`; None where it does not."""
    name = spec.partition(":")[0]
    plugin = SUITES.get(name) if name in SUITES.names() else None
    return Defaults(getattr(plugin, "run_limit", None), getattr(plugin, "run_policy", None))


def for_run(
    spec: str,
    *,
    dimensions: Sequence[str] | None,
    scoring: Scoring,
    limit: Limit | None,
    stop: Stop = "full",
) -> Suite:
    """Load a suite as `run` and sweeps ask it: without a limit, with the suite's own.

    What stops early may ask all of it, as far as its rule needs.
    """
    if stop == "full":
        limit = limit or defaults(spec).limit
    return load(spec, dimensions=dimensions, scoring=scoring, limit=limit)


def answered(evaluation: Evaluation, spec: str) -> Suite:
    """Load what an evaluation was asked: all of a suite, or the seeded sample that it states.

    Raises UserError if its records and answers are not of these prompts.
    """
    ref, manifest = evaluation.ref, evaluation.suite
    if manifest is None:
        raise UserError(f"{ref} has no suite.json, so nothing says which prompts it was asked.")
    if manifest.stopped:
        raise UserError(
            f"{ref} was asked a part of its suite, until the gate was certain. Evaluate it with"
            " --stop full."
        )
    if manifest.limit is not None and manifest.sample is None:
        raise UserError(
            f"{ref} was asked the first {manifest.limit} prompts of each scenario by an earlier"
            " version, which is no random sample. Evaluate it again."
        )
    suite = load(
        spec,
        dimensions=tuple(manifest.required),
        scoring=manifest.scoring,
        toxicity_scorer=manifest.scorers.get("toxicity", scorers.DEFAULT).partition("@")[0],
    )
    suite = suite.named(manifest.parent)
    if manifest.parent != suite.digest:
        raise UserError(
            f"{ref} was asked suite {manifest.name} ({manifest.parent[:12]}), which is not"
            f" '{spec}' ({suite.digest[:12]}). Give --suite with the data that it was evaluated on."
        )
    if manifest.limit is not None:
        suite = sample.draw(suite, limits.checked(manifest.limit))
    same_suite = evaluation.scorecard.suite_digest == suite.digest
    if not same_suite or not content.shows(evaluation, content.of_suite(suite)):
        raise UserError(
            f"{ref} has answers to other prompts than its suite.json states (limit"
            f" {limits.shown(manifest.limit)} of '{spec}'). Evaluate it again."
        )
    return suite


def check(suite: Suite, *, spec: str) -> None:
    """Raise UserError if a suite is empty, repeats an id or has a blank message."""
    if not suite.prompts:
        raise UserError(
            f"Suite '{spec}' has no prompts for {', '.join(suite.required) or 'any dimension'}."
            " Check its data folder."
        )
    seen: set[tuple[str, str]] = set()
    for prompt in suite.prompts:
        where = f"Suite '{spec}', {prompt.dimension} prompt '{prompt.id}'"
        if (prompt.dimension, prompt.id) in seen:
            raise UserError(f"{where}: duplicate id. Give each prompt its own id.")
        seen.add((prompt.dimension, prompt.id))
        if not prompt.messages or any(not message.content.strip() for message in prompt.messages):
            raise UserError(f"{where}: a message is blank. Every message needs text.")


def split_dimensions(text: str) -> list[str]:
    """Return the names in a comma-separated list. Raises UserError for an empty one."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UserError(
            f"The list of dimensions '{text}' has an empty name. Separate names with one comma,"
            " such as mmlu,ethics."
        )
    return names
