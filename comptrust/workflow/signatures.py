"""Judge again, sign a verdict where it is logged, and check it where it is fetched."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comptrust import claims
from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.signing import attestations, attesting, keys, measurements, provenance
from comptrust.gate.signing.attestations import Attestation, Problem, unverified
from comptrust.gate.verdict import judge
from comptrust.models import measure, packaged
from comptrust.records import Verdict
from comptrust.tracking import evaluations, history, registry, runs
from comptrust.trust import rescoring
from comptrust.trust import suite as suites
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow import baselines, logged_waivers

ARTIFACTS = (
    *attestations.EVALUATION,
    *(attestations.CONTROL, attestations.VERDICT, attestations.NAME),
)


@dataclass(frozen=True)
class SignatureStatus:
    """Whether a verdict was signed."""

    line: str
    """By which key and until when, or why not."""
    attestation: Attestation | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """Name -> text of what was logged: the attestation, and its forms for other tools."""

    def brief(self) -> dict[str, str] | None:
        """Return the key and the dates, for machines; None if the verdict is not signed."""
        if self.attestation is None:
            return None
        return self.attestation.model_dump(mode="json", include={"key_id", "issued", "expires"})


@dataclass(frozen=True)
class Signer:
    """The signing key, if there is one, and the keys trusted here; both are read at once.

    Create it before any long work: it raises UserError for a file that others can read or that is
    not a key.
    """

    key: keys.PrivateKey | None = field(default_factory=keys.signing_key)
    trusted: keys.Trusted = field(default_factory=keys.load_public_keys)

    def counts(self, policy: Policy) -> evaluations.Counts | None:
        """Return whether an evaluation is signed by a key that may evaluate; None without keys."""
        if not self.trusted:
            return None
        imports = policy.evidence == "imported"
        return lambda one: not measurements.refusal(one, self.trusted, imports=imports)

    def sign(
        self,
        verdict: Verdict,
        evidence: Evidence,
        *,
        days: int,
        version: registry.Version | None = None,
    ) -> SignatureStatus:
        """Sign a verdict with the files of its runs and version, and log attestation.json there."""
        candidate, judged = evidence.candidate, {"candidate": evidence.candidate}
        if evidence.baseline:
            judged["baseline"] = evidence.baseline
        reason = self._why_not(judged)
        if self.key is None or candidate.checkpoint is None or reason:
            return SignatureStatus(f"no, {reason}")
        if version is None and candidate.ref.startswith("models:/"):
            version = registry.resolve(candidate.ref)
        recipe = candidate.checkpoint.recipe
        model = registry.model_name(recipe.base_model, recipe.revision)
        run_ids = {role: registry.run_of(item.ref) for role, item in judged.items()}
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            artifacts = {
                role: runs.download(run_id, into=folder / role, only=ARTIFACTS)
                for role, run_id in run_ids.items()
            }
            place = folder / "candidate" / attestations.VERDICT
            place.write_text(runs.text_of(verdict), encoding="utf-8")
            registered = None
            if version:
                registered = registry.download_all(version.ref, into=folder / "registered")
                measure.check(candidate.checkpoint, registry.checkpoint_in(registered))
                packaged.check(registered)
            attestation = attesting.attest(
                verdict,
                evidence,
                artifacts=artifacts,
                run_ids=run_ids,
                model=version.name if version else model,
                key=self.key,
                days=days,
                registered=registered,
            )
        text = attestation.model_dump_json(indent=2)
        files = {attestations.NAME: text} | claims.write(
            attestation, attestation_json=text, checkpoint=candidate.checkpoint, key=self.key
        )
        for name, content in files.items():
            runs.Run(attestation.run_id).text(name, content)
        line = f"by key {attestation.key_id}, valid until {attestation.expires:%Y-%m-%d %H:%M} UTC"
        return SignatureStatus(line, attestation, files)

    def _why_not(self, judged: Mapping[str, Evaluation]) -> str | None:
        if self.key is None:
            return "there is no signing key (comptrust keys init creates one)"
        for role, evaluation in judged.items():
            if not evaluation.ref.startswith(evaluations.REMOTE):
                return f"the {role} is a file on this machine, which nobody else could check"
            if missing := rescoring.unanswered(evaluation):
                return f"the {role} has no answers of {', '.join(missing)} to score again"
        if judged["candidate"].checkpoint is None:
            return "the candidate has no checkpoint.json, so its weights are not known"
        return None


@dataclass(frozen=True)
class Judgment:
    """A verdict with what it is about."""

    candidate: Evaluation
    baseline: Evaluation | None
    verdict: Verdict
    signature: SignatureStatus


def judge_again(
    candidate: str,
    *,
    baseline: str | None,
    policy: str | None,
    waivers_file: Path | None,
    suite: str | None = None,
    record: bool = False,
    accepted: bool = False,
) -> Judgment:
    """Judge what was evaluated before; with `record`, record the verdict and sign it.

    The policy is by default that of runs of the candidate's suite, the baseline the logged dense
    evaluation. Waivers are those of a file, on the candidate's run and, if `accepted`, in its
    verdict. Raises UserError for a score that is not the one of the answers, or if `suite` is given
    and one of the two was not proven to have been asked it, or a seeded sample of it.
    """
    signer = Signer()
    named = policies.load(policy) if policy else None
    measured = evaluations.load(candidate)
    asked = measured.suite.name if measured.suite else ""
    rules = named or policies.load(policies.default(asked))
    dense = (
        evaluations.load(baseline)
        if baseline
        else baselines.find(measured, rules, counts=signer.counts(rules))
    )
    for evaluation in filter(None, (measured, dense) if suite else ()):
        suites.answered(evaluation, str(suite))
    for evaluation in filter(None, (measured, dense)):
        rescoring.check(evaluation)
    evidence = Evidence(
        measured,
        dense,
        evaluations.siblings(measured, counts=signer.counts(rules)),
        blocked(measured, signer.trusted),
        model=evaluations.model_of(measured),
    )
    waived = logged_waivers.read(candidate, file=waivers_file, accepted=accepted)
    verdict = judge(evidence, rules, waivers=waived, trusted=signer.trusted)
    signature = SignatureStatus("no: only what --record keeps is signed")
    if record:
        from comptrust.report import page
        from comptrust.workflow import recording

        run_id = registry.run_of(candidate)
        version = registry.resolve(candidate) if candidate.startswith("models:/") else None
        # Signed first: a server takes another verdict of a promoted version only with a signature.
        signature = signer.sign(verdict, evidence, days=rules.valid_days, version=version)
        runs.Run(run_id).verdict(verdict)
        page.log_version(run_id)
        recording.record(run_id, verdict, signature, version)
    return Judgment(measured, dense, verdict, signature)


def blocked(candidate: Evaluation, trusted: keys.Trusted) -> tuple[Evaluation, ...]:
    """Return the other evaluations of the candidate's bytes that a verdict blocks.

    Where keys are trusted, only signed blocks count, as on a server.
    """
    if not trusted or not candidate.ref.startswith(evaluations.REMOTE):
        return evaluations.blocked(candidate)
    from comptrust.gate.enforcement import blocks
    from comptrust.gate.enforcement.places import Places

    client = runs.client()
    places = Places((), lambda: client, client.get_model_version)
    card, run_id = candidate.scorecard, registry.run_of(candidate.ref)
    own = blocks.name_of(run_id, candidate.files)
    with runs.service(), tempfile.TemporaryDirectory() as temporary:
        found = blocks.Blocks().find(
            places, card.checkpoint_digest, but=own, also=[run_id], trusted=trusted
        )
        return tuple(blocks.evaluation_of(signed, places, Path(temporary)) for signed in found)


def check(
    version: registry.Version,
    *,
    registered: Path,
    trusted: keys.Trusted,
    level: str | None = None,
    policy: Policy | None = None,
) -> tuple[Attestation | None, tuple[Problem, ...]]:
    """Return a version's attestation and what is wrong with it.

    Compares the files of its runs, and those of the version in the folder `registered`. With a
    policy, its recorded verdict counts, and a signature for so many days at most as it says.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = candidate = Path(temporary)
        if version.run_id:
            candidate = runs.download(version.run_id, into=folder / "candidate", only=ARTIFACTS)
            if policy:
                history.restore(version.run_id, policy.digests, into=candidate)
        if not (candidate / attestations.NAME).exists():
            text = (
                "Its verdict is not signed. With a signing key, gate it again: comptrust gate"
                f" {version.ref} --record"
            )
            return None, (unverified(text),)
        try:
            attestation = attestations.read(candidate / attestations.NAME)
        except UserError as error:
            text = f"It is not what the gate wrote. {error}"
            return None, (attestations.changed(text, attestations.NAME),)
        problems = attestations.problems(
            attestation,
            trusted=trusted,
            run_id=version.run_id,
            model=version.name,
            level=level,
            days=policy.valid_days if policy else None,
        )
        if not keys.proven(attestation, trusted):
            return attestation, problems
        artifacts = {"candidate": candidate}
        if attestation.baseline_run_id:
            artifacts["baseline"] = runs.download(
                attestation.baseline_run_id, into=folder / "baseline", only=ARTIFACTS
            )
        problems += tuple(provenance.problems(attestation, artifacts, trusted, level=level))
        problems += attestations.changes(attestation, artifacts)
        problems += attestations.changed_artifact(attestation, attestations.held_by(registered))
    return attestation, problems
