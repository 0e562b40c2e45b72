"""An exported bundle, checked offline where it is served: signatures, policy and every file.

The signed verdict names the checkpoint's files and the evidence. What describes them (the model
card, the bill of materials) is made at export, and bundle.json lists it with all other files.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from comptrust import config, digests
from comptrust.claims import folder as claimed
from comptrust.claims import plain_files
from comptrust.claims.writing import CHECKPOINT, CLAIMS, MODEL_SIGNATURE
from comptrust.errors import UserError
from comptrust.gate.signing import attestations, keys, provenance
from comptrust.gate.signing.attestations import Attestation, Problem
from comptrust.gate.signing.roles import Role

NAME = "bundle.json"
MODEL = "model/"
MAX_BYTES = 16 << 20


class Listing(keys.SignedRecord):
    """What an export wrote: every file but this one."""

    purpose: ClassVar[str] = "bundle/v1"
    role: ClassVar[Role] = "gate"

    files: dict[str, str]
    """Path -> SHA-256."""


def sign(folder: Path, files: dict[str, str], key: keys.PrivateKey) -> None:
    """Write bundle.json for the files (path -> SHA-256) of a bundle."""
    listing = keys.sign(Listing(files=files), key)
    digests.write_atomic(folder / NAME, listing.model_dump_json(indent=2) + "\n")


def check(
    folder: Path, *, trusted: keys.Trusted, level: str | None = "production"
) -> tuple[Attestation | None, tuple[Problem, ...]]:
    """Return a bundle's attestation and what is wrong with the bundle; each file is hashed once.

    Keys must be allowed to sign for `level`, a stage. Raises UserError for a folder that is not a
    bundle, or that holds a link or a device.
    """
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {folder}. Name a folder that comptrust export wrote, or"
            " models:/NAME/VERSION."
        )
    if not any((folder / name).exists() for name in (attestations.NAME, attestations.VERDICT)):
        raise UserError(
            f"{folder} is not a bundle: it has neither {attestations.NAME} nor"
            f" {attestations.VERDICT}. Name a folder that comptrust export wrote."
        )
    present = plain_files.hashed(folder)
    if attestations.NAME not in present:
        text = "Its verdict is not signed. Gate the version with a signing key and export it again."
        return None, (attestations.unverified(text),)
    try:
        attestation = attestations.read(folder / attestations.NAME)
        listing = _listing(folder) if NAME in present else None
    except UserError as error:
        text = f"It is not what comptrust wrote. {error}"
        return None, (attestations.changed(text, attestations.NAME),)
    problems = attestations.problems(
        attestation,
        trusted=trusted,
        run_id=attestation.run_id,
        model=attestation.model,
        level=level,
    )
    if not keys.proven(attestation, trusted):
        return attestation, problems
    candidate = {"candidate": folder}
    problems += tuple(provenance.problems(attestation, candidate, trusted, level=level))
    problems += tuple(_changes(attestation, listing, present, trusted, level))
    if CLAIMS in present:
        problems += claimed.check(folder, trusted=trusted, level=level, hashes=present)
    return attestation, tuple(dict.fromkeys(problems))  # most is said in both


def check_digest(text: str | None) -> None:
    """Raise UserError if a text that should name a policy is not a digest."""
    if text is not None and not re.fullmatch("[0-9a-f]{64}", text):
        raise UserError(
            f"'{text:.80}' is not the digest of a policy: 64 digits and letters a to f, as in"
            " verdict.json."
        )


def other_policy(attestation: Attestation | None, pinned: str | None) -> Iterator[Problem]:
    """Yield the problem if the verdict was not reached under the policy with the pinned digest."""
    if attestation and pinned not in (None, attestation.verdict.policy_digest):
        judged = attestation.verdict
        text = (
            f"It was judged under policy {judged.policy} with digest {judged.policy_digest}, not"
            f" under the one with digest {pinned}."
        )
        yield attestations.unverified(text)


def _listing(folder: Path) -> Listing:
    text = config.read_text(folder / NAME, max_bytes=MAX_BYTES)
    return config.parse(config.json_value(text, where=NAME), Listing, where=NAME)


def _changes(
    attestation: Attestation,
    listing: Listing | None,
    present: dict[str, str],
    trusted: keys.Trusted,
    level: str | None,
) -> Iterator[Problem]:
    """Yield every file that is not as signed, and those that nobody signed."""
    signed = {f"{MODEL}{name}": digest for name, digest in attestation.weights.items()}
    for name, digest in attestation.files.get("candidate", {}).items():
        path = f"{MODEL}{name}" if name == CHECKPOINT else name
        # The answers are not exported; what is exported must be as signed.
        if path in present or name == attestations.VERDICT:
            signed[path] = digest
    judged = {name for name in present if name in signed or name.startswith(MODEL)}
    yield from attestations.compare(signed, {name: present[name] for name in judged})
    others = {name: present[name] for name in present.keys() - judged - {NAME}}
    why = listing and keys.signer_refusal(
        listing.key_id, listing.role, trusted, model=attestation.model, level=level
    )
    if listing is None or why:
        claims = {CLAIMS, MODEL_SIGNATURE} if CLAIMS in present else set()
        if names := ", ".join(sorted(others.keys() - claims - {attestations.NAME})):
            text = f"No trusted key signed {names}. Export it with one, or remove them."
            yield attestations.unverified(text)
    elif not keys.proven(listing, trusted):
        yield attestations.changed(f"{NAME} was changed since it was signed.", NAME)
    else:
        left = listing.files.keys() - signed.keys()
        yield from attestations.compare({name: listing.files[name] for name in left}, others)
