"""The bill of materials of an exported checkpoint: a CycloneDX 1.6 ML-BOM in JSON.

It states what was measured, read from the files or recorded; what is not known is absent.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from comptrust import __version__, digests
from comptrust.report.bundle import Bundle

NAME = "bom.cdx.json"
SPDX = {
    identifier.lower(): identifier
    for identifier in ("Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0")
}
"""Name of a license on Hugging Face -> its SPDX identifier; any other stays a name."""
Json = dict[str, Any]


def render(bundle: Bundle) -> str:
    """Return the document; two exports of the same judged files give the same one."""
    contents = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": _metadata(bundle),
        "components": [*_datasets(bundle), *map(_file, sorted(bundle.files.items()))],
    }
    name = uuid.uuid5(uuid.NAMESPACE_OID, digests.of_value(contents))
    schema = {"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json"}
    document = schema | {"serialNumber": f"urn:uuid:{name}"} | contents
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _metadata(bundle: Bundle) -> Json:
    tool = {"type": "application", "name": "comptrust", "version": __version__}
    metadata: Json = {"tools": {"components": [tool]}, "component": _model(bundle)}
    if bundle.attestation:
        metadata["timestamp"] = bundle.attestation.issued.isoformat()
    return metadata


def _model(bundle: Bundle) -> Json:
    checkpoint, verdict = bundle.checkpoint, bundle.verdict
    recipe = checkpoint.recipe.model_dump(mode="json", exclude_none=True, exclude={"options"})
    facts = {f"recipe:{name}": value for name, value in recipe.items() if name != "base_model"}
    facts |= {f"option:{name}": value for name, value in checkpoint.recipe.options.items()}
    facts |= {
        "checkpoint_digest": checkpoint.digest,
        "bytes": checkpoint.bytes,
        "effective_bits": checkpoint.effective_bits,
        "sparsity": checkpoint.sparsity,
        "policy": verdict.policy,
        "policy_digest": verdict.policy_digest,
        "verdict": verdict.outcome,
    }
    component: Json = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": bundle.version.name,
        "version": bundle.version.version,
        "pedigree": {"ancestors": [_ancestor(bundle)], "notes": checkpoint.recipe.slug},
        "modelCard": _card(bundle),
        "properties": _properties(facts),
    }
    return component | _licenses(bundle)


def _ancestor(bundle: Bundle) -> Json:
    revision = bundle.checkpoint.recipe.revision
    component: Json = {"type": "machine-learning-model", "name": bundle.base}
    if revision:
        component["version"] = revision
        if bundle.hub_id and re.fullmatch("[0-9a-f]{40}", revision):  # a commit
            component["purl"] = f"pkg:huggingface/{bundle.hub_id}@{revision}"
    return component | _licenses(bundle)


def _licenses(bundle: Bundle) -> Json:
    stated = bundle.license.get("license", "")
    if not stated:
        return {}
    if stated.lower() in SPDX:
        return {"licenses": [{"license": {"id": SPDX[stated.lower()]}}]}
    license = {"name": bundle.license.get("license_name") or stated}
    if link := bundle.license.get("license_link"):
        license["url"] = link
    return {"licenses": [{"license": license}]}


def _card(bundle: Bundle) -> Json:
    parameters: Json = {
        "task": "text-generation",
        "datasets": [{"ref": dataset["bom-ref"]} for dataset in _datasets(bundle)],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    if family := bundle.config.get("model_type"):
        parameters["architectureFamily"] = str(family)
    if architectures := bundle.config.get("architectures"):
        parameters["modelArchitecture"] = str(architectures[0])
    card: Json = {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(bundle))},
    }
    missing = [
        f"{score.dimension} was not measured. {score.reason}".strip()
        for score in bundle.measured.scorecard.scores
        if score.value is None
    ]
    return card | ({"considerations": {"technicalLimitations": missing}} if missing else {})


def _metrics(bundle: Bundle) -> Iterator[Json]:
    for score in bundle.measured.scorecard.scores:
        if score.value is None:
            continue
        metric: Json = {"type": f"trust/{score.dimension}", "value": str(score.value)}
        if score.dimension in bundle.intervals:
            low, high = bundle.intervals[score.dimension]
            metric["confidenceInterval"] = {"lowerBound": str(low), "upperBound": str(high)}
        yield metric
    for name, drop in bundle.drops.items():
        bounds = {"lowerBound": drop.lower, "upperBound": drop.upper}
        known = {bound: str(value) for bound, value in bounds.items() if value is not None}
        metric = {"type": f"drop/{name}", "value": str(drop.observed)}
        yield metric | ({"confidenceInterval": known} if known else {})


def _datasets(bundle: Bundle) -> list[Json]:
    datasets, suite, recipe = [], bundle.measured.suite, bundle.checkpoint.recipe
    if suite:
        prompts = sum(sum(counts.values()) for counts in suite.n_prompts.values())
        facts = {"digest": suite.digest, "prompts": prompts, "scoring": suite.scoring}
        facts |= {"sample_of": suite.parent} if suite.sample else {}
        datasets.append(_dataset("suite", suite.name, "Evaluation", facts, suite.revision))
    if recipe.calibration:
        facts = {"samples": recipe.calibration_samples, "digest": recipe.calibration_digest}
        facts |= {"tokens": tokens} if (tokens := bundle.checkpoint.calibration_tokens) else {}
        datasets.append(_dataset("calibration", recipe.calibration, "Calibration", facts))
    return datasets


def _dataset(
    ref: str, name: str, use: str, facts: Mapping[str, Any], revision: str | None = None
) -> Json:
    content = {"properties": _properties(facts)}
    data = {"type": "dataset", "name": name, "description": use, "contents": content}
    component: Json = {"type": "data", "bom-ref": ref, "name": name, "data": [data]}
    return component | ({"version": revision} if revision else {})


def _file(item: tuple[str, str]) -> Json:
    path, digest = item
    hashes = [{"alg": "SHA-256", "content": digest}]
    return {"type": "file", "bom-ref": f"file:{path}", "name": path, "hashes": hashes}


def _properties(facts: Mapping[str, Any]) -> list[Json]:
    return [
        {"name": f"comptrust:{name}", "value": str(value)}
        for name, value in facts.items()
        if value is not None
    ]
