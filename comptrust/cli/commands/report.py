"""`comptrust report`: leaderboard, heatmap, curves and verdicts of an experiment in one file."""

from pathlib import Path

import click

from comptrust.cli.options import default_option, say, text_option
from comptrust.errors import ServiceError, UserError
from comptrust.text_tables import counted


@click.command("report")
@text_option(
    "--experiment",
    help="Name of the MLflow experiment  [default: the one that runs are logged to].",
)
@default_option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    help="File to write.",
)
@click.option(
    "--smaller",
    multiple=True,
    metavar="MODEL=OTHER",
    help="Smaller dense model to show beside MODEL; repeatable.",
)
@text_option(
    "--ui",
    help="Address of the MLflow UI to link to  [default: the tracking server, else"
    " http://127.0.0.1:5000].",
)
@default_option(
    "--log/--no-log",
    "log_figures",
    default=True,
    help="Also log the figures (PNG, HTML) on the runs they show.",
)
@default_option(
    "--texts/--no-texts",
    default=True,
    help="Show what was asked and answered; without, only what the answers were parsed as.",
)
def command(
    experiment: str | None,
    out: Path,
    smaller: tuple[str, ...],
    ui: str | None,
    log_figures: bool,
    texts: bool,
) -> None:
    """Write an HTML report about an experiment.

    It is one self-contained file about all finished runs. Pages with all answers of each judged
    run are written beside it, to the folder report_answers. Under `mlflow run . -e report` the
    report is also logged on the project's run.

    \b
    Example:
      comptrust report --smaller "LLAMA2 13b Chat=LLAMA2 7b Chat" --out report.html
    """
    pairs = _pairs(smaller)
    if ui and not ui.startswith(("http://", "https://")):
        raise UserError(f"--ui '{ui}' is not an http(s) address, such as http://127.0.0.1:5000.")
    from comptrust.report import entries, page
    from comptrust.search import output

    runs = entries.read(experiment, ui=ui)
    if not runs:
        raise UserError(
            "The experiment has no finished run with scores. Log some with `comptrust run` or"
            " `comptrust leaderboard import`."
        )
    dense = sorted({run.model for run in runs if run.method == "none"})
    for name in [*pairs, *pairs.values()]:
        if name not in dense:
            raise UserError(
                f"--smaller: the experiment has no dense run of '{name}'. Known:"
                f" {', '.join(dense) or 'none'}."
            )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        families = page.families(runs, smaller=pairs)
        viewers = page.write_answers(runs, beside=out, texts=texts)
        searches = output.html(output.logged(entries.experiment_id(experiment)))
        html = page.render(runs, families, viewers=viewers, searches=searches, texts=texts)
        out.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ServiceError(f"Cannot write {out}: {error.strerror}. Give another --out.") from error
    say(f"{counted(len(runs), 'run')}: {out}")
    if log_figures:
        page.log_page(out)
        page.log_families(families, say=say)


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in filter(None, values):
        model, _, other = value.partition("=")
        if not (model and other):
            raise UserError(f"--smaller '{value}' is not MODEL=OTHER.")
        pairs[model] = other
    return pairs
