"""`comptrust report`: leaderboard, heatmap, curves and verdicts of an experiment as one HTML
file."""

from __future__ import annotations

from pathlib import Path

import click

from comptrust.cli.options import TEXT, say
from comptrust.errors import ServiceError, UserError


@click.command("report")
@click.option(
    "--experiment",
    type=TEXT,
    help="Name of the MLflow experiment  [default: the one that runs are logged to].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
)
@click.option(
    "--smaller",
    multiple=True,
    metavar="MODEL=OTHER",
    help="Smaller dense model to show beside MODEL; repeatable.",
)
@click.option(
    "--ui",
    type=TEXT,
    help=(
        "Address of the MLflow UI that rows link to  [default: the tracking server, else"
        " http://127.0.0.1:5000]."
    ),
)
@click.option(
    "--log/--no-log",
    "logged",
    default=True,
    show_default=True,
    help="Also log the figures (PNG, HTML) on the runs they show.",
)
def command(
    experiment: str | None, out: Path, smaller: tuple[str, ...], ui: str | None, logged: bool
) -> None:
    """Write one self-contained HTML file about all finished runs of an experiment.

    Under `mlflow run . -e report` the file is kept on the project run as well.

    Example: comptrust report --smaller "LLAMA2 13b Chat=LLAMA2 7b Chat" --out report.html
    """
    pairs = {}
    for pair in filter(None, smaller):
        model, equals, other = pair.partition("=")
        if not (model and equals and other):
            raise UserError(f"--smaller '{pair}' is not MODEL=OTHER.")
        pairs[model] = other
    from comptrust.report import entries, figures, page

    if ui and not ui.startswith(("http://", "https://")):
        raise UserError(f"--ui '{ui}' is not an http(s) address, such as http://127.0.0.1:5000.")
    found = entries.read(experiment, ui=ui)
    if not found:
        raise UserError(
            "The experiment has no finished run with scores. Log some with `comptrust run` or"
            " `comptrust leaderboard import`."
        )
    models = {entry.model for entry in found if entry.method == "none"}
    for name in (*pairs, *pairs.values()):
        if name not in models:
            raise UserError(
                f"--smaller: the experiment has no dense run of '{name}'. Known:"
                f" {', '.join(sorted(models)) or 'none'}."
            )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        families = page.families(found, smaller=pairs)
        out.write_text(page.render(found, families), encoding="utf-8")
    except OSError as error:
        raise ServiceError(f"Cannot write {out}: {error.strerror}. Give another --out.") from error
    say(f"{len(found)} runs: {out}")
    if logged:
        figures.log_page(out)
        figures.log_families(families, say=say)
