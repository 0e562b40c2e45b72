"""`comptrust score`: published numbers from answers alone; no model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust.cli.options import json_option, without_collecting
from comptrust.errors import UserError
from comptrust.text_tables import number, table

if TYPE_CHECKING:
    from comptrust.records import Score, Scoring, SuiteManifest
    from comptrust.trust.fields import FieldError


@click.command("score")
@click.argument(
    "files",
    metavar="GENERATIONS.jsonl[.xz]...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
)
@click.option(
    "--scoring",
    type=click.Choice(["compressed-trust", "original"]),
    help="Published variant  [default: that of suite.json, else compressed-trust].",
)
@click.option(
    "--allow-partial",
    is_flag=True,
    help="Score a dimension even if required scenarios are missing, marked as partial.",
)
@json_option
def command(
    files: tuple[Path, ...], scoring: Scoring | None, allow_partial: bool, as_json: bool
) -> None:
    """Score files of answers as published; no model is loaded.

    A suite.json beside a file, or above its generations/ folder, says which prompts were asked;
    without one the published scenarios are required.

    \b
    Example:
      comptrust score generations/ethics.jsonl.xz --allow-partial --json
    """
    without_collecting()
    scores: dict[str, Score] = {}
    for path in files:
        for score in _scores(path, scoring, allow_partial=allow_partial):
            if score.dimension in scores:
                raise UserError(
                    f"{path} holds {score.dimension} answers, and so does an earlier file. Score"
                    " them separately."
                )
            scores[score.dimension] = score
    if as_json:
        dimensions = {name: _fields(score) for name, score in scores.items()}
        click.echo(json.dumps({"dimensions": dimensions}, indent=2))
    else:
        click.echo("\n".join(_lines(scores)))


def _scores(path: Path, scoring: Scoring | None, *, allow_partial: bool) -> tuple[Score, ...]:
    from comptrust.trust.fields import FieldError
    from comptrust.trust.generations import each
    from comptrust.trust.scoring import score

    suite = _suite(path)
    scoring = scoring or (suite.scoring if suite else "compressed-trust")
    try:
        return score(each(path), suite=suite, scoring=scoring, allow_partial=allow_partial)
    except FieldError as error:
        raise UserError(
            f"{path}, line {_line(path, error)}: field '{error.field}': {error.problem}"
        ) from error


def _suite(path: Path) -> SuiteManifest | None:
    from comptrust import config
    from comptrust.records import SuiteManifest

    folders = [path.parent]
    if path.parent.resolve().name == "generations":
        folders.append(path.parent.parent)
    for folder in folders:
        manifest = folder / "suite.json"
        if manifest.is_file():
            return config.parse(config.read_json(manifest), SuiteManifest, where=str(manifest))
    return None


def _line(path: Path, error: FieldError) -> int:
    """Return the line of the answer at fault."""
    from comptrust.trust.generations import lines

    return next(
        number
        for number, line in enumerate(lines(path), start=1)
        if line.strip() and json.loads(line)["id"] == error.prompt_id
    )


def _fields(score: Score) -> dict[str, object]:
    return {
        "score": score.value,
        "refusal": score.refusal_rate,
        "partial": score.partial,
        "subscores": score.subscores,
        "sound": score.sound,
        "missing": list(score.missing),
        "n_prompts": score.n_prompts,
        "n_scored": score.n_scored,
    }


def _lines(scores: dict[str, Score]) -> list[str]:
    rows = [("dimension", "score", "refusal", "prompts", "  note")]
    for name, score in scores.items():
        value, refusal = number(score.value, digits=2), number(score.refusal_rate, digits=2)
        rows.append((name, value, refusal, str(score.n_prompts), f"  {_note(score)}"))
    header, *lines = table(rows, align="<>>>", widths=(18, 8, 9, 9), gap="")
    listed = [header]
    for line, score in zip(lines, scores.values(), strict=True):
        listed.append(line)
        parts = {**score.subscores, **score.sound}
        listed += [f"  {key:<40}{value:>8.2f}" for key, value in parts.items()]
    return listed


def _note(score: Score) -> str:
    if not score.missing:
        return ""
    note = f"{len(score.missing)} required scenarios missing"
    if score.partial:
        return f"{note}, partial"
    return f"{note}: not measured (first: {score.missing[0]}; --allow-partial scores the rest)"
