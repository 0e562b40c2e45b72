"""The frozen records that cross a stage: recipe, checkpoint, prompt, generation, score, scorecard,
finding, verdict.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from comptrust import digests

Scoring = Literal["compressed-trust", "original"]
Result = Literal["pass", "block", "inconclusive"]


class Record(BaseModel):
    """A frozen value; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def digest_of_fields(self) -> str:
        """SHA-256 of the record's canonical JSON."""
        return digests.of_value(self.model_dump(mode="json"))


class Recipe(Record):
    """What to do to which model; the same recipe gives the same checkpoint."""

    base_model: str
    """The dense source: a builtin name, a Hugging Face id or a directory."""
    revision: str | None = None
    """Commit or digest of the dense source, once it is resolved."""
    method: str
    """Name of the compression method; `none` is the dense model itself."""
    bits: int | None = None
    """Bits per quantized weight (quantization only)."""
    sparsity: float | None = None
    """Share of weights set to zero, 0-1 (pruning only)."""
    structure: str | None = None
    """`unstructured` or N:M, N weights kept of each M (pruning only)."""
    group_size: int | None = None
    """Weights that share one scale (quantization only); resolved, never `auto`."""
    calibration: str | None = None
    """Where calibration text comes from: builtin, self, file:PATH, hf:NAME."""
    calibration_samples: int | None = None
    """Number of calibration samples used."""
    calibration_digest: str | None = None
    """SHA-256 of the rendered calibration texts, in order."""
    seed: int = 0
    """Seed of the calibration choice."""
    options: dict[str, bool | int | float | str] = {}
    """Settings of this method alone, such as `dampening`."""
    format: str = "compressed-tensors"
    """How packed weights are laid out in the files: compressed-tensors, gptq or awq."""

    @property
    def slug(self) -> str:
        """Short name of the recipe without its model, such as `awq-4bit-g64-s0`."""
        if self.method == "none":
            return "dense"
        parts = [self.method]
        if self.bits is not None:
            parts.append(f"{self.bits}bit")
        if self.group_size is not None:
            parts.append(f"g{self.group_size}")
        if self.format != "compressed-tensors":
            parts.append(f"as-{self.format}")
        if self.structure is not None and self.structure != "unstructured":
            parts.append(self.structure.replace(":", "of"))
        elif self.sparsity is not None:
            parts.append(f"{round(100 * self.sparsity)}pct")
        return "-".join([*parts, f"s{self.seed}"])


class ReloadCheck(Record):
    """What reloading the saved checkpoint and comparing it with the in-memory model showed."""

    max_logit_difference: float | None
    """Largest absolute difference of two logits over the fixed prompts; None for a checkpoint that
    was compressed elsewhere, which had no model in memory to compare with: it loads, and its logits
    are finite."""
    tolerance: float
    """Largest difference that still counts as the same model."""
    n_tokens: int
    """Positions compared."""


class Checkpoint(Record):
    """A compressed (or dense) model on disk; every number is measured from the saved files."""

    recipe: Recipe
    path: str
    """Directory of the checkpoint; where it was when this record was written."""
    digest: str
    """SHA-256 of the manifest: names the exact bytes of all files."""
    manifest: dict[str, str]
    """Relative path -> SHA-256 of every file but checkpoint.json."""
    bytes: int
    """Size of all weight files, in bytes."""
    dense_bytes: int
    """Size of the weights of the dense source as saved at 16 bits per weight, in bytes."""
    effective_bits: float
    """Stored bits (codes, scales, zero points) per weight of the compressed layers."""
    sparsity: float
    """Share of exact zeros among the weights of the target layers, 0-1."""
    structure_verified: str | None = None
    """The N:M pattern that every target layer was found to have."""
    reload_check: ReloadCheck
    versions: dict[str, str]
    """Package name -> version that wrote the checkpoint."""


class Sampling(Record):
    """How an answer is decoded."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = Field(default=20, ge=1)
    n: int = Field(default=1, ge=1)
    """Independent answers per prompt."""
    seed: int = 0


class Message(Record):
    """One turn. The role `completion` asks for plain continuation, without a chat template."""

    role: Literal["system", "user", "assistant", "completion"]
    content: str


class Choice(Record):
    """One option of a `choose` prompt."""

    text: str
    """What is recorded as the answer when this option wins; the published parser reads it."""
    continuation: str
    """What is scored after the prompt, leading space included."""


class Prompt(Record):
    """One question. With `choices` it is answered by likelihood (`choose`), without by text
    (`generate`).
    """

    id: str
    """Unique in its dimension: `<scenario>#<index>`, or for stereotype
    `<setting>/<topic>/<group>/<template>`.
    """
    dimension: str
    scenario: str
    messages: tuple[Message, ...]
    prefill: str = ""
    """Start of the assistant's turn, before the answer or the option."""
    sampling: Sampling = Sampling()
    choices: tuple[Choice, ...] = ()
    content_free: tuple[Message, ...] = ()
    """The same question without its content ("N/A"), to calibrate the options against (Zhao et al.
    2021).
    """
    target: str | int | None = None
    extra: dict[str, Any] = {}
    """What scoring needs beside the target, and `cluster`: items that share a template or a
    passage.
    """


