"""The data of the report: an entry per evaluated version, groups of seeds, their arithmetic."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from comptrust.records import Record, Verdict
from comptrust.serving_cost import ServingCosts
from comptrust.trust.dimensions import dimensions

DIMENSIONS = dimensions()
DENSE_BITS = 16.0
MARGIN = 5.0
"""A drop counts if it is larger than this many points."""


class ReportEntry(Record):
    """One evaluated version, our own or published; all scores and rates 0-100."""

    name: str
    """Name of the run."""
    model: str
    """The dense source."""
    revision: str | None = None
    """Its commit or digest."""
    source: Literal["own", "published"]
    suite: str
    """Digest or name of the suite; only entries of the same suite are compared."""
    suite_name: str = ""
    """Name of the suite, if `suite` is its digest."""
    date: str = ""
    """When the run started, such as `2026-11-28 02:31`, in UTC."""
    method: str
    bits: int | None = None
    sparsity: float | None = None
    structure: str | None = None
    group_size: int | None = None
    calibration: str | None = None
    settings: dict[str, str] = {}
    """The other params that tell recipes apart: calibration samples, options of the method."""
    seed: int | None = None
    bytes: float | None = None
    """Measured size of the weights, if known."""
    ratio: float | None = None
    """Dense size divided by this size, if measured."""
    weights: str = ""
    """What the files showed of the weights, such as `dense (BF16, dequantized from Q4_1)`."""
    scores: dict[str, float] = {}
    """Dimension -> score, if measured."""
    refusals: dict[str, float] = {}
    verdict: Verdict | None = None
    flips: tuple[dict[str, str], ...] = ()
    answers: str = ""
    """All answers of both models as packed by answers.py; empty if the run does not have them."""
    smaller: str | None = None
    """The smaller dense model that the published table names for this dense source."""
    run_id: str | None = None
    url: str | None = None
    """Address of the MLflow run's page."""
    costs: ServingCosts | None = None
    """What it costs to serve it, if measured."""
    emergency: str = ""
    """Until when and why it was promoted without a passing verdict, if it was."""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The published dimensions in their order, then those that other harnesses measured."""
        return (*DIMENSIONS, *sorted(self.scores.keys() - set(DIMENSIONS)))

    @property
    def link(self) -> str | None:
        """The address, if it is safe to link to."""
        return self.url if urlsplit(self.url or "").scheme in ("http", "https") else None

    @property
    def nominal_bits(self) -> float:
        """Bits per weight according to the recipe; as in the paper, 8 if half are zero."""
        return DENSE_BITS * (1 - (self.sparsity or 0.0)) if self.bits is None else float(self.bits)

    @property
    def share(self) -> float:
        """Size of the files as a share of the dense size: measured, else from the recipe."""
        return 1 / self.ratio if self.ratio else self.nominal_bits / DENSE_BITS

    @property
    def counted_share(self) -> float:
        """Size as the paper counts it: without the zeros that files of a pruned model contain."""
        return self.share if self.sparsity is None else 1 - self.sparsity

    @property
    def form(self) -> str:
        """Bits, group size, scheme and structure; of dense weights, what they were made from."""
        if self.method == "none":
            origin = re.search(r"dequantized from [^),]+", self.weights)
            return f"16 bits, {origin[0]}" if origin else "16 bits"
        zeros = "" if self.sparsity is None else f"{100 * self.sparsity:.0f}% zeros"
        cache = self.settings.get("option.kv_cache", "none")
        mixture = self.settings.get("layer_bits")
        parts = (
            f"{self.bits} bits" if self.bits else "",
            f"mixed {mixture.partition(' ')[0]}" if mixture else "",
            f"g{self.group_size}" if self.group_size else "",
            self.settings.get("option.scheme", ""),
            "" if cache == "none" else f"{cache} cache",
            self.settings.get("format", ""),
            zeros if self.structure in (None, "", "unstructured") else self.structure,
            "" if self.calibration in (None, "builtin") else f"calibrated on {self.calibration}",
        )
        return " ".join(filter(None, parts)) or "–"

    @property
    def recipe(self) -> str:
        """The recipe without its seed."""
        return "dense" if self.method == "none" else f"{self.method} {self.form}"

    @property
    def recipe_and_seed(self) -> str:
        """The recipe with its seed, if it has one."""
        has_seed = self.seed is not None and self.method != "none"
        return f"{self.recipe}, seed {self.seed}" if has_seed else self.recipe

    @property
    def suite_label(self) -> str:
        """The suite in a few characters."""
        return f"suite {self.suite_name} {self.suite[:8]}".replace("  ", " ")

    @property
    def family(self) -> tuple[str, str, str, str]:
        """A key that is equal for entries that can be compared."""
        return (self.model, self.source, self.suite, self.revision or "")

    @property
    def title(self) -> str:
        """The name of the family."""
        own = f"own runs, {self.suite_label}"
        return f"{self.model}, {own if self.source == 'own' else 'published'}"


@dataclass(frozen=True)
class SeedGroup:
    """The entries of one recipe, one per seed."""

    entries: tuple[ReportEntry, ...]
    earlier: tuple[ReportEntry, ...] = ()
    """Older runs of the same recipe, seed and suite."""

    @property
    def first(self) -> ReportEntry:
        """The first entry, for everything that all of them share."""
        return self.entries[0]

    def mean(self, dimension: str) -> float | None:
        """Return the mean over seeds; None unless every seed was measured."""
        return _mean_of_all([entry.scores.get(dimension) for entry in self.entries])

    def spread(self, dimension: str) -> float | None:
        """Return the standard deviation over two or more seeds, if every seed was measured."""
        values = [entry.scores[dimension] for entry in self.entries if dimension in entry.scores]
        return statistics.stdev(values) if len(values) == len(self.entries) > 1 else None

    def refusal(self, dimension: str) -> float | None:
        """Return the mean refusal rate in percent; None unless every seed was measured."""
        return _mean_of_all([entry.refusals.get(dimension) for entry in self.entries])

    @property
    def mean_refusal(self) -> float | None:
        """The mean refusal rate, in percent, over the dimensions that have one."""
        rates = [rate for name in DIMENSIONS if (rate := self.refusal(name)) is not None]
        return sum(rates) / len(rates) if rates else None

    @property
    def average(self) -> float | None:
        """The paper's average: the plain mean of all nine scores; None if one is missing."""
        return _mean_of_all([self.mean(name) for name in DIMENSIONS])

    @property
    def outcome(self) -> str:
        """The outcomes of the verdicts, each once; `-` stands for an entry without a verdict."""
        outcomes = {entry.verdict.outcome if entry.verdict else "-" for entry in self.entries}
        return " / ".join(sorted(outcomes))

    def passed(self, worst: float) -> bool:
        """Return whether every verdict, old ones too, was a pass; without one, if `worst` fits."""
        outcomes = {one.verdict.outcome for one in self.entries + self.earlier if one.verdict}
        return outcomes == {"pass"} if outcomes else worst <= MARGIN


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return statistics.fmean(measured) if len(measured) == len(values) else None


