"""What the report is made of: one entry per evaluated version, groups of seeds, and the arithmetic
that the figures share.
"""

from __future__ import annotations

import html
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal
from urllib.parse import urlsplit

from comptrust.records import Record, Verdict
from comptrust.trust.dimensions import dimensions

DIMENSIONS = dimensions()
DENSE_BITS = 16.0
MARGIN = 5.0
"""Points below the dense source from which a drop counts."""


class Entry(Record):
    """One evaluated version, own or published; all scores and rates 0-100."""

    name: str
    """Name of the run."""
    model: str
    """The dense source."""
    revision: str | None = None
    """Its commit or digest."""
    source: Literal["own", "published"]
    suite: str
    """What must be equal for two entries to be compared."""
    method: str
    bits: int | None = None
    sparsity: float | None = None
    structure: str | None = None
    group_size: int | None = None
    calibration: str | None = None
    settings: dict[str, str] = {}
    """Every other param that makes a recipe another one: calibration samples and options of the
    method.
    """
    seed: int | None = None
    bytes: float | None = None
    """Measured size of the weights; None where it is not known."""
    ratio: float | None = None
    """Dense size over this size, measured."""
    scores: dict[str, float] = {}
    """Dimension -> score; what was not measured is absent."""
    refusals: dict[str, float] = {}
    verdict: Verdict | None = None
    flips: tuple[dict[str, str], ...] = ()
    smaller: str | None = None
    """The smaller dense model that the published table names for this dense source."""
    run_id: str | None = None
    url: str | None = None
    """Address of the MLflow run's page."""

    @property
    def link(self) -> str | None:
        """The address, if a page may lead there."""
        return (
            self.url
            if self.url is not None and urlsplit(self.url).scheme in ("http", "https")
            else None
        )

    @property
    def nominal_bits(self) -> float:
        """Bits per weight that the recipe says: 8 for half of the weights removed, as the paper
        counts.
        """
        return (
            float(self.bits) if self.bits is not None else DENSE_BITS * (1 - (self.sparsity or 0.0))
        )

    @property
    def share(self) -> float:
        """Size of the files as a share of the dense source: measured, else what the recipe says."""
        return 1 / self.ratio if self.ratio else self.nominal_bits / DENSE_BITS

    @property
    def counted_share(self) -> float:
        """Size as the paper counts it: a pruned model by the weights that are left, since its files
        keep the zeros; else `share`.
        """
        return self.share if self.sparsity is None else 1 - self.sparsity

    @property
    def form(self) -> str:
        """Bits and group size, or the structure of the zeros."""
        parts = [
            f"{self.bits} bits" if self.bits else "",
            f"g{self.group_size}" if self.group_size else "",
        ]
        if self.structure and self.structure != "unstructured":
            parts.append(self.structure)
        elif self.sparsity is not None:
            parts.append(f"{100 * self.sparsity:.0f}% zeros")
        if self.calibration not in (None, "builtin"):
            parts.append(f"calibrated on {self.calibration}")
        return " ".join(filter(None, parts)) or ("16 bits" if self.method == "none" else "–")

    @property
    def recipe(self) -> str:
        """The recipe without its seed."""
        return "dense" if self.method == "none" else f"{self.method} {self.form}"

    @property
    def family(self) -> tuple[str, str, str, str]:
        """Entries of one family can be compared."""
        return (self.model, self.source, self.suite, self.revision or "")

    @property
    def title(self) -> str:
        """The family in words."""
        return (
            f"{self.model}, published"
            if self.source == "published"
            else f"{self.model}, own runs, suite {self.suite[:8]}"
        )


