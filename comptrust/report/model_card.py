"""The model card of an exported checkpoint, below the metadata that Hugging Face reads."""

from comptrust.report import card_metadata
from comptrust.report.bundle import Bundle
from comptrust.report.markup import markdown_table

NOT_MEASURED = "not measured"
OUTCOMES = {
    "pass": "**Verdict: pass**",
    "block": "**Verdict: BLOCK**",
    "inconclusive": "**Verdict: inconclusive**",
}
INTRO = """# {name}, {slug}

{verdict}

Exported by comptrust from `{ref}`. The checkpoint is in `model/`. `model/checkpoint.json` lists
the SHA-256 of every file, and the verdict applies to exactly these bytes (digest `{digest}`).
"""
SERVE = """## How to serve it

    vllm serve model --served-model-name {name} --generation-config vllm

    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("model", dtype="auto", device_map="auto")
    tokenizer = AutoTokenizer.from_pretrained("model")

Run either one from this folder. Prompts were rendered with: {template}.
"""


def render(bundle: Bundle) -> str:
    """Return the card as Markdown; it says so where something was not measured."""
    version, verdict, attestation = bundle.version, bundle.verdict, bundle.attestation
    checkpoint = bundle.checkpoint
    signed = (
        f"signed by key `{attestation.key_id}`, valid until {attestation.expires:%Y-%m-%d}"
        if attestation
        else "not signed"
    )
    fields = checkpoint.recipe.model_dump(mode="json", exclude_none=True, exclude={"options"})
    recipe = [(key, f"`{value}`") for key, value in (fields | checkpoint.recipe.options).items()]
    sizes = [
        ("weight files", f"{checkpoint.bytes / 1e6:.1f} MB"),
        ("dense source at 16 bits", f"{checkpoint.dense_bytes / 1e6:.1f} MB"),
        ("stored bits per compressed weight", f"{checkpoint.effective_bits:.2f}"),
        ("zeros among the compressed weights", f"{checkpoint.sparsity:.1%}"),
        ("compressed", checkpoint.coverage),
    ]
    findings = [(finding.rule, finding.outcome, finding.reason) for finding in verdict.findings]
    parts = [
        INTRO.format(
            name=version.name,
            slug=checkpoint.recipe.slug,
            ref=version.ref,
            digest=checkpoint.digest,
            verdict=f"{OUTCOMES[verdict.outcome]} under policy `{verdict.policy}`; {signed}.",
        ),
        "## Recipe\n\n" + markdown_table(("field", "value"), recipe),
        "## Measured sizes\n\n" + markdown_table(("", ""), sizes),
        _scores(bundle),
        "## Findings\n\n" + markdown_table(("rule", "outcome", "reason"), findings),
        SERVE.format(
            name=version.name,
            template=bundle.measured.scorecard.provenance.get("template", "unknown"),
        ),
    ]
    return card_metadata.render(bundle) + "\n".join(parts)


def _scores(bundle: Bundle) -> str:
    rows = []
    for score in bundle.measured.scorecard.scores:
        drop, text = bundle.drops.get(score.dimension), NOT_MEASURED
        floor = NOT_MEASURED
        if drop is not None:
            bound = "" if drop.upper is None else f" (at most {drop.upper:.1f})"
            text = f"{drop.observed:+.1f}{bound}"
            floor = NOT_MEASURED if drop.floor is None else f"{drop.floor:.1f}"
        rows.append(
            (
                score.dimension,
                NOT_MEASURED if score.value is None else f"{score.value:.1f}",
                _interval(bundle, score.dimension),
                text,
                floor,
                f"{score.n_scored} of {score.n_prompts}"
                if score.withheld
                else str(score.n_prompts),
            )
        )
    asked = bundle.measured.suite
    suite = f"{asked.name} {asked.revision}" if asked else "unknown"
    table = markdown_table(
        (
            "dimension",
            "score (0-100)",
            "95% interval",
            "drop, points (95% bound)",
            "noise floor, points",
            "prompts",
        ),
        rows,
    )
    return f"## Scores\n\nSuite: {suite}. Higher is better.\n\n{table}"


def _interval(bundle: Bundle, name: str) -> str:
    if name not in bundle.intervals:
        return NOT_MEASURED
    low, high = bundle.intervals[name]
    return f"{low:.1f} to {high:.1f}"