class Generation(Record):
    """The answer to one prompt, in the record form of the published replay files."""

    dimension: str
    scenario: str
    id: str
    texts: tuple[str, ...]
    """Answers, unaltered; the winning option's text for `choose`."""
    target: str | int | None = None
    extra: dict[str, Any] = {}
    """The prompt's extra; for `choose` also `loglik` (calibrated, per option) and `margin`."""
    finish_reasons: tuple[str, ...] = ()
    """`stop`, `length` or `choice`, one per text."""


class Suite(Record):
    """A set of prompts, how they are answered and how they are scored."""

    name: str
    """`mini`, `decodingtrust` or `hf`."""
    revision: str
    """Version or digest of the prompt data."""
    scoring: Scoring = "compressed-trust"
    prompts: tuple[Prompt, ...]
    required: dict[str, tuple[str, ...]]
    """Dimension -> scenarios without which its score is not measured."""
    scorers: dict[str, str] = {}
    """Dimension -> name and calibration digest of the classifier that scores its texts."""
    limit: int | None = None
    """Prompts kept per scenario, or None for all."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over prompts, decoding, scoring and scorers: equal digests mean comparable
        numbers.
        """
        return self.digest_of_fields()

    def manifest(self) -> SuiteManifest:
        """Describe the suite without its prompts, to stand beside generations."""
        counts: dict[str, dict[str, int]] = {}
        for prompt in self.prompts:
            scenarios = counts.setdefault(prompt.dimension, {})
            scenarios[prompt.scenario] = scenarios.get(prompt.scenario, 0) + 1
        fields = self.model_dump(exclude={"prompts"})
        return SuiteManifest(**fields, digest=self.digest, n_prompts=counts)


class SuiteManifest(Record):
    """A suite without its prompts: `suite.json` beside the generations."""

    name: str
    revision: str
    scoring: Scoring = "compressed-trust"
    required: dict[str, tuple[str, ...]]
    scorers: dict[str, str] = {}
    limit: int | None = None
    digest: str
    n_prompts: dict[str, dict[str, int]]
    """Dimension -> scenario -> prompts asked."""


class Score(Record):
    """The result of one dimension, 0-100, higher is better. None = not measured; never 0."""

    dimension: str
    value: float | None
    refusal_rate: float | None
    """Percent of answers that refuse."""
    subscores: dict[str, float] = {}
    """Parts of the score under their published names, 0-100."""
    sound: dict[str, float] = {}
    """Better-founded variants of an odd published formula, 0-100."""
    partial: bool = False
    """True when scenarios are missing and --allow-partial computed the rest."""
    missing: tuple[str, ...] = ()
    """Required scenarios without an answer."""
    n_prompts: int
    n_scored: int


class Scorecard(Record):
    """All dimensions of one model on one suite."""

    checkpoint_digest: str
    suite_digest: str
    rendering_digest: str
    """SHA-256 over every rendered prompt: the text that the model really saw."""
    generations: dict[str, str]
    """Dimension -> SHA-256 of its generations file."""
    scores: tuple[Score, ...]
    provenance: dict[str, str]
    """Code version and commit, backend, template, data revision, seed, versions."""

    def score(self, dimension: str) -> Score | None:
        """Return one dimension's score, or None if it was not asked."""
        return next((score for score in self.scores if score.dimension == dimension), None)


class Finding(Record):
    """What one rule says."""

    rule: str
    outcome: Result
    reason: str
    """One sentence: what was found, against which limit."""
    evidence: dict[str, Any] = {}


class Verdict(Record):
    """The judgment of one candidate under one policy; it promotes only when it has findings and
    all of them pass.
    """

    policy: str
    policy_digest: str
    checkpoint_digest: str
    baseline_digest: str | None
    scorecard_digest: str
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Result:
        """`block` if any finding blocks, `pass` if there are findings and all pass, else
        `inconclusive`.
        """
        outcomes = {finding.outcome for finding in self.findings}
        if "block" in outcomes:
            return "block"
        return "pass" if outcomes == {"pass"} else "inconclusive"
