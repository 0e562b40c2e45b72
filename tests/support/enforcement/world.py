"""A registry with the gate in it, and candidates whose hand-made evaluations are really signed."""

from __future__ import annotations

import datetime
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from comptrust.gate import policy
from comptrust.gate.enforcement import names
from comptrust.gate.evidence import Evidence
from comptrust.gate.pins import PinnedSuite
from comptrust.gate.signing import algorithms, attestations, attesting, keys
from comptrust.gate.signing.roles import TrustedKey
from comptrust.gate.signing.waivers import Waiver
from comptrust.gate.verdict import judge
from comptrust.records import Choice, Message, Prompt, Suite
from comptrust.trust import evaluation
from comptrust.trust import suite as suites
from comptrust.trust.run import evaluate
from comptrust.workflow.measuring import Witness
from tests.support import pins, weights
from tests.support.echo import Echo, Refusing
from tests.support.records import checkpoint_of

KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
STRANGER_P256 = algorithms.generate("p256")
TRUSTED = {keys.key_id(KEY.public_key()): TrustedKey(KEY.public_key())}
GUARDED_ALIASES = ("champion", "challenger", "production", "staging", "prod-eu")
STAGING = """
name: staging
rules:
  - {rule: complete}
  - {rule: max_drop, points: 5, evidence: observed}
  - {rule: refusal_shift, points: 10}
"""
PRODUCTION = (
    STAGING.replace("name: staging", "name: production")
    + "  - {rule: min_compression, ratio: 1.5}\n"
)
LAX = "name: lax\nrules:\n  - {rule: max_drop, points: 99, evidence: observed}\n"
DENSE = {"method": "none", "bits": None, "group_size": None}
GOOD, BAD = "A", "B"
"""Answers: A is right in three of four questions, B in one, so B drops 50 points."""


def write_policies(folder: Path) -> None:
    """Write the server's policies, and two lax ones that it does not know.

    They name the questions below and the dimension mmlu of mini, but for the one that guards no
    stage.
    """
    mini = PinnedSuite(name="mini", digest=suites.load("mini", dimensions=["mmlu"]).digest)
    named = pins.text(mini, *(pins.of_suite(questions(n)) for n in (4, 8, 12)))
    for name, text in (("staging", STAGING), ("production", PRODUCTION), ("lax", LAX)):
        (folder / f"{name}.yaml").write_text(text + named)
    (folder / "shown.yaml").write_text(f"{LAX}stages: false\n")


def write_key(folder: Path, key: Ed25519PrivateKey = KEY) -> None:
    """Put a public key into a folder of trusted keys."""
    folder.mkdir(exist_ok=True)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / f"{keys.key_id(key.public_key())}.pub.pem").write_bytes(public)


def questions(n: int = 8) -> Suite:
    choices = tuple(Choice(text=letter, continuation=f" {letter}") for letter in "ABCD")
    prompts = [
        Prompt(
            id=f"mmlu#{number}",
            dimension="mmlu",
            scenario="mmlu",
            messages=(Message(role="user", content=f"{number}?"),),
            choices=choices,
            target="B" if number % 4 == 0 else "A",
            extra={"subject": "sums"},
        )
        for number in range(n)
    ]
    return Suite(
        name="questions", revision="1", prompts=tuple(prompts), required={"mmlu": ("mmlu",)}
    )


@dataclass(frozen=True)
class Candidate:
    """A registered version, its run, and a local copy of its evidence."""

    name: str
    version: str
    run_id: str
    model_id: str
    evidence: Path


