"""What the report is made of: one entry per evaluated version, groups of seeds, and the arithmetic that the figures share."""

from __future__ import annotations

import html
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

from comptrust.records import Record, Verdict

DIMENSIONS = ("toxicity", "stereotype", "adv_robustness", "ood", "adv_demonstration", "privacy", "ethics", "fairness", "mmlu")
DENSE_BITS = 16.0
MARGIN = 5.0
"""Points below the dense source from which a drop counts."""


class Entry(Record):
    """One evaluated version, own or published; all scores and rates 0-100."""

    name: str
    """Name of the run."""
    model: str
    """The dense source."""
    source: Literal["own", "published"]
    suite: str
    """What must be equal for two entries to be compared."""
    method: str
    bits: int | None = None
    sparsity: float | None = None
    structure: str | None = None
    group_size: int | None = None
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
    url: str | None = None
    """Address of the MLflow run."""

    @property
    def nominal_bits(self) -> float:
        """Bits per weight that the recipe says: 8 for half of the weights removed, as the paper counts."""
        return float(self.bits) if self.bits is not None else DENSE_BITS * (1 - (self.sparsity or 0.0))

    @property
    def share(self) -> float:
        """Size as a share of the dense source: measured, else what the recipe says."""
        return 1 / self.ratio if self.ratio else self.nominal_bits / DENSE_BITS

    @property
    def recipe(self) -> str:
        """The recipe without its seed."""
        parts = [f"{self.bits} bits" if self.bits else "", f"g{self.group_size}" if self.group_size else "", self.structure or ""]
        if self.sparsity is not None and not self.structure:
            parts.append(f"{100 * self.sparsity:.0f}% zeros")
        return " ".join(part for part in ("dense" if self.method == "none" else self.method, *parts) if part)

    @property
    def family(self) -> tuple[str, str, str]:
        """Entries of one family can be compared."""
        return (self.model, self.source, self.suite)


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
        """The paper's average: plain mean of the eight dimensions and MMLU; None if any is missing."""
        values = [self.mean(name) for name in DIMENSIONS]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if len(known) == len(values) else None

    @property
    def outcome(self) -> str:
        """The verdict that all seeds share, else every verdict there is; `-` without any."""
        found = sorted({entry.verdict.outcome if entry.verdict else "-" for entry in self.entries})
        return " / ".join(found)


def fold(entries: Iterable[Entry]) -> tuple[Group, ...]:
    """Group entries that differ by their seed only; of runs of one recipe and seed, the last alone counts.

    Entries come oldest first; the order of first appearance stays.
    """
    groups: dict[tuple[object, ...], dict[int | None, Entry]] = {}
    for entry in entries:
        key = (*entry.family, entry.method, entry.bits, entry.sparsity, entry.structure, entry.group_size)
        groups.setdefault(key, {})[entry.seed] = entry
    return tuple(Group(entries=tuple(found.values())) for found in groups.values())


def dense_of(group: Group, groups: Sequence[Group]) -> Group | None:
    """Return the dense source that answered the same suite, or None."""
    return next((one for one in groups if one.first.method == "none" and one.first.family == group.first.family), None)


def smaller_of(group: Group, groups: Sequence[Group], smaller: dict[str, str]) -> Group | None:
    """Return the smaller dense model that the user named for a group's source, or None."""
    wanted = (smaller.get(group.first.model), *group.first.family[1:])
    return next((one for one in groups if one.first.method == "none" and one.first.family == wanted), None)


def difference(group: Group, dense: Group, dimension: str) -> float | None:
    """Return points gained over the dense source; None if either is not measured."""
    mine, other = group.mean(dimension), dense.mean(dimension)
    return None if mine is None or other is None else round(mine - other, 9)


def text(value: float | None, *, sign: bool = False) -> str:
    """Show a number with one digit; a dash is `not measured`."""
    return "–" if value is None else f"{value:+.1f}" if sign else f"{value:.1f}"


def escape(value: object) -> str:
    """Make a value safe inside HTML text and attributes."""
    return html.escape(str(value), quote=True)
