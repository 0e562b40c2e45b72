"""The loader of all suites: finds the plug-in, filters its prompts and checks them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count

from comptrust.errors import UserError, unknown
from comptrust.plugins import Registry
from comptrust.records import Scoring, Suite
from comptrust.trust import scorers
from comptrust.trust.dimensions import dimensions as all_dimensions

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

    `dimensions` selects dimensions (None: all that the suite has), `limit` the first prompts of
    each scenario. Raises UserError for an unknown suite, dimension or scorer, a broken data file,
    duplicate ids, blank text or a suite without prompts.
    """
    name, _, argument = spec.partition(":")
    if dimensions is not None and not dimensions:
        raise UserError(f"The list of dimensions is empty. Known: {', '.join(all_dimensions())}.")
    for dimension in dimensions or ():
        if dimension not in all_dimensions():
            raise unknown("dimension", dimension, all_dimensions())
    chosen = None if dimensions is None else tuple(dict.fromkeys(dimensions))
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; it must be at least 1 prompt per scenario.")
    suite: Suite = SUITES.get(name)().load(
        argument or None, dimensions=chosen, scoring=scoring, limit=limit
    )
    wanted = set(chosen or all_dimensions())
    numbers: defaultdict[tuple[str, str], Iterator[int]] = defaultdict(count)
    prompts = tuple(
        prompt
        for prompt in suite.prompts
        if prompt.dimension in wanted
        and (limit is None or next(numbers[prompt.dimension, prompt.scenario]) < limit)
    )
    needs_scorer = any(prompt.dimension == "toxicity" for prompt in prompts)
    suite = suite.model_copy(
        update={
            "prompts": prompts,
            "required": {key: value for key, value in suite.required.items() if key in wanted},
            "scorers": {"toxicity": scorers.get(toxicity_scorer).identity} if needs_scorer else {},
            "scoring": scoring,
            "limit": limit,
        }
    )
    check(suite, spec=spec)
    return suite


def check(suite: Suite, *, spec: str) -> None:
    """Check a suite.

    Raises UserError if it is empty, repeats an id within a dimension or has a blank message.
    """
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


def split_dimensions(text: str | None) -> list[str] | None:
    """Return the names in a comma-separated list without the blanks around them; None stays None.

    Raises UserError for an empty name.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UserError(
            f"The list of dimensions '{text}' has an empty name. Separate names with one comma,"
            " such as mmlu,ethics."
        )
    return names
