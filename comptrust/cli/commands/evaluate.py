"""`comptrust evaluate`: ask one model a suite and score its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from comptrust.cli.options import TEXT, evaluate_options, json_option
from comptrust.records import Scorecard


@click.command("evaluate")
@click.argument("target")
@evaluate_options
@click.option(
    "--backend",
    default="hf",
    show_default=True,
    help="hf: load TARGET; openai: ask a server; or an added one.",
)
@click.option(
    "--base-url",
    type=TEXT,
    help="Root of the server's API, such as http://localhost:8000/v1 (openai).",
)
@click.option(
    "--serve",
    type=click.Choice(["vllm"]),
    help="Start a vLLM server of TARGET and stop it afterwards (openai).",
)
@click.option(
    "--tokenizer",
    type=TEXT,
    help="Folder or id of the served model's tokenizer: prompts are then those of hf (openai).",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=120,
    show_default=True,
    help="Seconds to wait for a busy server.",
)
@click.option(
    "--template",
    type=TEXT,
    help="llama-2, vicuna_v1.1, chatml or plain  [default: the preset's, else the model's own].",
)
@click.option(
    "--allow-partial",
    is_flag=True,
    help="Score a dimension of which scenarios are missing, marked as partial.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the results  [default: out/evaluations/...].",
)
@json_option
def command(target: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Ask TARGET the prompts of a suite and score the answers; run again to go on after an
    interruption.

    With --base-url TARGET is the model's name on the server, which the environment's OPENAI_API_KEY
    opens if it is set.

    Example: comptrust evaluate builtin:smollm2-135m-instruct --suite mini --dimensions mmlu,ethics
    """
    from comptrust.cli import targets
    from comptrust.trust import suite as suites
    from comptrust.trust.run import evaluate

    ask = targets.Ask(**{name: options[name] for name in targets.Ask.__dataclass_fields__})
    ask.check()
    dimensions = suites.split_dimensions(options["dimensions"])
    suite = suites.load(
        options["suite"], dimensions=dimensions, scoring=options["scoring"], limit=options["limit"]
    )
    found = targets.target(target, ask)
    folder = (
        out or Path("out") / "evaluations" / f"{found.name}-{found.digest[:8]}-{suite.digest[:8]}"
    )
    with targets.backend(
        found, ask, given=target, log=folder.with_name(f"{folder.name}-server.log")
    ) as backend:
        done = evaluate(
            backend,
            suite,
            out=folder,
            checkpoint_digest=found.digest,
            allow_partial=options["allow_partial"],
        )
    click.echo(
        done.scorecard.model_dump_json(indent=2)
        if as_json
        else _table(done.scorecard) + f"\n{done.ref}"
    )


def _table(card: Scorecard) -> str:
    def number(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.1f}"

    lines = [f"{'dimension':<20}{'score':>14}{'refusal %':>14}{'prompts':>9}"]
    for score in card.scores:
        mark = " (partial)" if score.partial else ""
        lines.append(
            f"{score.dimension:<20}{number(score.value):>14}{number(score.refusal_rate):>14}"
            f"{score.n_prompts:>9}{mark}"
        )
    return "\n".join(lines)
