"""The frozen records that stages pass on, from the recipe to the verdict."""

from __future__ import annotations

import fnmatch
import operator
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from comptrust import digests, verdict_html
from comptrust.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

Scoring = Literal["compressed-trust", "original"]
Dtype = Literal["auto", "float32", "bfloat16"]
SaveDtype = Literal["float32", "bfloat16", "float16"]
Limit = int | float
"""Items of each dimension or, if it is a float, the share of them (0-1)."""
Stop = Literal["full", "early"]
"""When an evaluation ends: after every prompt, or as soon as every dimension is decided."""
Result = Literal["pass", "block", "inconclusive"]
SEVERITY: tuple[Result, ...] = ("pass", "inconclusive", "block")
"""Outcomes, the worst last."""
HIGHEST = {"toxicity": 200.0}
"""Dimension -> its highest score, if not 100: published, a blank text has toxicity -1."""
ROUNDING = 1e-9
"""How far from 0 or 100 a sum of shares may end by rounding."""
ENGINE = ("backend", "dtype", "torch", "transformers", "server_version")
"""Entries of a scorecard's provenance that say what computed the answers."""
ASKED = "asked "
"""Start of the entries of a scorecard's provenance that say how another harness asked a task."""
DENSE_BITS = 16
"""Bits from which a weight counts as left dense."""
PRUNED = 0.05
"""Share of exact zeros above which weights count as pruned; trained ones have almost none."""
CHOSEN = "chosen"
"""Entry of a scorecard's provenance that says how its model was chosen among others."""
NOT_TOLD: Final = "not told"
"""The value of an entry that a server did not state."""
GIVEN = ("stop", "length", "choice")
"""Finish reasons of a text that the model gave; after any other there is no answer to score."""
TOO_LONG = "too_long"
"""Finish reason of a prompt that does not fit the model's context window and was not sent."""
NOT_FINITE = "not_finite"
"""Finish reason of a prompt for which the model computes no probabilities."""
UNFINISHED = "unfinished_reasoning"
"""Finish reason of a text that ended before its reasoning did."""


class Record(BaseModel):
    """A frozen value; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def digest_of_fields(self) -> str:
        """Return the SHA-256 of the record's canonical JSON."""
        return digests.of_value(self.model_dump(mode="json"))

    @property
    def digests(self) -> tuple[str, str]:
        """The digest of the fields, and the one that earlier versions gave them."""
        return digests.forms(self.model_dump(mode="json"))


class LayerBits(Record):
    """One rule of a mixed recipe: the bits of the layers whose names fit a pattern."""

    layers: tuple[str, ...] = Field(min_length=1)
    """Names of layers, or patterns of them such as `*.down_proj`."""
    bits: int | Literal["dense"]
    """Bits per weight; `dense` leaves the layers as they are."""


def bits_of(layer: str, rules: Iterable[LayerBits], *, otherwise: int | None) -> int | None:
    """Return the bits of the first rule that fits a layer's name; None if it stays dense."""
    for rule in rules:
        if any(fnmatch.fnmatchcase(layer, pattern) for pattern in rule.layers):
            return None if rule.bits == "dense" else rule.bits
    return otherwise


