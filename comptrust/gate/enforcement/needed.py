"""Which files of a run may still be written while a promoted version rests on it.

What was signed stays. The gate may replace its own verdict by a newer one, which it proves with a
trusted signature.
"""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Needed:
    """The files of one run that a promoted version rests on."""

    folder: Path
    """The run's artifacts."""
    run_id: str
    index: Index
    trusted: Path | None
    """Folder of the trusted keys."""

    def accepts(self, name: str, staged: Path) -> bool:
        """Whether a staged file may take the place `name` in the run."""
        top, candidate = name.partition("/")[0], self.run_id in self.index.candidates
        if top in FREE or (top in GATE and not candidate):
            return True
        if top not in (*attestations.EVALUATION, *GATE):
            return not (self.folder / name).exists()
        present = self._proven(self.folder / attestations.NAME) if candidate else None
        if name == attestations.NAME:
            new = self._proven(staged)
            return bool(new and (present is None or present.issued <= new.issued))
        digest = digests.of_file(staged)
        if present is None:  # what was lost may come back
            return any(
                kept.files.get(f"{role}/{name}") == digest
                for role, kept in self.index.kept.get(self.run_id, ())
            )
        if name in CLAIMS:
            return present.digest_of_fields() not in self.index.granted
        return present.files["candidate"].get(name) == digest

    def _proven(self, path: Path) -> Attestation | None:
        """Return the attestation in a file if a trusted key signed it for this run."""
        try:
            attestation = attestations.read(path)
            trusted = keys.load_public_keys(self.trusted) if self.trusted else {}
        except UserError:
            return None
        same = attestation.run_id == self.run_id
        return attestation if same and keys.proven(attestation, trusted) else None


def problem(index: Index, target: Path, *, trusted: Path | None, staged: Path | None) -> str:
    """Return why a path must not be written, or deleted if nothing is staged; empty if it may."""
    # Only deleting reaches what is below.
    if ref := index.of_folder(target) or (None if staged else index.below_folder(target)):
        return f"it belongs to {ref}, which is promoted"
    for place, part in enumerate(target.parts):
        if ref := index.rests_on(part):
            needed = Needed(Path(*target.parts[: place + 2]), part, index, trusted)
            name = "/".join(target.parts[place + 2 :])
            logged_model = part.startswith("m-")
            if logged_model or not name or not staged or not needed.accepts(name, staged):
                return f"it belongs to {part}, on which {ref} rests, which is promoted"
    return ""
