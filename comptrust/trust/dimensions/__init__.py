"""The dimensions of trust, one file each: its scenarios, its parsing of an answer, its formula."""

from comptrust.plugins import Registry

REGISTRY = Registry("dimension", __name__, "comptrust.dimensions", verb="aggregate")
PUBLISHED = (
    "toxicity", "stereotype", "adv_robustness", "ood", "adv_demonstration", "privacy", "ethics",
    "fairness", "mmlu",
)  # fmt: skip
"""The dimensions of `Decoding Compressed Trust`, in the order of its tables."""


def dimensions() -> tuple[str, ...]:
    """Return the name of every dimension: the published ones in their order, then added ones."""
    return (*PUBLISHED, *sorted(set(REGISTRY.names()) - set(PUBLISHED)))
