"""Pair a dense and a candidate log by document, and write both as ordinary evaluations.

A pair is the same document, asked with the same prompt, never the same place in two files. The
prompts of an evaluation are those of both logs together: where one lacks a row, its answer is
missing there, so the dimension has no score and the gate cannot pass it. Nothing is judged on the
intersection.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from comptrust import __version__, digests
from comptrust.errors import UserError, unknown
from comptrust.imports.log import Log, Row
from comptrust.records import ASKED, Generation, Score, Scorecard, SuiteManifest
from comptrust.text_tables import counted
from comptrust.trust import imported, scoring
from comptrust.trust.generations import write_generations

SIDES = {"dense": "the dense model", "candidate": "the candidate"}
"""Side -> what messages call it."""


class Scale(NamedTuple):
    """The range of a metric; `best` is below `worst` where lower is better."""

    worst: float = 0.0
    best: float = 1.0

    def share(self, value: float, *, what: str) -> float:
        """Return a score as a share of the way from worst to best. Raises UserError outside."""
        share = (value - self.worst) / (self.best - self.worst)
        if not 0 <= share <= 1:
            raise UserError(
                f"{what} is {value:g}, outside {self.worst:g} (worst) to {self.best:g} (best)."
                " State its range: --scale METRIC=WORST:BEST."
            )
        return share


Identity = tuple[str, str, int]
Answers = dict[str, dict[Identity, tuple[Row, float | None]]]
"""Dimension -> identity -> the row and its score."""


@dataclass(frozen=True)
class Paired:
    """Two evaluation folders, and what does not pair."""

    folders: Mapping[str, Path]
    notes: tuple[str, ...]


def write(
    logs: Mapping[str, Log],
    *,
    out: Path,
    metrics: Collection[str] = (),
    scales: Mapping[str, Scale] | None = None,
    checkpoints: Mapping[str, str] | None = None,
) -> Paired:
    """Write `out`/dense and `out`/candidate, and say what does not pair.

    `metrics` chooses some (default: all), `scales` gives the range of those that are not 0 (worst)
    to 1 (best), `checkpoints` the digests of known models. Raises UserError for a score outside its
    range, a metric without a stated direction, and metrics that no log has.
    """
    scales = scales or {}
    for log in logs.values():
        log.check(metrics)
    known = {metric for log in logs.values() for row in log.rows for metric in row.scores}
    for metric in [*metrics, *scales]:
        if metric not in known:
            raise unknown("metric", metric, known)
    answers = {
        name: _answers(log, metrics=set(metrics) or known, scales=scales)
        for name, log in logs.items()
    }
    if not answers["dense"].keys() & answers["candidate"].keys():
        raise UserError(
            "The two logs have no task and metric in common:"
            f" {', '.join(sorted(answers['dense']))[:200]} in {logs['dense'].source},"
            f" {', '.join(sorted(answers['candidate']))[:200]} in {logs['candidate'].source}."
        )
    suite, asked = _suite(answers, logs["dense"].harness)
    for name, log in logs.items():
        _write(out / name, log, answers[name], suite, asked, (checkpoints or {}).get(name))
    return Paired({name: out / name for name in logs}, tuple(_notes(logs, answers)))


def _answers(log: Log, *, metrics: Collection[str], scales: Mapping[str, Scale]) -> Answers:
    answers: Answers = defaultdict(dict)
    tasks: dict[str, str] = {}
    places: Counter[tuple[str, str, str]] = Counter()
    for row in log.rows:
        for metric in metrics & row.scores.keys():
            name = imported.name_of(log.harness, row.task, metric)
            if not imported.is_name(name):
                raise UserError(f"{log.source}: the name of {metric} of {row.task} is too long.")
            if tasks.setdefault(name, row.task) != row.task:
                raise UserError(f"Tasks '{row.task}' and '{tasks[name]}' share the name {name}.")
            what = f"{log.source}: {metric} of {row.task}"
            if (row.task, metric) in log.lower and metric not in scales:
                raise UserError(
                    f"{what}: the harness says that lower is better. State its range with --scale"
                    f" {metric}=WORST:BEST, or choose others with --metric."
                )
            value, scale = row.scores[metric], scales.get(metric, Scale())
            # Repeats of a document, and equal documents, may be told apart in any order.
            key = (name, row.document, row.asked)
            places[key] += 1
            answers[name][row.document, row.asked, places[key]] = (
                row,
                None if value is None else scale.share(value, what=what),
            )
    return answers


def _suite(
    answers: Mapping[str, Answers], harness: str
) -> tuple[SuiteManifest, dict[str, list[Identity]]]:
    """Return what both models together were asked, in one order."""
    names = sorted({name for side in answers.values() for name in side})
    asked, tasks, shown = {}, {}, []
    for name in names:
        rows = {
            identity: row
            for side in answers.values()
            for identity, (row, _) in side.get(name, {}).items()
        }
        asked[name] = sorted(rows)
        tasks[name] = next(iter(rows.values())).task
        shown.append([name, [[*one, rows[one].target, rows[one].cluster] for one in asked[name]]])
    digest = digests.of_value([harness, shown])
    return (
        SuiteManifest(
            name=harness,
            revision=digest[:12],
            required={name: (tasks[name],) for name in names},
            digest=digest,
            n_prompts={name: {tasks[name]: len(asked[name])} for name in names},
        ),
        asked,
    )


def _write(
    folder: Path,
    log: Log,
    answers: Answers,
    suite: SuiteManifest,
    asked: Mapping[str, list[Identity]],
    checkpoint: str | None,
) -> None:
    written: dict[str, str] = {}
    scores: list[Score] = []
    for name, identities in asked.items():
        rows = functools.partial(_generations, name, identities, answers.get(name, {}))
        scores += scoring.score(rows(), suite=suite, dimensions=[name], scoring=suite.scoring)
        if scores[-1].n_scored:
            written[name] = write_generations(folder / "generations" / f"{name}.jsonl", rows())
    card = Scorecard(
        checkpoint_digest=checkpoint or digests.of_value(written),
        suite_digest=suite.digest,
        rendering_digest=suite.digest,
        generations=written,
        scores=tuple(scores),
        provenance={
            "code_version": __version__,
            "answers": f"imported from {log.harness}; no model was loaded",
            **log.facts,
            **{f"{ASKED}{name}": value for name, value in sorted(log.protocol.items())},
        },
    )
    digests.write_atomic(folder / "suite.json", suite.model_dump_json(indent=2) + "\n")
    digests.write_atomic(folder / "scorecard.json", card.model_dump_json(indent=2) + "\n")


def _generations(
    name: str, identities: list[Identity], answers: Mapping[Identity, tuple[Row, float | None]]
) -> Iterator[Generation]:
    """Yield the answers that were scored; the others are missing."""
    for identity in identities:
        row, score = answers.get(identity, (None, None))
        if row is not None and score is not None:
            yield Generation(
                dimension=name,
                scenario=row.task,
                id="-".join(map(str, identity)),
                texts=(row.text,),
                target=row.target,
                extra={"score": score, "cluster": row.cluster or row.document},
            )


def _notes(logs: Mapping[str, Log], answers: Mapping[str, Answers]) -> Iterator[str]:
    """Say what one log has and the other has not, one line a dimension and reason."""
    for key in sorted(logs["dense"].protocol.keys() | logs["candidate"].protocol.keys()):
        values = [logs[name].protocol.get(key, "not stated") for name in SIDES]
        if values[0] != values[1]:
            yield f"{key}: {values[0]} for the dense model, {values[1]} for the candidate"
    for task, metric in sorted({one for log in logs.values() for one in log.left_out}):
        yield f"{metric} of {task}: left out, as the samples have no single number of it"
    for name in sorted(answers["dense"].keys() | answers["candidate"].keys()):
        rows = {side: answers[side].get(name, {}) for side in SIDES}
        documents = {side: {one[0] for one in rows[side]} for side in SIDES}
        for side, other in (("dense", "candidate"), ("candidate", "dense")):
            if not rows[side]:
                yield f"{name}: the log of {SIDES[side]} has no such metric"
                continue
            failed = sum(score is None for _, score in rows[side].values())
            if failed:
                yield f"{name}: {counted(failed, 'row')} of {SIDES[side]} without a score"
            lacking = [one for one in rows[other] if one not in rows[side]]
            changed = [one for one in lacking if one[0] in documents[side]]
            if changed and side == "candidate":
                yield (
                    f"{name}: {counted(len(changed), 'document')} asked with another prompt"
                    f" (first: {changed[0][0]})"
                )
            if len(lacking) > len(changed):
                yield (
                    f"{name}: {SIDES[side]} lacks {counted(len(lacking) - len(changed), 'row')} of"
                    f" {SIDES[other]}"
                )