def fold(entries: Iterable[ReportEntry]) -> tuple[SeedGroup, ...]:
    """Group entries, given oldest first, that differ only by their seed.

    Of several runs of one recipe and seed only the newest counts. Own runs come before published
    ones, a dense source before its compressed versions.
    """
    groups: dict[tuple[object, ...], list[ReportEntry]] = {}
    for entry in entries:
        key = (*entry.family, entry.method, entry.form, *sorted(entry.settings.items()))
        groups.setdefault(key, []).append(entry)
    folded = []
    for members in groups.values():
        newest = {entry.seed: entry for entry in members}
        folded.append(
            SeedGroup(
                tuple(sorted(newest.values(), key=lambda entry: entry.seed or 0)),
                tuple(entry for entry in members if entry is not newest[entry.seed]),
            )
        )
    return tuple(sorted(folded, key=lambda group: _place(group.first)))


def _place(entry: ReportEntry) -> tuple[object, ...]:
    return (
        entry.source != "own",
        *entry.family,
        entry.method != "none",
        entry.method,
        -entry.nominal_bits,
        entry.form,
        *sorted(entry.settings.items()),
    )


def dense_groups(groups: Sequence[SeedGroup]) -> tuple[SeedGroup, ...]:
    """Return the dense sources."""
    return tuple(group for group in groups if group.first.method == "none")


def compressed_of(dense: SeedGroup, groups: Sequence[SeedGroup]) -> tuple[SeedGroup, ...]:
    """Return the compressed versions of a dense source that were evaluated on the same suite."""
    return tuple(
        group
        for group in groups
        if group.first.method != "none" and group.first.family == dense.first.family
    )


def smaller_of(
    dense: SeedGroup, groups: Sequence[SeedGroup], smaller: Mapping[str, str]
) -> SeedGroup | None:
    """Return the smaller dense model, of `smaller` or of the published table, if evaluated."""
    source = dense.first
    wanted = (smaller.get(source.model, source.smaller), source.source, source.suite)
    same = (group for group in dense_groups(groups) if group.first.family[:3] == wanted)
    return next(same, None)


def lost(group: SeedGroup, dense: SeedGroup, dimension: str) -> float | None:
    """Return the points lost against the dense source, below 0 for a gain; None if not measured."""
    score, dense_score = group.mean(dimension), dense.mean(dimension)
    # Rounding keeps 80.0 - 75.0 from counting as more than 5 points lost.
    return None if score is None or dense_score is None else round(dense_score - score, 9)
