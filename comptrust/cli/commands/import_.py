"""`comptrust import`: take over what another harness measured of two models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust.cli import complete
from comptrust.cli.options import json_option, print_result, without_collecting
from comptrust.errors import UserError
from comptrust.text_tables import number, table

if TYPE_CHECKING:
    from comptrust.workflow.importing import Scale


@click.command("import")
@click.argument("format", shell_complete=complete.names("imports"))
@click.argument("dense", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="New folder for dense/scorecard.json and candidate/scorecard.json"
    "  [default: out/imports/FORMAT-...].",
)
@click.option(
    "--cluster",
    metavar="FIELD",
    help="Field of a document that related documents share, such as a subject or a passage"
    "  [default: every document is its own].",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="A metric to take; repeatable  [default: all that are numbers].",
)
@click.option(
    "--scale",
    "scales",
    multiple=True,
    metavar="METRIC=WORST:BEST",
    help="The range of a metric, such as brier=1:0 where lower is better; repeatable"
    "  [default: 0:1].",
)
@click.option(
    "--register",
    "version",
    metavar="VERSION",
    shell_complete=complete.versions,
    help="The candidate's version, models:/NAME/VERSION: both evaluations then belong to registered"
    " models  [default: runs alone].",
)
@json_option
def command(
    format: str,
    dense: Path,
    candidate: Path,
    out: Path | None,
    cluster: str | None,
    metrics: tuple[str, ...],
    scales: tuple[str, ...],
    version: str | None,
    as_json: bool,
) -> None:
    """Import two logs of another harness as ordinary evaluations, paired by document.

    FORMAT is lm-eval, inspect, nemo-evaluator, every-eval-ever or jsonl; DENSE and CANDIDATE are
    what the harness wrote for the two models. Each task and metric becomes a dimension
    FORMAT/TASK/METRIC. A document that one log lacks, or asked with another prompt, is not
    measured, and its dimension cannot pass.

    \b
    Example:
      comptrust import lm-eval results/dense results/awq --register models:/llama-2-13b/3
    """
    from comptrust import digests
    from comptrust.workflow import importing

    without_collecting()
    key = digests.of_value([format, str(dense), str(candidate), cluster, metrics, scales])
    result = importing.run(
        importing.Request(
            harness=format,
            logs={"dense": dense, "candidate": candidate},
            out=out or Path("out") / "imports" / f"{format}-{key[:12]}",
            cluster=cluster,
            metrics=metrics,
            scales=dict(map(_scale, scales)),
            version=version,
        )
    )
    ours, reference = (
        result.evaluations["candidate"].scorecard,
        result.evaluations["dense"].scorecard,
    )
    rows = [("dimension", "dense", "candidate", "rows")]
    for score in ours.scores:
        before = reference[score.dimension].value
        rows.append(
            (
                score.dimension,
                number(before, missing="not measured", digits=2),
                number(score.value, missing="not measured", digits=2),
                str(score.n_prompts),
            )
        )
    refs = {side: evaluation.ref for side, evaluation in result.evaluations.items()}
    folders = {side: str(folder) for side, folder in result.paired.folders.items()}
    lines = [
        *table(rows, align="<>>>"),
        *(f"not paired: {note}" for note in result.paired.notes),
        *(f"{side}: {refs[side]}, {folders[side]}/scorecard.json" for side in refs),
        f"To judge: comptrust gate {refs['candidate']} --baseline {refs['dense']} --policy POLICY",
    ]
    scores = {
        score.dimension: {"dense": reference[score.dimension].value, "candidate": score.value}
        for score in ours.scores
    }
    fields = {
        "scores": scores,
        "notes": result.paired.notes,
        "suite_digest": ours.suite_digest,
        "refs": refs,
        "folders": folders,
    }
    print_result("\n".join(lines), fields, as_json=as_json)


def _scale(text: str) -> tuple[str, Scale]:
    from comptrust.workflow.importing import Scale

    metric, _, ends = text.rpartition("=")
    worst, _, best = ends.partition(":")
    try:
        scale = Scale(float(worst), float(best))
    except ValueError:
        scale = Scale(0, 0)
    if not metric or not abs(scale.best - scale.worst) > 0:
        raise UserError(f"--scale '{text}' is not METRIC=WORST:BEST, such as brier=1:0.")
    return metric, scale