class Group(Record):
    """The seeds of one recipe."""

    entries: tuple[Entry, ...]

    @property
    def first(self) -> Entry:
        """Any of the entries, for what they share."""
        return self.entries[0]

    def mean(self, dimension: str) -> float | None:
        """Return the mean over seeds; None if a seed was not measured."""
        values = [entry.scores.get(dimension) for entry in self.entries]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if len(known) == len(values) else None

    def spread(self, dimension: str) -> float | None:
        """Return the standard deviation over seeds; None with fewer than two measured."""
        known = [entry.scores[dimension] for entry in self.entries if dimension in entry.scores]
        return statistics.stdev(known) if len(known) == len(self.entries) > 1 else None

    def refusal(self, dimension: str) -> float | None:
        """Return the mean refusal rate in percent; None if a seed was not measured."""
        known = [entry.refusals[dimension] for entry in self.entries if dimension in entry.refusals]
        return statistics.fmean(known) if len(known) == len(self.entries) else None

    @property
    def average(self) -> float | None:
        """The paper's average: plain mean of the eight dimensions and MMLU; None if any is
        missing."""
        values = [self.mean(name) for name in DIMENSIONS]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if len(known) == len(values) else None

    @property
    def outcome(self) -> str:
        """The verdict that all seeds share, else every verdict there is; `-` without any."""
        found = sorted({entry.verdict.outcome if entry.verdict else "-" for entry in self.entries})
        return " / ".join(found)


def fold(entries: Iterable[Entry]) -> tuple[Group, ...]:
    """Group entries that differ by their seed only; of runs of one recipe and seed, the last alone
    counts.

    Entries come oldest first. Own runs stand before published ones, a dense source before what was
    made of it.
    """
    groups: dict[tuple[object, ...], dict[int | None, Entry]] = {}
    for entry in entries:
        key = (*entry.family, entry.method, entry.form, *sorted(entry.settings.items()))
        groups.setdefault(key, {})[entry.seed] = entry
    folded = (
        Group(entries=tuple(sorted(found.values(), key=lambda entry: entry.seed or 0)))
        for found in groups.values()
    )
    return tuple(sorted(folded, key=lambda group: _place(group.first)))


def _place(entry: Entry) -> tuple[object, ...]:
    own = entry.source == "own"
    return (
        not own,
        *entry.family,
        entry.method != "none",
        entry.method,
        -entry.nominal_bits,
        entry.form,
        *sorted(entry.settings.items()),
    )


def dense_groups(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Return the dense sources."""
    return tuple(group for group in groups if group.first.method == "none")


def compressed_of(dense: Group, groups: Sequence[Group]) -> tuple[Group, ...]:
    """Return what was made of a dense source and answered the same suite."""
    return tuple(
        one
        for one in groups
        if one.first.method != "none" and one.first.family == dense.first.family
    )


def smaller_of(dense: Group, groups: Sequence[Group], smaller: dict[str, str]) -> Group | None:
    """Return the smaller dense model of the same suite: the one that `smaller` names for the
    source, else the table's; or None.
    """
    wanted = (
        smaller.get(dense.first.model, dense.first.smaller),
        dense.first.source,
        dense.first.suite,
    )
    return next((one for one in dense_groups(groups) if one.first.family[:3] == wanted), None)


def difference(group: Group, dense: Group, dimension: str) -> float | None:
    """Return points gained over the dense source; None if either is not measured."""
    mine, other = group.mean(dimension), dense.mean(dimension)
    return None if mine is None or other is None else round(mine - other, 9)


def text(value: float | None, *, sign: bool = False) -> str:
    """Show a number with one digit; a dash is `not measured`."""
    return "–" if value is None else f"{value:+.1f}" if sign else f"{value:.1f}"


def heading(dimension: str) -> str:
    """Name a dimension as the head of a narrow column; soft hyphens say where it may break."""
    words = {
        "stereotype": "stereo-type",
        "robustness": "robust-ness",
        "demonstration": "demon-stration",
    }
    return " ".join(words.get(word, word).replace("-", "\u00ad") for word in dimension.split("_"))


def escape(value: object) -> str:
    """Make a value safe inside HTML text and attributes."""
    return html.escape(str(value), quote=True)
