"""Which files of a run may still be written while a promoted version rests on it.

What was signed stays. The gate may replace its own verdict by a newer one, which it proves with a
trusted signature.
"""

from pathlib import Path

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement.promoted import Index
from comptrust.gate.signing import attestations, keys
from comptrust.gate.signing.attestations import Attestation

CLAIMS = ("claims.jsonl", "model.sig")
"""The signed verdict and the hashes of the weights in the forms that other tools read."""
GATE = (attestations.NAME, attestations.VERDICT, *CLAIMS)
"""What the gate writes when it judges a run again."""
FREE = ("report", "validation", "waivers.json")
"""What may be written again at any time: nothing that was signed depends on it."""


def problem(index: Index, target: Path, *, trusted: Path | None, staged: Path | None) -> str:
    """Return why a path must not be written, or deleted if nothing is staged; empty if it may.

    `trusted` is the folder of the trusted keys.
    """
    # Only deleting reaches what is below.
    if ref := index.of_folder(target) or (None if staged else index.below_folder(target)):
        return f"it belongs to {ref}, which is promoted"
    for place, part in enumerate(target.parts):
        if ref := index.rests_on(part):
            folder, name = Path(*target.parts[: place + 2]), "/".join(target.parts[place + 2 :])
            logged_model = part.startswith("m-")
            if logged_model or not (name and staged and _may(index, folder, name, staged, trusted)):
                return f"it belongs to {part}, on which {ref} rests, which is promoted"
    return ""


def _may(index: Index, folder: Path, name: str, staged: Path, trusted: Path | None) -> bool:
    """Whether a staged file may take the place `name` in the artifacts of a run."""
    run_id, top = folder.parent.name, name.partition("/")[0]
    candidate = run_id in index.candidates
    if top in FREE or (top in GATE and not candidate):
        return True
    if top not in (*attestations.EVALUATION, *GATE):
        return not (folder / name).exists()
    present = _proven(folder / attestations.NAME, run_id, trusted) if candidate else None
    if name == attestations.NAME:
        new = _proven(staged, run_id, trusted)
        return bool(new and (present is None or present.issued <= new.issued))
    if present is None:
        return False
    if name in CLAIMS:
        return index.granted.isdisjoint(present.digests)
    return present.files["candidate"].get(name) == digests.of_file(staged)


def _proven(path: Path, run_id: str, trusted: Path | None) -> Attestation | None:
    """Return the attestation in a file if a trusted key signed it for this run."""
    try:
        attestation = attestations.read(path)
        public = keys.load_public_keys(trusted) if trusted else {}
    except UserError:
        return None
    same = attestation.run_id == run_id
    return attestation if same and keys.proven(attestation, public) else None