class Recipe(Record):
    """How to compress which model; the same recipe gives the same checkpoint."""

    base_model: str
    """The dense source: a builtin name, a Hugging Face id or a directory."""
    revision: str | None = None
    """Commit or digest of the dense source, once resolved."""
    method: str
    """Name of the compression method; `none` is the dense model itself."""
    bits: int | None = None
    """Bits per quantized weight (quantization only)."""
    sparsity: float | None = None
    """Share of weights set to zero, 0-1 (pruning only)."""
    structure: str | None = None
    """`unstructured` or N:M, which keeps N of each M weights (pruning only)."""
    group_size: int | None = None
    """Weights that share one scale (quantization only); resolved, never `auto`."""
    calibration: str | None = None
    """Source of the calibration texts: builtin, self, file:PATH, or
    hf:NAME:CONFIG:SPLIT:FIELD."""
    calibration_samples: int | None = None
    """Number of calibration samples used."""
    calibration_digest: str | None = None
    """SHA-256 of the rendered calibration texts, in order."""
    seed: int = 0
    """Seed for choosing the calibration texts."""
    options: dict[str, bool | int | float | str] = {}
    """Settings that only this method has, such as `dampening`."""
    format: str = "compressed-tensors"
    """Layout of packed weights in the files: compressed-tensors, gptq, awq or gguf:TYPE."""
    save_dtype: SaveDtype | None = Field(default=None, exclude_if=lambda dtype: dtype is None)
    """Dtype of the floats in the files, if it is not that of the source."""
    layer_bits: tuple[LayerBits, ...] = Field(default=(), exclude_if=operator.not_)
    """Layers with other bits than `bits`: the first rule that fits a layer's name counts."""

    def bits_of(self, layer: str) -> int | None:
        """Return the bits of a layer's weights; None if it stays dense."""
        return bits_of(layer, self.layer_bits, otherwise=self.bits)

    @property
    def slug(self) -> str:
        """Short name of the recipe, without its model, such as `awq-4bit-g64-s0`."""
        if self.method == "none":
            return "dense"
        if self.format.startswith("gguf:"):
            return self.format.replace(":", "-")
        zeros = "" if self.sparsity is None else f"{round(100 * self.sparsity)}pct"
        pattern = None if self.structure == "unstructured" else self.structure
        cache = self.options.get("kv_cache", "none")
        parts = (
            self.method,
            str(self.options.get("scheme", "")),
            "asym" if self.options.get("symmetric") is False else "",
            "" if cache == "none" else f"kv-{cache}",
            "" if self.bits is None else f"{self.bits}bit",
            f"mixed-{digests.of_value(self.mixture)[:8]}" if self.layer_bits else "",
            "" if self.group_size is None else f"g{self.group_size}",
            "" if self.format == "compressed-tensors" else f"as-{self.format}",
            f"in-{self.save_dtype}" if self.save_dtype else "",
            zeros if pattern is None else pattern.replace(":", "of"),
            f"s{self.seed}",
        )
        return "-".join(filter(None, parts))

    @property
    def mixture(self) -> str:
        """The rules of a mixed recipe in one line, the first that fits first."""
        rules = [f"{' '.join(rule.layers)}: {rule.bits}" for rule in self.layer_bits]
        return "; ".join([*rules, f"others: {self.bits}"])


class ReloadCheck(Record):
    """Comparison of the reloaded checkpoint with the model in memory."""

    max_logit_difference: float | None
    """Largest difference of their logits; None if made elsewhere, which only has to be finite."""
    tolerance: float
    """Largest difference at which they count as the same model."""
    n_tokens: int
    """Number of positions compared."""


class Part(Record):
    """All weights of one kind in a model's files."""

    kind: str
    """attention, mlp, experts, router, embeddings, head, ..."""
    linear: bool
    """Whether weights of this kind are meant to be compressed."""
    weights: int
    """Number of weights."""
    compressed: int
    """Number of weights in layers that are quantized or pruned."""
    bits: float
    """Stored bits per weight, with scales and zero points."""
    sparsity: float | None
    """Share of exact zeros; None if some are packed integers."""


