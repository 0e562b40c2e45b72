"""What every reader returns: the scored rows of one log, and how they were asked."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.plugins import Registry

FORMATS = Registry("format", "comptrust.imports.formats", "comptrust.imports", verb="read")
MAX_ROWS = 250_000
"""Most rows of one log. With two of 100,000, an import takes 490 MB."""
AGREES = 1e-9
"""Largest difference between a harness's mean and that of its rows."""


class Row(NamedTuple):
    """What a model answered to one document, and what the harness thought of it."""

    task: str
    document: str
    """Digest of the document, never its place in the file."""
    asked: str
    """Digest of the prompt that the model saw; empty if the harness does not log it."""
    scores: Mapping[str, float | None]
    """Metric -> score in the harness's own scale; None if scoring it failed."""
    text: str = ""
    target: str | None = None
    cluster: str | None = None
    """Related documents share one; by default each is its own."""


@dataclass
class Log:
    """One model's evaluation by another harness."""

    source: Path
    harness: str
    rows: list[Row] = field(default_factory=list)
    stated: dict[tuple[str, str], float] = field(default_factory=dict)
    """(task, metric) -> the harness's own mean."""
    lower: set[tuple[str, str]] = field(default_factory=set)
    """The tasks' metrics of which the harness says that lower is better."""
    protocol: dict[str, str] = field(default_factory=dict)
    """How the prompts were asked, such as `gsm8k num_fewshot` -> 5."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(task, metric) of which the rows hold no single number."""
    facts: dict[str, str] = field(default_factory=dict)
    """Entries of the scorecard's provenance, such as `backend` and `dtype`."""
    _places: dict[tuple[str, ...], int] = field(default_factory=dict, repr=False)

    def add(self, row: Row, *, where: str, **identity: Any) -> None:
        """Add a row that no other has the same task and `identity` as.

        Raises UserError for a second one, a row without them, and rows beyond the limit.
        """
        if lacking := [name for name, value in identity.items() if value in (None, "")]:
            raise UserError(f"{where}: it has no {lacking[0]}, so nothing shows which row it is.")
        key = (row.task, *map(str, identity.values()))
        if (place := self._places.setdefault(key, len(self.rows) + 1)) <= len(self.rows):
            named = ", ".join(f"{name} {value}" for name, value in identity.items())
            raise UserError(f"{where}: {named} of {row.task} is there twice, first as row {place}.")
        if len(self.rows) >= MAX_ROWS:
            raise UserError(
                f"{self.source} has more than {MAX_ROWS:,} rows, the limit. Import fewer tasks."
            )
        self.rows.append(row)

    def asked(self, task: str, **settings: Any) -> None:
        """Note how a task was asked; settings that are not stated are left out."""
        for name, value in settings.items():
            if value not in (None, "", [], {}):
                text = value if isinstance(value, str) else digests.older(value)
                short = text if len(text) <= 60 else f"(digest) {digests.of_text(text)[:16]}"
                self.protocol[f"{task} {name}"] = short

    def check(self, metrics: Collection[str]) -> None:
        """Compare the stated means with the rows, and note which metrics these do not have.

        Only the given metrics are looked at, or all if there are none.

        Raises UserError for a log without rows, or rows that do not give a stated mean.
        """
        self._places.clear()
        if not self.rows:
            raise UserError(f"{self.source} has no samples, so there is nothing to pair.")
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for row in self.rows:
            for metric, score in row.scores.items():
                values[row.task, metric].append(math.nan if score is None else score)
        for (task, metric), mean in self.stated.items():
            if metrics and metric not in metrics:
                continue
            scores = values.get((task, metric))
            own = math.fsum(scores) / len(scores) if scores else math.nan
            if not scores:
                self.left_out.append((task, metric))
            elif math.isfinite(own) and abs(own - mean) > AGREES * max(1, abs(mean)):
                raise UserError(
                    f"{self.source}: {metric} of {task} is {mean:.9g} in the results, but its"
                    f" {len(scores)} samples give {own:.9g}. They belong to different runs, rows"
                    " are missing, or it is not a mean over samples; leave it out with --metric."
                )


def lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield `FILE, line N` and the object of each line. Raises UserError for a broken line."""
    try:
        with open(path, "rb") as file:
            for number, text in enumerate(config.decoded_lines(file, where=str(path)), start=1):
                if text.strip():
                    where = f"{path}, line {number}"
                    value = config.json_value(text, where=where)
                    if not isinstance(value, dict):
                        raise UserError(f"{where}: not an object of fields.")
                    yield where, value
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error


def number(value: Any, *, where: str) -> float:
    """Return a score as a number. Raises UserError unless it is a finite one."""
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    raise UserError(f"{where}: {str(value)[:40]!r} is not a finite number.")


def digest(*parts: Any) -> str:
    """Return a short digest of what identifies a document or a prompt."""
    texts = [part if isinstance(part, str) else digests.older(part) for part in parts]
    return digests.of_value(texts)[:32]


def cluster(document: Any, name: str | None, *, where: str) -> str | None:
    """Return the field of a document that related ones share. Raises UserError without it."""
    if name is None:
        return None
    if not isinstance(document, Mapping) or document.get(name) is None:
        fields = ", ".join(sorted(document)) if isinstance(document, Mapping) else "none"
        raise UserError(f"{where}: no field '{name}' for --cluster. Fields: {fields[:200]}.")
    return str(document[name])


def only(folder: Path, pattern: str, *, what: str) -> Path:
    """Return the one file that fits. Raises UserError if there is none, or are several."""
    if folder.is_file():
        return folder
    files = sorted(folder.rglob(pattern)) if folder.is_dir() else []
    if len(files) == 1:
        return files[0]
    if not files:
        raise UserError(f"{folder} has no {what} ({pattern}). Give the folder of a finished run.")
    listed = ", ".join(str(file.relative_to(folder)) for file in files[:3])
    raise UserError(f"{folder} has {len(files)} {what}s ({listed}). Give one of them.")
