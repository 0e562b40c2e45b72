"""Signed blocks that this server has seen: nobody takes one back by changing or purging its run."""

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import blocks
from comptrust.gate.signing import attestations, keys
from comptrust.gate.signing.attestations import Attestation

FOLDER = "blocks"
"""Below the evidence store: digest of the checkpoint, then of run and scorecard."""


def remember(
    store: Path, staged: Path, run: Path, *, trusted: keys.Trusted, policies: Collection[str]
) -> None:
    """Keep a signed block that is about to appear in a run's folder, with the answers there.

    It is forgotten when the same evaluation is judged again, later, under a policy of this server,
    of which `policies` are the digests.
    """
    try:
        signed = attestations.read(staged)
    except UserError:  # anybody's text
        return
    if not keys.proven(signed, trusted) or signed.run_id not in run.parts:
        return
    digest = digests.of_value(signed.weights)
    place = store / FOLDER / digest / blocks.evaluated_as(signed)
    # What is logged once more may come after its answers were changed, so the first copy stays.
    if place.exists() and attestations.read(place / attestations.NAME).issued >= signed.issued:
        return
    blocked = blocks.is_block(signed, digest, trusted)
    if blocked or signed.verdict.policy_digest in policies:
        shutil.rmtree(place, ignore_errors=True)
    if not blocked:
        return
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as temporary:
        kept = Path(temporary) / place.name
        for name in signed.files["candidate"]:
            if (run / name).is_file():
                (kept / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(run / name, kept / name)
        shutil.copyfile(staged, kept / attestations.NAME)
        os.replace(kept, place)


def find(
    store: Path, checkpoint_digest: str, trusted: keys.Trusted
) -> Iterator[tuple[Attestation, Path]]:
    """Yield the blocks of a checkpoint whose keys are still trusted, with the kept evaluations."""
    for place in sorted((store / FOLDER / checkpoint_digest).glob("[!.]*")):
        signed: Attestation = attestations.read(place / attestations.NAME)
        if blocks.is_block(signed, checkpoint_digest, trusted):
            yield signed, place
