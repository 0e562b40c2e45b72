"""The part of a suite that a sequential evaluation asked."""

from collections.abc import Collection

from comptrust.errors import UserError
from comptrust.records import Stopped, Suite
from comptrust.trust import order


def fitting(suite: Suite, left_out: Collection[tuple[str, str]]) -> Suite:
    """Return a suite without some prompts (dimension, id): those beyond the context window."""
    if not left_out:
        return suite
    prompts = (prompt for prompt in suite.prompts if (prompt.dimension, prompt.id) not in left_out)
    # Not model_copy: it would copy the digest too.
    fields = {field: getattr(suite, field) for field in Suite.model_fields}
    return Suite(**fields | {"prompts": tuple(prompts)})


def part(suite: Suite, stopped: Stopped) -> Suite:
    """Return the prompts that were asked and those left out, in the suite's order.

    Raises UserError if it is a part of another suite, or says more items than there are.
    """
    if not suite.is_named(stopped.parent):
        raise UserError(
            f"It is a part of suite {stopped.parent[:12]}, not of {suite.name}"
            f" ({suite.digest[:12]})."
        )
    left_out = {(name, key) for name, keys in stopped.left_out.items() for key in keys}
    kept = set(left_out)
    fits = fitting(suite, left_out)
    by_dimension = fits.by_dimension()
    for name, count in stopped.items.items():
        prompts = by_dimension.get(name, [])
        items = order.of(fits, name, seed=stopped.seed).items if prompts else ()
        if not 0 < count <= len(items):
            raise UserError(f"It says that {count} items of {name} were asked, of {len(items)}.")
        kept |= {(name, prompts[row].id) for item in items[:count] for row in item}
    fields = {field: getattr(suite, field) for field in Suite.model_fields}
    asked = {
        "prompts": tuple(one for one in suite.prompts if (one.dimension, one.id) in kept),
        "required": {name: suite.required[name] for name in stopped.items},
        "stopped": stopped,
    }
    return Suite(**fields | asked)
