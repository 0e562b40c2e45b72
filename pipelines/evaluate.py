"""`comptrust evaluate`: ask one model a suite and score its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from comptrust.errors import UserError
from comptrust.records import Scorecard
from pipelines.options import evaluate_options, json_option


@click.command("evaluate")
@click.argument("target")
@evaluate_options
@click.option("--allow-partial", is_flag=True, help="Score a dimension of which scenarios are missing, marked as partial.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results  [default: out/evaluations/...].")
@json_option
def command(target: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Ask TARGET the prompts of a suite and score the answers; run again to go on after an interruption.

    Example: comptrust evaluate builtin:smollm2-135m-instruct --suite mini --dimensions mmlu,ethics
    """
    from comptrust.compression import checkpoint
    from comptrust.models import sources
    from comptrust.models.backends.hf import Hf
    from comptrust.trust import suite as suites
    from comptrust.trust.run import evaluate
    from pipelines.workflow import local_model

    dimensions = options["dimensions"].split(",") if options["dimensions"] else None
    suite = suites.load(options["suite"], dimensions=dimensions, scoring=options["scoring"], limit=options["limit"])
    source = sources.resolve(local_model(target))
    recorded = (source.path / checkpoint.NAME).exists()
    if recorded and (changed := checkpoint.verify(source.path)):
        raise UserError(f"{target} is corrupt: {', '.join(changed)} changed since it was written. Compress again.")
    digest = checkpoint.load(source.path).digest if recorded else source.revision
    folder = out or Path("out") / "evaluations" / f"{source.path.name}-{digest[:8]}-{suite.digest[:8]}"
    backend = Hf(source.path, batch_size=options["batch_size"])
    done = evaluate(backend, suite, out=folder, checkpoint_digest=digest, allow_partial=options["allow_partial"])
    click.echo(done.scorecard.model_dump_json(indent=2) if as_json else _table(done.scorecard) + f"\n{done.ref}")


def _table(card: Scorecard) -> str:
    def number(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.1f}"

    lines = [f"{'dimension':<20}{'score':>14}{'refusal %':>14}{'prompts':>9}"]
    for score in card.scores:
        mark = " (partial)" if score.partial else ""
        lines.append(f"{score.dimension:<20}{number(score.value):>14}{number(score.refusal_rate):>14}{score.n_prompts:>9}{mark}")
    return "\n".join(lines)
