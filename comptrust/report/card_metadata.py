"""The YAML front matter of a model card, with the fields and the `model-index` of Hugging Face."""

from typing import Any

import yaml

from comptrust.report.bundle import Bundle

TASK = {"type": "text-generation", "name": "Text Generation"}


def render(bundle: Bundle) -> str:
    """Return the front matter with its two lines of dashes; what is not known is left out."""
    text = yaml.safe_dump(fields(bundle), sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n\n"


def fields(bundle: Bundle) -> dict[str, Any]:
    """Return the metadata: license, base model, tags and measured scores."""
    recipe = bundle.checkpoint.recipe
    quantized, pruned = recipe.bits is not None, recipe.sparsity is not None
    facts: dict[str, Any] = dict(bundle.license)
    if bundle.hub_id:
        facts["base_model"] = bundle.hub_id
        # Hugging Face has no word for pruning; the tag says it.
        facts |= {"base_model_relation": "quantized"} if quantized else {}
    tags = ["comptrust", recipe.method if recipe.method != "none" else "dense"]
    tags += ["quantized", f"{recipe.bits}-bit", recipe.format] if quantized else []
    tags += ["pruned"] if pruned else []
    facts |= {"library_name": "transformers", "pipeline_tag": TASK["type"], "tags": tags}
    if results := _results(bundle):
        facts["model-index"] = [{"name": bundle.version.name, "results": results}]
    return facts


def _results(bundle: Bundle) -> list[dict[str, Any]]:
    suite = bundle.measured.suite
    if suite is None:
        return []
    facts = {"digest": suite.digest, "scoring": suite.scoring}
    results = []
    for score in bundle.measured.scorecard.scores:
        if score.value is None:
            continue
        metrics = [_metric("score", "Score, 0-100, higher is better", score.value)]
        if score.refusal_rate is not None:
            metrics.append(_metric("refusal_rate", "Refusals, percent", score.refusal_rate))
        dataset = {
            "name": f"{suite.name}, {score.dimension}",
            "type": suite.name,
            "config": score.dimension,
            "revision": suite.revision,
            "args": facts | {"prompts": score.n_prompts},
        }
        results.append({"task": dict(TASK), "dataset": dataset, "metrics": metrics})
    return results


def _metric(kind: str, name: str, value: float) -> dict[str, Any]:
    return {"type": kind, "value": value, "name": name}