@dataclass
class World:
    """A registry as its users reach it, through a server or in the same process."""

    folder: Path
    client: MlflowClient
    base_url: str = ""
    """Address of the server; empty in process."""
    auth: tuple[str, str] | None = None
    experiment: str = "0"
    dense: Candidate | None = None
    others: dict[int, Candidate] = field(default_factory=dict)
    """Number of questions -> the dense model that was asked so many."""
    evidence: dict[str, Path] = field(default_factory=dict)
    """Run -> local copy of its evidence."""

    # Requests

    def rest(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        prefix: str = "api",
        **more: Any,
    ) -> requests.Response:
        """Send one request without MLflow's client."""
        url = f"{self.base_url}/{prefix}/2.0/{path}"
        return requests.request(method, url, json=body, auth=self.auth, timeout=60, **more)

    def post(self, path: str, body: Mapping[str, Any], *, prefix: str = "api") -> None:
        """Post to a route of MLflow; raise the error that it answers with."""
        raise_for(self.rest("POST", f"mlflow/{path}", body, prefix=prefix))

    def put(self, candidate: Candidate, name: str, content: bytes, *, prefix: str = "api") -> None:
        """Overwrite a file of the registered version through the artifact route."""
        base = f"mlflow-artifacts/artifacts/{self.experiment}/models/{candidate.model_id}"
        path = f"{base}/artifacts/{name}"
        raise_for(
            requests.put(
                f"{self.base_url}/{prefix}/2.0/{path}", data=content, auth=self.auth, timeout=60
            )
        )

    # Candidates

    def files(self, candidate: Candidate) -> Path:
        """Return where the registered files really are."""
        location = self.client.get_logged_model(candidate.model_id).artifact_location
        if location.startswith("mlflow-artifacts:"):
            return self.folder / "mlartifacts" / location.removeprefix("mlflow-artifacts:/")
        return Path(location.removeprefix("file://"))

    def register(
        self,
        answer: str,
        *,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        files: Path | None = None,
        spare: int = 0,
        added: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Candidate:
        """Log, evaluate and register a model with its own files; it is not judged yet.

        `files` are those of another model, to register its bytes once more; `spare` rows of the
        weights are not compressed; `added` are further files, path -> content.
        """
        run_id = self.client.create_run(self.experiment).info.run_id
        model = self.client.create_logged_model(self.experiment, name="model", source_run_id=run_id)
        local = self.folder / "local" / run_id
        if files:
            shutil.copytree(files, local / "artifact")
        else:
            bits = settings.get("bits", 4)
            artifact(local / "artifact", content=run_id, bits=bits, spare=spare)
        for path, content in (added or {}).items():
            (local / "artifact" / path).parent.mkdir(parents=True, exist_ok=True)
            (local / "artifact" / path).write_text(content)
        self.client.log_model_artifacts(model.model_id, str(local / "artifact"))
        self.client.finalize_logged_model(model.model_id, "READY")
        name = name or f"model-{uuid.uuid4().hex[:8]}"
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = self.client.create_model_version(
            name,
            f"models:/{model.model_id}",
            run_id=run_id,
            model_id=model.model_id,
            tags=dict(tags or {}),
        )
        candidate = Candidate(name, str(made.version), run_id, model.model_id, local / "evidence")
        self.evaluate(candidate, answer, **settings)
        return candidate

    def source(self) -> Candidate:
        """Return the dense model that candidates are compared with."""
        if self.dense is None:
            self.dense = self.register(GOOD, name="dense", **DENSE)
        return self.dense

    def evaluate(
        self,
        candidate: Candidate,
        answer: str | None,
        *,
        refuses: bool = False,
        suite: Suite | None = None,
        measured_by: Ed25519PrivateKey | None = KEY,
        seal: Path | None = None,
        **recipe: Any,
    ) -> None:
        """Evaluate the files that the registry has now, and log the result on the run.

        A model that `refuses` does so where it would be wrong, a quarter of the questions.
        """
        asked, witness = suite or questions(), Witness(measured_by, seal)
        shutil.rmtree(candidate.evidence, ignore_errors=True)
        files = self.files(candidate) / "model"
        checkpoint = weights.measured(checkpoint_of(files, **recipe), files)
        backend = Refusing(answer) if refuses else Echo(answer)
        ledger = witness.ledger(asked)
        witness.place(candidate.evidence)
        evaluate(
            backend,
            asked,
            out=candidate.evidence,
            checkpoint_digest=checkpoint.digest,
            ledger=ledger,
        )
        for unneeded in ("owner.json", "rendered.json"):
            (candidate.evidence / unneeded).unlink()
        for resumable in (candidate.evidence / "generations").glob(".*"):
            resumable.unlink()
        (candidate.evidence / "checkpoint.json").write_text(checkpoint.model_dump_json(indent=2))
        witness.sign(candidate.evidence, ledger)
        self.evidence[candidate.run_id] = candidate.evidence
        self.upload(candidate)

    def upload(self, candidate: Candidate, *names: str) -> None:
        """Log the named files of the evidence on the candidate's run; all by default."""
        if not names:
            self.client.log_artifacts(candidate.run_id, str(candidate.evidence))
        for name in names:
            self.client.log_artifact(candidate.run_id, str(candidate.evidence / name))

    def gate(
        self,
        candidate: Candidate,
        *,
        policy_name: str = "production",
        key: keys.PrivateKey | None = KEY,
        days: int = 90,
        now: datetime.datetime | None = None,
        waivers: Sequence[Waiver] = (),
        siblings: Sequence[Candidate] = (),
        trusted: keys.Trusted = TRUSTED,
        **changes: Any,
    ) -> attestations.Attestation | None:
        """Judge and sign as `comptrust gate` does, log both, and return the attestation.

        `changes` are made to its fields before it is signed.
        """
        ids = {"candidate": candidate.run_id, "baseline": self.source().run_id}
        evaluations = {
            role: evaluation.load(self.evidence[run], ref=f"runs:/{run}")
            for role, run in ids.items()
        }
        others = tuple(
            evaluation.load(sibling.evidence, ref=f"models:/{sibling.name}/{sibling.version}")
            for sibling in siblings
        )
        evidence = Evidence(evaluations["candidate"], evaluations["baseline"], others)
        rules = policy.load(str(self.folder / f"{policy_name}.yaml"))
        verdict = judge(
            evidence, rules, waivers=waivers, trusted=trusted, today=now.date() if now else None
        )
        (candidate.evidence / "verdict.json").write_text(verdict.model_dump_json(indent=2))
        made = None
        if key is not None:
            made = attesting.attest(
                verdict,
                evidence,
                artifacts={role: self.evidence[run] for role, run in ids.items()},
                run_ids=ids,
                model=candidate.name,
                key=key,
                days=days,
                registered=self.files(candidate),
                now=now,
            )
            if changes:
                made = keys.sign(made.model_copy(update=changes), key)
            (candidate.evidence / attestations.NAME).write_text(made.model_dump_json(indent=2))
        # Signed first: only then is another verdict of a promoted version taken.
        self.upload(candidate, *([attestations.NAME] if made else []), "verdict.json")
        return made

    def pass_truly(self, candidate: Candidate) -> None:
        """Give the candidate a true pass: its present files evaluated well, judged and signed."""
        self.evaluate(candidate, GOOD)
        made = self.gate(candidate)
        assert made is not None and made.verdict.outcome == "pass"

    # Results

    def promoted(self, candidate: Candidate) -> list[str]:
        """Return the guarded stages and aliases that lead to the version."""
        if self.base_url:  # the client does not show what is dressed as a prompt
            query = {"name": candidate.name, "version": candidate.version}
            shown = self.rest("GET", "mlflow/model-versions/get", params=query).json()[
                "model_version"
            ]
            stage, aliases = shown["current_stage"], shown.get("aliases", [])
        else:
            version = self.client.get_model_version(candidate.name, candidate.version)
            stage, aliases = version.current_stage, version.aliases
        return [alias for alias in aliases if guarded(alias)] + (
            [stage] if stage in ("Staging", "Production") else []
        )


def guarded(alias: str) -> bool:
    return names.matches(alias, GUARDED_ALIASES) or names.misread(alias)


def artifact(folder: Path, *, content: str, bits: int | None = 4, spare: int = 0) -> None:
    """Write the files of a logged model: the checkpoint in `model`, and MLmodel to load it."""
    (folder / "model").mkdir(parents=True)
    tensors = weights.weights(content, bits=bits, spare=spare)
    (folder / "model" / "model.safetensors").write_bytes(tensors)
    (folder / "model" / "config.json").write_text(weights.config(bits=bits))
    (folder / "MLmodel").write_text("flavors:\n  transformers:\n    model_binary: model\n")


def raise_for(answer: requests.Response) -> None:
    """Raise the error that MLflow answered with, as its own client does."""
    if answer.status_code >= 400:
        try:
            body = answer.json()
        except ValueError:
            body = {"error_code": str(answer.status_code), "message": answer.text[:500]}
        if not isinstance(body, dict) or "error_code" not in body:
            body = {"error_code": str(answer.status_code), "message": str(body)}
        raise MlflowException(body.get("message", ""), error_code=_code(body["error_code"]))


def _code(name: str) -> int:
    from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, ErrorCode

    return ErrorCode.Value(name) if name in ErrorCode.DESCRIPTOR.values_by_name else INTERNAL_ERROR
