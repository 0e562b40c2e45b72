"""Two parts of a suite: one to choose among candidates, one that only the winner answers.

The part held back is the seeded sample of the whole suite that `comptrust run --limit` asks, so a
policy that pins the suite counts it. The search asks the other items.
"""

import math

from comptrust.errors import UserError
from comptrust.gate import planning
from comptrust.gate.policy import Policy
from comptrust.records import Limit, Suite
from comptrust.text_tables import counted
from comptrust.trust import sample
from comptrust.trust.limit import shown


def split(suite: Suite, share: Limit) -> tuple[Suite, Suite]:
    """Return the part for the search and the part held back; no item is in both.

    Raises UserError if either would be empty.
    """
    held = sample.draw(suite, share)
    ids = {(prompt.dimension, prompt.id) for prompt in held.prompts}
    rest = tuple(prompt for prompt in suite.prompts if (prompt.dimension, prompt.id) not in ids)
    missing = {prompt.dimension for prompt in suite.prompts} - {one.dimension for one in rest}
    if missing:
        raise UserError(
            f"With {shown(share)} of the items held back, nothing is left to search with in"
            f" {', '.join(sorted(missing))}. Hold back less, or use a larger suite."
        )
    fields = {field: getattr(suite, field) for field in Suite.model_fields}
    return Suite(**fields | {"prompts": rest, "limit": None, "sample": None}), held


def check(whole: Suite, share: Limit, policy: Policy) -> list[str]:
    """Return warnings about dimensions in which a lossless model passes too rarely.

    Raises UserError if nothing can pass on one of the parts, with the size that would do.
    """
    warnings: list[str] = []
    # A part may be too small to tell what would do; the whole suite tells more.
    wholes = {_which(row): row.needed for row in planning.needs(whole, policy)}
    parts = zip(("to search with", "held back"), split(whole, share), strict=True)
    for words, part in parts:
        ratio = len(part.prompts) / len(whole.prompts)
        rows = planning.needs(part, policy)
        if never := [row for row in rows if not row.possible]:
            few = (f"{row.dimension} has {counted(row.clusters, 'item')}" for row in never)
            raise UserError(
                f"Nothing can pass policy {policy.name} on the part {words}:"
                f" {'; '.join(few)}. {_size([wholes[_which(row)] for row in never], ratio)}"
            )
        warnings += [
            f"{row.dimension}: {row.clusters} items {words}, with which a lossless model passes"
            f" too rarely. {_size([row.needed or wholes[_which(row)]], ratio)}"
            for row in rows
            if not row.enough
        ]
    return warnings


def _which(row: planning.PromptNeed) -> tuple[str, float, str]:
    return row.dimension, row.points, row.applies_to


def _size(needed: list[int | None], ratio: float) -> str:
    known = [number for number in needed if number is not None]
    if len(known) < len(needed):
        return "No number of items like these would do: use a wider margin or another suite."
    return f"A suite of {math.ceil(max(known) / ratio):,} items in each would do, split alike."