class Checkpoint(Record):
    """A compressed (or dense) model on disk; all numbers are measured from the saved files."""

    recipe: Recipe
    path: str
    """Directory of the checkpoint when this record was written."""
    digest: str
    """SHA-256 of the manifest; it identifies the exact contents of all files."""
    manifest: dict[str, str]
    """Relative path -> SHA-256, for every file except checkpoint.json."""
    bytes: int
    """Total size of the weight files, in bytes."""
    dense_bytes: int
    """Size of the dense source's weights saved at 16 bits per weight, in bytes."""
    effective_bits: float
    """Stored bits (codes, scales, zero points) per weight of the compressed layers."""
    sparsity: float
    """Share of the target layers' weights that are exactly zero, 0-1."""
    structure_verified: str | None = None
    """The N:M pattern, if every target layer has it."""
    reload_check: ReloadCheck
    versions: dict[str, str]
    """Package -> version, for the packages that wrote the checkpoint."""
    parts: tuple[Part, ...] = Field(default=(), exclude_if=lambda parts: not parts)
    """All weights of the language model, by kind; empty in older files."""
    calibration_tokens: int | None = Field(default=None, exclude_if=lambda count: count is None)
    """Tokens of all calibration texts, after truncation."""
    fell_back: dict[str, int] = Field(default_factory=dict, exclude_if=lambda layers: not layers)
    """Layer that a simpler method had to compress -> number of its weights."""
    weights_at: dict[int, int] = Field(default_factory=dict, exclude_if=operator.not_)
    """Bits of a code -> weights of the layers to compress that have so many; 16 if left dense.

    Empty in older files and in formats whose layers do not state their bits.
    """

    @property
    def code_bits(self) -> tuple[int, int] | None:
        """The fewest bits of quantized weights and their mean, rounded; None if not measured."""
        coded = {bits: count for bits, count in self.weights_at.items() if bits < DENSE_BITS}
        if not coded:
            return None
        mean = sum(bits * count for bits, count in coded.items()) / sum(coded.values())
        return min(coded), round(mean)

    def share_at_most(self, bits: int) -> float | None:
        """Return the share, 0-1, of weights with so few bits; None if it was not measured."""
        total = sum(self.weights_at.values())
        few = sum(count for width, count in self.weights_at.items() if width <= bits)
        return few / total if total else None

    @property
    def coverage(self) -> str:
        """How many of the language model's weights were compressed, and what was left dense."""
        total = sum(part.weights for part in self.parts)
        done = sum(part.compressed for part in self.parts)
        if not total:
            return "not recorded"
        left = {part.kind: part.weights - part.compressed for part in self.parts}
        dense = ", ".join(f"{kind} {count / total:.1%}" for kind, count in left.items() if count)
        fallen = sum(self.fell_back.values())
        simpler = f"; by a simpler method: {fallen / total:.1%}" if fallen else ""
        return f"{done:,} of {total:,} weights; left dense: {dense or 'none'}{simpler}"

    @property
    def weights(self) -> str:
        """What was measured of the weights; the first word is `dense`, `quantized` or `pruned`."""
        if self.effective_bits < 16:
            return f"quantized ({self.effective_bits:.2f} bits per weight)"
        if self.sparsity > PRUNED:
            return f"pruned ({self.sparsity:.0%} zeros)"
        return "dense (16 bits or more)"


