"""What was decided about each version, and what is still open."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from comptrust.records import SEVERITY, Finding
from comptrust.report import card, forest, skeleton
from comptrust.report.base import ReportEntry
from comptrust.report.markup import number, spaced

NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Version:
    """All runs of one recipe and seed, on whatever suite and under whatever policy."""

    runs: tuple[ReportEntry, ...]
    """Oldest first."""
    label: str
    """No two versions of a report have the same."""
    anchor: str = ""
    """Its place in the page."""
    card: Markup = Markup()
    """What the newest verdict says."""

    @property
    def judged(self) -> tuple[ReportEntry, ...]:
        """The runs with a verdict."""
        return tuple(entry for entry in self.runs if entry.verdict)

    @property
    def newest(self) -> ReportEntry:
        """The newest run with a verdict, or the newest of all."""
        return (self.judged or self.runs)[-1]

    @property
    def worst(self) -> ReportEntry | None:
        """The run with the worst verdict; the newest of those."""
        return max(reversed(self.judged), key=_severity, default=None)

    @property
    def outcome(self) -> str:
        """The newest outcome."""
        return self.newest.verdict.outcome if self.newest.verdict else NOT_JUDGED

    @property
    def lost_most(self) -> str:
        """The dimension that lost most, in words."""
        rows = forest.intervals(self.newest.verdict) if self.newest.verdict else ()
        if not rows:
            return ""
        row = max(rows, key=lambda row: row.observed)
        bound = "" if row.upper is None else f" (at most {number(row.upper)})"
        if row.observed <= 0:
            return f"lost nothing{bound}"
        return f"lost {number(row.observed)}{bound} in {spaced(row.dimension)}"

    @property
    def open(self) -> str:
        """What somebody still has to decide; empty if nothing."""
        if self.newest.verdict is None:
            return NOT_JUDGED
        if self.outcome == "inconclusive":
            findings = self.newest.verdict.findings
            undecided = [_undecided(one) for one in findings if one.outcome == "inconclusive"]
            return f"undecided {'; '.join(undecided)}"
        if self.outcome == "pass" and self.worst and _severity(self.worst) == len(SEVERITY) - 1:
            assert self.worst.verdict is not None
            where = f"{self.worst.verdict.policy}, {self.worst.suite_label}"
            return f"passes now, but was blocked on {self.worst.date} (policy {where})"
        return ""


def _severity(entry: ReportEntry) -> int:
    return SEVERITY.index(entry.verdict.outcome) if entry.verdict else -1


def _undecided(finding: Finding) -> str:
    names = [spaced(name) for name in forest.undecided(finding)]
    return f"{spaced(finding.rule)} ({', '.join(names)})" if names else spaced(finding.rule)


def versions(entries: Sequence[ReportEntry]) -> tuple[Version, ...]:
    """Return our own versions, their runs oldest first: open ones first, then by outcome."""
    runs: dict[tuple[object, ...], list[ReportEntry]] = {}
    for entry in entries:
        if entry.source == "own":
            settings = tuple(sorted(entry.settings.items()))
            recipe = (entry.method, entry.form, settings, entry.seed)
            runs.setdefault((entry.model, entry.revision, *recipe), []).append(entry)
    found = [
        Version(tuple(own), own[0].recipe_and_seed)
        for own in runs.values()
        if own[0].method != "none" or any(entry.verdict for entry in own)
    ]
    found.sort(key=lambda version: (not version.open, version.outcome, version.label))
    same = Counter((version.newest.model, version.label) for version in found)
    several = len({version.newest.model for version in found}) > 1
    return tuple(
        replace(
            version,
            label=_full_label(version, same, with_model=several),
            anchor=f"version-{index}",
        )
        for index, version in enumerate(found)
    )


def _full_label(version: Version, same: Mapping[tuple[str, str], int], *, with_model: bool) -> str:
    """Return a label that no other version has, by settings and revision where it takes them."""
    entry = version.newest
    parts = [version.label]
    if same[entry.model, version.label] > 1:
        settings = (
            f"{key.removeprefix('option.')} {value}" for key, value in entry.settings.items()
        )
        parts += [spaced(setting) for setting in settings]
        parts.append(f"revision {(entry.revision or 'unknown')[:8]}")
    return ", ".join([entry.model, *parts] if with_model else parts)


def render(entries: Sequence[ReportEntry], *, viewers: Mapping[str, str], texts: bool) -> Markup:
    """Return what was decided, what is open, and a card for each version (arguments as page.py)."""
    own = [
        replace(
            version,
            card=card.content(
                version.newest, viewer=viewers.get(version.newest.run_id or ""), texts=texts
            ),
        )
        for version in versions(entries)
    ]
    return skeleton.fill(
        "decisions.html",
        versions=own,
        undecided=[version for version in own if version.open],
        counts=Counter(version.outcome for version in own),
        published=sum(entry.source == "published" for entry in entries),
    )
