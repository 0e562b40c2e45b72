"""Prompts beyond the model's context window are left out; what that costs is said first."""

from collections import Counter
from collections.abc import Callable, Sequence

from comptrust.errors import UserError
from comptrust.models.base import Backend
from comptrust.records import Prompt, Suite
from comptrust.text_tables import counted


def beyond(
    backend: Backend, suite: Suite, rendered: Sequence[str], *, say: Callable[[str], None]
) -> list[Prompt]:
    """Return the prompts that do not fit once rendered. Raises UserError if none fits."""
    pairs = zip(suite.prompts, rendered, strict=True)
    prompts = [prompt for prompt, text in pairs if not backend.fits(prompt, text)]
    if len(prompts) == len(suite.prompts):
        raise UserError(
            f"None of the {len(prompts)} prompts of suite {suite.name} fits the model's context"
            " window. Check the model's max_position_embeddings, or choose another suite."
        )
    if prompts:
        say(f"{counted(len(prompts), 'prompt')} left out: too long for the model's context window")
    asked = Counter(f"{prompt.dimension}/{prompt.scenario}" for prompt in suite.prompts)
    left_out = Counter(f"{prompt.dimension}/{prompt.scenario}" for prompt in prompts)
    if lost := [name for name, count in left_out.items() if count == asked[name]]:
        dimensions = dict.fromkeys(name.partition("/")[0] for name in lost)
        say(
            f"no prompt is left of {', '.join(lost)}, so {', '.join(dimensions)} will have no score"
            " unless the policy lists these scenarios under `exclude`"
        )
    return prompts
