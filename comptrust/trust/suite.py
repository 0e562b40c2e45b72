"""One loader for every suite: finds the plug-in, filters, and refuses a suite that cannot be
measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from comptrust.config import DIMENSIONS
from comptrust.errors import UserError, unknown
from comptrust.plugins import Registry
from comptrust.records import Prompt, Scoring, Suite
from comptrust.trust import scorers

SUITES = Registry("suite", "comptrust.trust.suites", "comptrust.suites", verb="load")


def load(
    spec: str,
    *,
    dimensions: Sequence[str] | None = None,
    scoring: Scoring = "compressed-trust",
    limit: int | None = None,
    toxicity_scorer: str = scorers.DEFAULT,
) -> Suite:
    """Load a suite by its spec: `mini`, `decodingtrust:DIR` or `hf:NAME`.

    `dimensions` keeps only these (None = all that the suite has), `limit` the first prompts of each
    scenario. Raises UserError for an unknown suite, dimension or scorer, a broken data file,
    repeated ids, blank text or a suite without prompts.
    """
    name, _, argument = spec.partition(":")
    chosen = _dimensions(dimensions)
    if limit is not None and limit < 1:
        raise UserError(f"--limit is {limit}; it must be at least 1 prompt per scenario.")
    suite: Suite = SUITES.get(name)().load(
        argument or None, dimensions=chosen, scoring=scoring, limit=limit
    )
    asked = set(chosen or DIMENSIONS)
    prompts = first(
        tuple(prompt for prompt in suite.prompts if prompt.dimension in asked), limit=limit
    )
    needs_scorer = any(prompt.dimension == "toxicity" for prompt in prompts)
    suite = suite.model_copy(
        update={
            "prompts": prompts,
            "required": {key: value for key, value in suite.required.items() if key in asked},
            "scorers": {"toxicity": scorers.get(toxicity_scorer).identity} if needs_scorer else {},
            "scoring": scoring,
            "limit": limit,
        }
    )
    check(suite, spec=spec)
    return suite


def first(prompts: Sequence[Prompt], *, limit: int | None) -> tuple[Prompt, ...]:
    """Keep the first `limit` prompts of each scenario of each dimension, in order; None keeps
    all."""
    if limit is None:
        return tuple(prompts)
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for prompt in prompts:
        key = (prompt.dimension, prompt.scenario)
        seen[key] += 1
        if seen[key] <= limit:
            kept.append(prompt)
    return tuple(kept)


def check(suite: Suite, *, spec: str) -> None:
    """Refuse a suite that is empty, repeats an id within a dimension or asks with blank text.
    Raises UserError.
    """
    if not suite.prompts:
        raise UserError(
            f"Suite '{spec}' holds no prompts for {', '.join(suite.required) or 'any dimension'}."
            " Check its data folder."
        )
    seen: set[tuple[str, str]] = set()
    for prompt in suite.prompts:
        where = f"Suite '{spec}', {prompt.dimension} prompt '{prompt.id}'"
        if (prompt.dimension, prompt.id) in seen:
            raise UserError(f"{where}: the id stands twice. Give each prompt its own id.")
        seen.add((prompt.dimension, prompt.id))
        if not prompt.messages or any(not message.content.strip() for message in prompt.messages):
            raise UserError(f"{where}: a message is blank. Every message needs text.")


def _dimensions(names: Sequence[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    for name in names:
        if name not in DIMENSIONS:
            raise unknown("dimension", name, DIMENSIONS)
    if not names:
        raise UserError(f"No dimension was named. Known: {', '.join(DIMENSIONS)}.")
    return tuple(dict.fromkeys(names))
