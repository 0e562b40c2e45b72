"""`comptrust evaluate`: ask one model a suite and score its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from comptrust.errors import UserError
from comptrust.models.base import Backend
from comptrust.records import Scorecard
from pipelines.options import TEXT, evaluate_options, json_option


@click.command("evaluate")
@click.argument("target")
@evaluate_options
@click.option("--backend", default="hf", show_default=True, type=click.Choice(["hf", "openai"]), help="Load TARGET, or ask a server.")
@click.option("--base-url", type=TEXT, help="Root of the server's API, such as http://localhost:8000/v1 (openai).")
@click.option("--template", type=TEXT, help="llama-2 or vicuna_v1.1, instead of the model's own chat template.")
@click.option("--allow-partial", is_flag=True, help="Score a dimension of which scenarios are missing, marked as partial.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results  [default: out/evaluations/...].")
@json_option
def command(target: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Ask TARGET the prompts of a suite and score the answers; run again to go on after an interruption.

    With --backend openai TARGET is the model's name on the server, which the environment's OPENAI_API_KEY opens if it is set.

    Example: comptrust evaluate builtin:smollm2-135m-instruct --suite mini --dimensions mmlu,ethics
    """
    from comptrust.trust import suite as suites
    from comptrust.trust.run import evaluate

    dimensions = options["dimensions"].split(",") if options["dimensions"] else None
    suite = suites.load(options["suite"], dimensions=dimensions, scoring=options["scoring"], limit=options["limit"])
    ask = {"batch_size": options["batch_size"], "template": options["template"]}
    backend, name, digest = (_local if options["backend"] == "hf" else _served)(target, base_url=options["base_url"], **ask)
    folder = out or Path("out") / "evaluations" / f"{name}-{digest[:8]}-{suite.digest[:8]}"
    done = evaluate(backend, suite, out=folder, checkpoint_digest=digest, allow_partial=options["allow_partial"])
    click.echo(done.scorecard.model_dump_json(indent=2) if as_json else _table(done.scorecard) + f"\n{done.ref}")


def _local(target: str, *, base_url: str | None, batch_size: int, template: str | None) -> tuple[Backend, str, str]:
    """Return a loaded model, its name and its digest."""
    from comptrust.compression import checkpoint
    from comptrust.models import chat, sources
    from comptrust.models.backends.hf import Hf
    from pipelines.workflow import local_model

    if base_url:
        raise UserError(f"--base-url {base_url} needs --backend openai; --backend hf loads the model itself.")
    if template:
        chat.named(template)
    source = sources.resolve(local_model(target))
    recorded = (source.path / checkpoint.NAME).exists()
    if recorded and (changed := checkpoint.verify(source.path)):
        raise UserError(f"{target} is corrupt: {', '.join(changed)} changed since it was written. Compress again.")
    digest = checkpoint.load(source.path).digest if recorded else source.revision
    return Hf(source.path, batch_size=batch_size, template=template), source.path.name, digest


def _served(target: str, *, base_url: str | None, batch_size: int, template: str | None) -> tuple[Backend, str, str]:
    """Return a served model, its name and the digest of where it is served: its bytes are not known."""
    from comptrust import digests
    from comptrust.models.backends.openai import Openai

    if not base_url:
        raise UserError("--backend openai needs --base-url, the root of the server's API, such as http://localhost:8000/v1.")
    digest = digests.of_value({"server": base_url.rstrip("/"), "model": target})
    return Openai(target, base_url=base_url, batch_size=batch_size, template=template), target.replace("/", "--"), digest


def _table(card: Scorecard) -> str:
    def number(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.1f}"

    lines = [f"{'dimension':<20}{'score':>14}{'refusal %':>14}{'prompts':>9}"]
    for score in card.scores:
        mark = " (partial)" if score.partial else ""
        lines.append(f"{score.dimension:<20}{number(score.value):>14}{number(score.refusal_rate):>14}{score.n_prompts:>9}{mark}")
    return "\n".join(lines)
