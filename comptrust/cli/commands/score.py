"""`comptrust score`: published numbers from answers alone; no model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust.cli.options import json_option, without_collecting

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
    help="Published variant  [default: suite.json's, else compressed-trust].",
)
@click.option(
    "--allow-partial",
    is_flag=True,
    help="Score what is there when required scenarios are absent, marked partial.",
)
@json_option
def command(
    files: tuple[Path, ...], scoring: Scoring | None, allow_partial: bool, as_json: bool
) -> None:
    """Score files of answers as published.

    A suite.json beside a file, or above its generations/ folder, says what was asked; without one
    the published scenarios are required.

    Example: comptrust score generations/ethics.jsonl.xz --allow-partial --json
    """
    from comptrust.errors import UserError
    from comptrust.trust import scoring as trust_scoring
    from comptrust.trust.fields import FieldError
    from comptrust.trust.generations import each

    without_collecting()
    scores: dict[str, Score] = {}
    for path in files:
        suite = _suite(path)
        try:
            found = trust_scoring.score_stream(
                each(path),
                suite=suite,
                scoring=scoring or (suite.scoring if suite else "compressed-trust"),
                allow_partial=allow_partial,
            )
        except FieldError as error:
            raise UserError(
                f"{path}, line {_line(path, error)}: field '{error.field}': {error.problem}"
            ) from error
        for score in found:
            if score.dimension in scores:
                raise UserError(
                    f"{path} holds {score.dimension} answers, and so does a file before it. Score"
                    " them apart."
                )
            scores[score.dimension] = score
    click.echo(
        json.dumps(
            {"dimensions": {name: _entry(score) for name, score in scores.items()}}, indent=2
        )
        if as_json
        else _table(scores)
    )


def _suite(path: Path) -> SuiteManifest | None:
    from comptrust import config
    from comptrust.records import SuiteManifest

    folders = (
        [path.parent, path.parent.parent]
        if path.parent.resolve().name == "generations"
        else [path.parent]
    )
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


def _entry(score: Score) -> dict[str, object]:
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


def _table(scores: dict[str, Score]) -> str:
    lines = [f"{'dimension':<18}{'score':>8}{'refusal':>9}{'prompts':>9}  note"]
    for name, score in scores.items():
        note = f"{len(score.missing)} required scenarios missing" if score.missing else ""
        if note:
            note += (
                ", partial"
                if score.partial
                else f": not measured (first: {score.missing[0]}; --allow-partial scores the rest)"
            )
        lines.append(
            f"{name:<18}{_number(score.value):>8}{_number(score.refusal_rate):>9}"
            f"{score.n_prompts:>9}"
            f"  {note}".rstrip()
        )
        lines += [
            f"  {key:<40}{value:>8.2f}" for key, value in {**score.subscores, **score.sound}.items()
        ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
