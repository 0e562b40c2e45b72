"""`comptrust score`: published numbers from answers alone; no model is loaded."""

from pathlib import Path

import click

from comptrust.cli.options import file_option, json_option, print_result, without_collecting
from comptrust.records import Score, Scoring
from comptrust.text_tables import number, table


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
@file_option(
    "--out",
    help="New folder for an evaluation of these answers, signed as imported if there is a signing"
    " key. The gate can judge it under a policy with `dense: declared`  [default: keep nothing].",
)
@json_option
def command(
    files: tuple[Path, ...],
    scoring: Scoring | None,
    allow_partial: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Score files of answers as published; no model is loaded.

    A suite.json beside a file, or above its generations/ folder, says which prompts were asked;
    without one the published scenarios are required.

    \b
    Example:
      comptrust score generations/ethics.jsonl.xz --allow-partial --json
    """
    from comptrust.api import score

    without_collecting()
    if out:
        from comptrust.trust import stored
        from comptrust.workflow.measuring import Witness

        witness = Witness()
        kept = stored.keep(files, out=out, variant=scoring, allow_partial=allow_partial)
        witness.sign(out, None)
        scores = {one.dimension: one for one in kept.scorecard.scores}
    else:
        scores = score(*files, scoring=scoring, allow_partial=allow_partial)
    fields = {"dimensions": {name: _fields(score) for name, score in scores.items()}}
    lines = [*_lines(scores), *([str(out / "scorecard.json")] if out else [])]
    print_result("\n".join(lines), fields, as_json=as_json)


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
        **({"withheld": score.withheld} if score.withheld else {}),
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
        return f"{score.n_withheld} not given" if score.withheld else ""
    note = f"{len(score.missing)} required scenarios missing"
    if score.partial:
        return f"{note}, partial"
    return f"{note}: not measured (first: {score.missing[0]}; --allow-partial scores the rest)"
