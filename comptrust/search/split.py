"""Two parts of a suite: one to choose among candidates, one that only the winner answers.

The part held back is the seeded sample of the whole suite that `comptrust run --limit` asks, so a
policy that pins the suite counts it. The search asks the other items, in a seeded order of which
every beginning is a sample of its own (trust/sample.py).
"""

from comptrust.errors import UserError
from comptrust.gate import planning
from comptrust.gate.policy import Policy
from comptrust.records import Limit, Suite
from comptrust.text_tables import counted
from comptrust.trust import sample
from comptrust.trust.limit import shown

LOOKS = (0.25, 0.5, 1.0)
"""Shares of the search part after which a candidate may be decided."""


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


def parts(search: Suite) -> list[Suite]:
    """Return what is asked before each look, beyond what was asked before."""
    found: list[Suite] = []
    before: set[tuple[str, str]] = set()
    fields = {field: getattr(search, field) for field in Suite.model_fields}
    for share in LOOKS:
        asked = sample.draw(search, share) if share < 1 else search
        new = tuple(
            prompt for prompt in asked.prompts if (prompt.dimension, prompt.id) not in before
        )
        before |= {(prompt.dimension, prompt.id) for prompt in new}
        if new:
            found.append(Suite(**fields | {"prompts": new, "limit": None, "sample": None}))
    return found


def check(held: Suite, whole: Suite, policy: Policy) -> list[str]:
    """Return warnings about dimensions in which a lossless model passes too rarely.

    Raises UserError if nothing can pass on the part held back, with the size that would do.
    """
    rows = planning.plan(held, policy).rows
    share = len(held.prompts) / len(whole.prompts)
    never = [row for row in rows if not row.possible]
    if never:
        few = (f"{row.dimension} has {counted(row.clusters, 'item')}" for row in never)
        raise UserError(
            f"Nothing can pass policy {policy.name} on the part that is held back:"
            f" {'; '.join(few)}. {_size(never, share)}"
        )
    return [
        f"{row.dimension}: {row.clusters} items held back, and a lossless model needs {row.needed}"
        f" to pass reliably. {_size([row], share)}"
        for row in rows
        if not row.enough
    ]


def _size(rows: list[planning.PromptNeed], share: float) -> str:
    if any(row.needed is None for row in rows):
        return "No number of items like these would do: use a wider margin or another suite."
    needed = max(row.needed or 0 for row in rows)
    return f"A suite of {round(needed / share)} items in each would do, with {share:.0%} held back."
