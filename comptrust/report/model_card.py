"""The model card of an exported checkpoint, below the metadata that Hugging Face reads."""

from collections.abc import Iterator

from comptrust.report import card_metadata, skeleton
from comptrust.report.bundle import Bundle
from comptrust.report.markup import markdown_table

NOT_MEASURED = "not measured"


def render(bundle: Bundle) -> str:
    """Return the card as Markdown; it says so where something was not measured."""
    attestation, checkpoint, asked = bundle.attestation, bundle.checkpoint, bundle.measured.suite
    signed = "not signed"
    if attestation:
        until = f"{attestation.expires:%Y-%m-%d}"
        signed = f"signed by key `{attestation.key_id}`, valid until {until}"
    fields = checkpoint.recipe.model_dump(mode="json", exclude_none=True, exclude={"options"})
    card = skeleton.fill(
        "model_card.txt",
        version=bundle.version,
        checkpoint=checkpoint,
        verdict=bundle.verdict,
        signed=signed,
        table=markdown_table,
        recipe=[(key, f"`{value}`") for key, value in (fields | checkpoint.recipe.options).items()],
        sizes=[
            ("weight files", f"{checkpoint.bytes / 1e6:.1f} MB"),
            ("dense source at 16 bits", f"{checkpoint.dense_bytes / 1e6:.1f} MB"),
            ("stored bits per compressed weight", f"{checkpoint.effective_bits:.2f}"),
            ("zeros among the compressed weights", f"{checkpoint.sparsity:.1%}"),
            ("compressed", checkpoint.coverage),
        ],
        scores=list(_scores(bundle)),
        suite=f"{asked.name} {asked.revision}" if asked else "unknown",
        findings=[(one.rule, one.outcome, one.reason) for one in bundle.verdict.findings],
        template=bundle.measured.scorecard.provenance.get("template", "unknown"),
    )
    return f"{card_metadata.render(bundle)}{card}\n"


def _scores(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    """Yield scores with 95% bootstrap intervals and, from the verdict, drops with bounds."""
    for score in bundle.measured.scorecard.scores:
        interval = drop = floor = NOT_MEASURED
        if bounds := bundle.intervals.get(score.dimension):
            interval = "{:.1f} to {:.1f}".format(*bounds)
        if lost := bundle.drops.get(score.dimension):
            bound = "" if lost.upper is None else f" (at most {lost.upper:.1f})"
            drop = f"{lost.observed:+.1f}{bound}"
            floor = NOT_MEASURED if lost.floor is None else f"{lost.floor:.1f}"
        value = NOT_MEASURED if score.value is None else f"{score.value:.1f}"
        counted = f"{score.n_scored} of {score.n_prompts}"
        prompts = counted if score.withheld else str(score.n_prompts)
        yield score.dimension, value, interval, drop, floor, prompts
