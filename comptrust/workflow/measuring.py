"""The machine that evaluates signs what it measures, and measures what serving costs there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.gate.signing import keys, measurements, seals
from comptrust.models.base import Backend
from comptrust.records import Stop, Suite
from comptrust.serving_cost import NAME, ServingCost, words
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.ledger import Ledger


@dataclass(frozen=True)
class Witness:
    """The key that signs evaluations, if there is one, and the seal to evaluate under.

    Create it before any long work: it raises UserError for a key or a seal that cannot be used.
    """

    key: keys.PrivateKey | None = field(default_factory=keys.signing_key)
    seal: Path | None = None

    def __post_init__(self) -> None:
        if self.seal and self.key is None:
            raise UserError(
                f"An evaluation under the seal {self.seal} must be signed, and there is no signing"
                " key. Make one (comptrust keys init) or set COMPTRUST_SIGNING_KEY."
            )

    def check(self, suite: Suite, *, stop: Stop = "full") -> str:
        """Return the seal's digest, empty without one. Raises UserError if it does not count."""
        if self.seal is None:
            return ""
        seal, trusted = seals.read(self.seal), keys.load_public_keys()
        seals.check(seal, suite_digest=suite.digest, stop=stop)
        if trusted and not keys.proven(seal, trusted):
            raise UserError(
                f"{self.seal} is not as a trusted key signed it that may evaluate (key"
                f" {seal.key_id or '(none)'}). Make it again: comptrust seal"
            )
        return seal.digest_of_fields()

    def ledger(self, suite: Suite, *, stop: Stop = "full") -> Ledger:
        """Return a ledger for an evaluation on a suite."""
        secret = keys.secret(self.key, "answers/v1") if self.key else None
        return Ledger(secret, seal=self.check(suite, stop=stop))

    def place(self, out: Path) -> None:
        """Put the seal, if there is one, into the folder of an evaluation."""
        place = out / seals.NAME
        if self.seal:
            digests.write_atomic(place, config.read_text(self.seal))
        else:
            place.unlink(missing_ok=True)

    def sign(self, out: Path, ledger: Ledger | None) -> Evaluation:
        """Sign the evaluation in `out`, made elsewhere without a ledger, and read it back."""
        return measurements.sign(out, self.key, ledger)


def serving_cost(
    backend: Backend, folder: Path, *, say: Callable[[str], None] = lambda line: None
) -> ServingCost | None:
    """Return the cost as kept in an evaluation's folder, else measure it and keep it there."""
    path = folder / NAME
    try:
        return config.load_json(path, ServingCost)
    except UserError:  # there is none, or not one that can be read
        cost = backend.cost()
    if cost:
        digests.write_atomic(path, cost.model_dump_json(indent=2) + "\n")
        say(f"serving: {', '.join(words(cost))} ({cost.how}; {cost.where})")
    return cost
