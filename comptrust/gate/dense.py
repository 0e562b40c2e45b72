"""Dense sources bound to registered names: which model a name is the compressed form of."""

import fnmatch
from collections.abc import Mapping
from typing import Self

from pydantic import model_validator

from comptrust.gate.pins import Digest
from comptrust.records import Finding, Recipe, Record

RULE = "source"
"""The name of the finding."""


class DenseSource(Record):
    """The dense model that versions of a registered name are made from."""

    base_model: str | None = None
    """Its name, as in a recipe."""
    revision: str | None = None
    """Its commit on Hugging Face, or the digest of its folder, as in a recipe."""
    checkpoint: Digest | None = None
    """Digest of the dense checkpoint whose answers are the baseline, as in its checkpoint.json."""

    @model_validator(mode="after")
    def _check_identity(self) -> Self:
        if not self.revision and not self.checkpoint:
            raise ValueError("a dense source needs a revision or a checkpoint digest")
        return self


Sources = Mapping[str, DenseSource]
"""Pattern of registered names -> dense source."""


def binding(name: str, sources: Sources) -> dict[str, DenseSource]:
    """Return the entries that are about a registered name; all of them must hold."""
    return {
        pattern: source for pattern, source in sources.items() if fnmatch.fnmatchcase(name, pattern)
    }


def check(
    sources: Sources, *, model: str, recipe: Recipe | None, checkpoint: str | None
) -> Finding | None:
    """Return whether a candidate is of the dense source that a policy binds its name to.

    `recipe` is the candidate's, `checkpoint` the digest of its baseline. None if the policy binds
    no names; as soon as it binds one, it passes no other.
    """
    if not sources:
        return None
    refusal = _refusal(sources, model, recipe, checkpoint)
    reason = refusal or f"{model} is made from the dense source that the policy binds it to."
    return Finding(rule=RULE, outcome="inconclusive" if refusal else "pass", reason=reason)


def _refusal(sources: Sources, model: str, recipe: Recipe | None, checkpoint: str | None) -> str:
    """Return why a name is not bound to a dense source; empty if it is."""
    if not model:
        return (
            "The policy binds names to dense sources, and nothing says which registered model this"
            " is. Judge its version instead."
        )
    bound = binding(model, sources)
    for pattern, source in bound.items():
        facts = (
            ("base_model", source.base_model, recipe.base_model if recipe else None),
            ("revision", source.revision, recipe.revision if recipe else None),
            ("checkpoint", source.checkpoint, checkpoint),
        )
        for field, wanted, stated in facts:
            if wanted not in (None, stated):
                return (
                    f"The policy binds {pattern} to the dense source with {field} {wanted}, but"
                    f" {model} was made from or compared with {stated or 'an unknown one'}. Make it"
                    " from that source, register it under another name, or change `sources:`."
                )
    if not bound:
        return (
            f"The policy binds names to dense sources, but not {model}. Add it to `sources:` with"
            f" checkpoint {checkpoint or 'DIGEST'} if that is its dense model, or use a bound name."
        )
    return ""
