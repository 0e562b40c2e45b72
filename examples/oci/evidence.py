"""Attach the evidence of an exported bundle to its model in an OCI registry, and fetch both.

    pip install oras
    comptrust export models:/tiny/champion bundle
    python evidence.py push registry.example/models/tiny:2 bundle
    python evidence.py fetch  registry.example/models/tiny:2 fetched
    comptrust verify fetched --policy-digest DIGEST --keys keys

The evidence refers to the model's manifest (its `subject`), so it is found by the model's digest.
It is listed under the tag that the OCI specification names for registries without a referrers API.
With `--insecure` as the last word the registry is asked over plain HTTP.
"""

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from oras.oci import Subject
from oras.provider import Registry

ARTIFACT = "application/vnd.comptrust.evidence.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def push(registry: Registry, target: str, bundle: Path) -> None:
    """Push the folder `model`, then every other file of the bundle as its evidence."""
    repository = target.rpartition(":")[0]
    os.chdir(bundle)
    registry.push(target, files=["model"], quiet=True)
    model, _ = manifest(registry, target)
    files = sorted(path.name for path in Path().iterdir() if path.is_file())
    with tempfile.TemporaryDirectory() as temporary:
        config = Path(temporary) / "config.json"
        config.write_text("{}")
        tag = f"{repository}:evidence-{model.digest[7:19]}"
        kind = f"{config}:{ARTIFACT}"
        registry.push(tag, files=files, manifest_config=kind, subject=model, quiet=True)
    evidence, _ = manifest(registry, tag)
    entry = vars(evidence) | {"artifactType": ARTIFACT}
    others = [one for one in referrers(registry, repository, model) if one != entry]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, entry]}
    url = address(registry, listed_at(repository, model))
    registry.do_request(url, "PUT", headers={"Content-Type": INDEX}, json=index).raise_for_status()


def fetch(registry: Registry, target: str, folder: Path) -> None:
    """Pull the model and the evidence that refers to it."""
    repository = target.rpartition(":")[0]
    model, _ = manifest(registry, target)
    registry.pull(f"{repository}@{model.digest}", outdir=str(folder))
    found = [
        one["digest"]
        for one in referrers(registry, repository, model)
        if one.get("artifactType") == ARTIFACT
    ]
    if not found:
        sys.exit(f"{target} has no evidence.")
    registry.pull(f"{repository}@{found[-1]}", outdir=str(folder))


def referrers(registry: Registry, repository: str, model: Subject) -> list[dict[str, Any]]:
    """Return the descriptors of what refers to the model."""
    url = address(registry, listed_at(repository, model))
    response = registry.do_request(url, headers={"Accept": INDEX})
    return response.json()["manifests"] if response.status_code == 200 else []


def listed_at(repository: str, model: Subject) -> str:
    """Return where the referrers of a manifest are listed: its digest, written as a tag."""
    return f"{repository}:{model.digest.replace(':', '-')}"


def manifest(registry: Registry, target: str) -> tuple[Subject, dict[str, Any]]:
    """Return the descriptor of a manifest, and the manifest."""
    response = registry.do_request(address(registry, target), headers={"Accept": MANIFEST})
    response.raise_for_status()
    digest = f"sha256:{hashlib.sha256(response.content).hexdigest()}"
    return Subject(MANIFEST, digest, len(response.content)), json.loads(response.content)


def address(registry: Registry, target: str) -> str:
    """Return the URL of a manifest."""
    return f"{registry.prefix}://{registry.get_container(target).manifest_url()}"


if __name__ == "__main__":
    action, target, folder, *options = sys.argv[1:]
    registry = Registry(insecure="--insecure" in options)
    {"push": push, "fetch": fetch}[action](registry, target, Path(folder).resolve())