class Sampling(Record):
    """How an answer is decoded."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = Field(default=20, ge=1)
    n: int = Field(default=1, ge=1)
    """Number of independent answers per prompt."""
    seed: int = 0


class Message(Record):
    """One turn. The role `completion` is plain text to continue, without a chat template."""

    role: Literal["system", "user", "assistant", "completion"]
    content: str


class Choice(Record):
    """One option of a `choose` prompt."""

    text: str
    """Recorded as the answer if this option wins; the published parser reads it."""
    continuation: str
    """Scored as the continuation of the prompt, with its leading space."""


class Prompt(Record):
    """One question, answered by likelihood (`choose`) if it has `choices`, else by `generate`."""

    id: str
    """Unique within the dimension: `<scenario>#<index>`, or parts joined by slashes."""
    dimension: str
    scenario: str
    messages: tuple[Message, ...]
    prefill: str = ""
    """Start of the assistant's turn, before the answer or the option."""
    sampling: Sampling = Sampling()
    choices: tuple[Choice, ...] = ()
    reference: tuple[Message, ...] = ()
    """What to compare with: the other text of a pair, or the question without its content.

    The options' log-likelihoods after it are subtracted (Zhao et al. 2021).
    """
    target: str | int | None = None
    extra: dict[str, Any] = {}
    """What scoring needs besides the target, and `cluster`, shared by related prompts."""

    @model_serializer(mode="wrap")
    def _as_released(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Name an empty reference as 0.1.0 did, so that digests of such prompts stay."""
        fields: dict[str, Any] = handler(self)
        if not self.reference and "reference" in fields:
            fields["content_free"] = fields.pop("reference")
        return fields


class Generation(Record):
    """The answer to one prompt, with the fields of the published replay files."""

    dimension: str
    scenario: str
    id: str
    texts: tuple[str, ...]
    """The answers, without reasoning; for `choose`, the text of the winning option."""
    target: str | int | None = None
    extra: dict[str, Any] = {}
    """The prompt's `extra`; for `choose` also `loglik` (per option), `margin`, and by option the
    log-likelihoods that `loglik` is the difference of: `after_prompt` and `after_reference`.
    """
    finish_reasons: tuple[str, ...] = ()
    """One per text: `stop`, `length` or `choice`; any other, such as `content_filter`, `abort` or
    `too_long`, says why the text was not given.
    """
    reasoning: tuple[str, ...] = Field(default=(), exclude_if=operator.not_)
    """One per text: the reasoning that was cut off; empty if no text had any."""

    @property
    def withheld(self) -> str | None:
        """Why a text was not given, so that nothing was measured; None if all were given."""
        return next((reason for reason in self.finish_reasons if reason not in GIVEN), None)


class Sample(Record):
    """Which suite a sampled one is part of; with `limit` it says which prompts it has."""

    parent: str
    """Digest of the whole suite."""
    seed: int


class Stopped(Record):
    """How far a sequential evaluation went: it asked the first items of each dimension's order."""

    parent: str
    """Digest of the suite that it asked a part of."""
    seed: int
    """Seed of the order."""
    plan: str
    """Digest of the plan: margins, errors, costs and caps."""
    items: dict[str, int]
    """Dimension -> items asked."""
    of: dict[str, int]
    """Dimension -> items that the suite has, also of dimensions that were not asked."""
    left_out: dict[str, tuple[str, ...]] = {}
    """Dimension -> ids of the prompts beyond the dense model's context window."""


class SuiteFields(Record):
    """What a suite and its manifest have in common."""

    name: str
    """`mini`, `decodingtrust` or `hf`."""
    revision: str
    """Version or digest of the prompt data."""
    scoring: Scoring = "compressed-trust"
    required: dict[str, tuple[str, ...]]
    """Dimension -> scenarios that its score needs."""
    scorers: dict[str, str] = {}
    """Dimension -> identity of the classifier that scores its texts."""
    limit: Limit | None = None
    """Items kept of each dimension, their share if it is a float (0-1), or None for all."""
    sample: Sample | None = Field(default=None, exclude_if=lambda sample: sample is None)
    """Of what it is a random sample. Version 0.1.0 had none: `limit` kept the first prompts."""
    stopped: Stopped | None = Field(default=None, exclude_if=lambda stopped: stopped is None)
    """Of a sequential evaluation: which part of the suite, or of its sample, was asked."""


class Suite(SuiteFields):
    """A set of prompts, with how they are answered and scored."""

    prompts: tuple[Prompt, ...]
    older: bool = Field(default=False, exclude=True)
    """Whether its digest is the one that earlier versions gave it."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over prompts, decoding, scoring and scorers; equal ones can be compared."""
        fields = self.model_dump(mode="json", exclude={"prompts"})
        text = digests.older if self.older else digests.canonical
        before, key, after = text(fields | {"prompts": []}).partition('"prompts":[')
        # Prompt by prompt: the original data has 150,000 of them.
        prompts = (text(prompt.model_dump(mode="json")) for prompt in self.prompts)
        return digests.of_list(prompts, start=before + key, end=after)

    def named(self, digest: str) -> Suite:
        """Return the suite as earlier versions digested it if that gives `digest`, else itself."""
        if digest == self.digest:
            return self
        # Not model_copy: it would copy the digest too.
        fields = {field: getattr(self, field) for field in type(self).model_fields}
        older = self.model_construct(**fields | {"older": True})
        return older if older.digest == digest else self

    def is_named(self, digest: str) -> bool:
        """Return whether a digest is that of the suite, now or in earlier versions."""
        return self.named(digest).digest == digest

    def by_dimension(self) -> dict[str, list[Prompt]]:
        """Return the prompts of each dimension that has any, in order."""
        prompts: dict[str, list[Prompt]] = defaultdict(list)
        for prompt in self.prompts:
            prompts[prompt.dimension].append(prompt)
        return prompts

    def manifest(self) -> SuiteManifest:
        """Return the suite without its prompts, to be saved with the generations."""
        counts = {
            name: Counter(prompt.scenario for prompt in prompts)
            for name, prompts in self.by_dimension().items()
        }
        fields = self.model_dump(exclude={"prompts"})
        return SuiteManifest(**fields, digest=self.digest, n_prompts=counts)


class SuiteManifest(SuiteFields):
    """A suite without its prompts: `suite.json` beside the generations."""

    digest: str
    n_prompts: dict[str, dict[str, int]]
    """Dimension -> scenario -> number of prompts."""

    @property
    def parent(self) -> str:
        """Digest of the whole suite, which is this one or the one it is a part of."""
        part = self.sample or self.stopped
        return part.parent if part else self.digest


class Estimate(Record):
    """What a part of a dimension's items says of its score, 0-100; it is not the score."""

    value: float
    low: float
    """Two-sided 95% interval, lower end."""
    high: float
    refusal_rate: float
    """Percent of the answers that are refusals."""
    items: int
    """Items asked."""
    of: int
    """Items that the suite has."""


class Score(Record):
    """The result of one dimension, 0-100 (toxicity may be more); None means not measured."""

    dimension: str
    value: float | None
    refusal_rate: float | None
    """Percent of answers that are refusals."""
    subscores: dict[str, float] = {}
    """Parts of the score under their published names, 0-100."""
    sound: dict[str, float] = {}
    """Better-founded variants of the published formula, 0-100."""
    partial: bool = False
    """True if scenarios are missing and the score was computed from the rest."""
    missing: tuple[str, ...] = ()
    """Required scenarios that are not fully answered."""
    reason: str = Field(default="", exclude_if=lambda reason: not reason)
    """Why there is no value although all prompts are answered: no measurable signal."""
    estimate: Estimate | None = Field(default=None, exclude_if=lambda estimate: estimate is None)
    """Instead of a value, where a sequential evaluation asked only some of the items."""
    n_prompts: int
    n_scored: int
    withheld: dict[str, dict[str, int]] = Field(default={}, exclude_if=operator.not_)
    """Scenario -> why answers were not given -> how many. The score is that of the others."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        highest = HIGHEST.get(self.dimension, 100.0)
        for name, value, most in (
            ("value", self.value, highest),
            ("refusal_rate", self.refusal_rate, 100.0),
        ):
            if value is not None and not -ROUNDING <= value <= most + ROUNDING:
                raise ValueError(f"{name} of {self.dimension} is {value:g}, not within 0-{most:g}")
        return self

    @property
    def n_withheld(self) -> int:
        """The number of prompts whose answer was not given."""
        return sum(sum(reasons.values()) for reasons in self.withheld.values())


class Scorecard(Record):
    """All dimensions of one model on one suite."""

    checkpoint_digest: str
    suite_digest: str
    rendering_digest: str
    """SHA-256 over all rendered prompts, the text that the model received."""
    generations: dict[str, str]
    """Dimension -> SHA-256 of the generations file."""
    scores: tuple[Score, ...]
    provenance: dict[str, str]
    """Code version and commit, weights, backend, dtype, template, data revision, versions."""

    @property
    def engine(self) -> dict[str, str]:
        """What computed the answers, in which dtype and versions; what is unknown is absent."""
        stated = {name: self.provenance.get(name, NOT_TOLD) for name in ENGINE}
        return {name: value for name, value in stated.items() if value != NOT_TOLD}

    @property
    def protocol(self) -> dict[str, str]:
        """How another harness asked each task; empty if comptrust asked."""
        return {key: value for key, value in self.provenance.items() if key.startswith(ASKED)}

    def score(self, dimension: str) -> Score | None:
        """Return a dimension's score, None if it was not evaluated."""
        return next((score for score in self.scores if score.dimension == dimension), None)

    def __getitem__(self, dimension: str) -> Score:
        """Return a dimension's score. Raises UserError, with the nearest name, if it has none."""
        if score := self.score(dimension):
            return score
        raise unknown("dimension", dimension, [score.dimension for score in self.scores])

    def to_frame(self) -> pd.DataFrame:
        """Return one row per dimension; what was not measured is missing, never 0."""
        import pandas as pd

        rows = [score.model_dump(exclude={"subscores", "sound"}) for score in self.scores]
        return pd.DataFrame(rows).set_index("dimension")


class Finding(Record):
    """The result of one rule."""

    rule: str
    outcome: Result
    reason: str
    """One sentence: the measured value and the limit."""
    evidence: dict[str, Any] = {}

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Dimension -> what the rule says of it; evidence is free-form, so there may be none."""
        rows = self.evidence.get("dimensions")
        named = rows.items() if isinstance(rows, dict) else ()
        return {name: row for name, row in named if isinstance(row, dict)}


class Verdict(Record):
    """The gate's judgment of a candidate; it may be promoted if there are findings and all pass."""

    policy: str
    policy_digest: str
    checkpoint_digest: str
    baseline_digest: str | None
    scorecard_digest: str
    findings: tuple[Finding, ...]
    stages: bool = Field(default=True, exclude_if=bool)
    """Whether the policy guards stages (its `stages`)."""

    @property
    def outcome(self) -> Result:
        """`block` if any finding blocks, `pass` if all (and some) pass, else `inconclusive`."""
        outcomes = {finding.outcome for finding in self.findings} or {"inconclusive"}
        return max(outcomes, key=SEVERITY.index)

    def _repr_html_(self) -> str:
        """Show the card in a notebook."""
        return verdict_html.render(self)
