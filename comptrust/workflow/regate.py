"""Judge what is promoted again, under the present policies, and say what has to be measured."""

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from comptrust.errors import UserError
from comptrust.gate.enforcement import settings
from comptrust.gate.enforcement.settings import Level
from comptrust.records import Recipe, Result
from comptrust.tracking import registry, runs, store
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow import signatures


@dataclass(frozen=True)
class Regated:
    """One version, judged again with what is there."""

    ref: str
    policy: str
    outcome: Result
    missing: tuple[str, ...]
    """Why it does not pass, finding by finding."""
    measure: str | None
    """The command that measures what is missing; None if that would not help."""
    signed: str


def regate(ref: str, *, policy: str | None = None) -> tuple[Regated, ...]:
    """Judge and sign a version, or every promoted one of a model, again. Raises UserError.

    The policy is that of the version's highest place, as for a server with this environment.
    """
    match = re.fullmatch(r"models:/([^/@]+)", ref)
    if not match:
        version = registry.resolve(ref)
        levels = dict(_promoted(version.name))
        level = levels.get(version.version, "production")
        return (_again(version, policy or _policy(level)),)
    found = sorted(_promoted(match[1]), key=lambda item: int(item[0]))
    if not found:
        raise UserError(f"No version of {match[1]} is promoted. Name one: comptrust regate {ref}/N")
    return tuple(
        _again(registry.resolve(f"{ref}/{number}"), policy or _policy(level))
        for number, level in found
    )


def _again(version: registry.Version, policy: str) -> Regated:
    try:
        judgment = signatures.judge_again(
            version.ref,
            baseline=None,
            policy=policy,
            waivers_file=None,
            record=True,
            accepted=True,
        )
    except UserError as error:  # there is no evaluation, or it cannot be used
        again = _measure(version, None, policy)
        return Regated(version.ref, policy, "inconclusive", (str(error),), again, "no")
    verdict = judgment.verdict
    open_findings = [finding for finding in verdict.findings if finding.outcome != "pass"]
    missing = tuple(f"{finding.rule}: {finding.reason}" for finding in open_findings)
    unknown = verdict.outcome == "inconclusive"
    command = _measure(version, judgment.candidate, policy) if unknown else None
    return Regated(version.ref, policy, verdict.outcome, missing, command, judgment.signature.line)


def _promoted(name: str) -> Iterator[tuple[str, Level]]:
    guarded = settings.load(store.tracking_uri())
    with runs.service():
        model = runs.client().get_registered_model(name)
        versions = runs.client().search_model_versions(f"name='{name}'")
    places = {
        str(item.version): {settings.STAGES.get(str(item.current_stage))} for item in versions
    }
    for alias, number in model.aliases.items():
        places.setdefault(str(number), set()).add(guarded.of_alias(alias))
    for number, levels in places.items():
        if found := [level for level in reversed(settings.LEVELS) if level in levels]:
            yield number, found[0]


def _policy(level: Level) -> str:
    return os.environ.get(settings.POLICY[level]) or level


def _measure(version: registry.Version, measured: Evaluation | None, policy: str) -> str | None:
    """Return the command that evaluates exactly these files, and their dense source, in full."""
    recipe = measured.recipe if measured else None
    if recipe is None:
        return None
    suite = measured.suite.name if measured and measured.suite else "mini"
    folder = f"out/{version.name}-{version.version}"
    fetch = ["mlflow", "artifacts", "download", "--artifact-uri", version.ref]
    register = ["comptrust", "register", f"{folder}/model", *_recipe(recipe), "--evaluate"]
    register += ["--suite", suite if suite != "decodingtrust" else "decodingtrust:DIR"]
    register += ["--limit", "100%", "--policy", policy]
    return f"{shlex.join([*fetch, '--dst-path', folder])} && {shlex.join(register)}"


def _recipe(recipe: Recipe) -> Iterator[str]:
    yield from ("--base", recipe.base_model, "--method", recipe.method)
    for name in ("bits", "group_size", "sparsity", "structure"):
        if (value := getattr(recipe, name)) is not None:
            yield from (f"--{name.replace('_', '-')}", str(value))
