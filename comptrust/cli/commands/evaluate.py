"""`comptrust evaluate`: ask one model the prompts of a suite and score its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comptrust.cli import complete
from comptrust.cli.options import (
    default_option,
    evaluate_options,
    file_option,
    json_option,
    policy_option,
    say,
    stop_option,
    text_option,
)
from comptrust.errors import UserError
from comptrust.records import Stop
from comptrust.text_tables import number, table

if TYPE_CHECKING:
    from comptrust.trust.evaluation import Evaluation


@click.command("evaluate")
@click.argument("target", shell_complete=complete.models)
@evaluate_options
@default_option(
    "--engine",
    "--backend",
    "engine",
    default="auto",
    shell_complete=complete.names("backends", also=("auto",)),
    help="hf: load TARGET; vllm: start a vLLM server for it; openai: ask a server; or one that was"
    " added. auto: openai with --base-url, vllm where a GPU and vLLM are there, else hf.",
)
@text_option(
    "--base-url",
    help="Root of the server's API, such as http://localhost:8000/v1  [required by openai].",
)
@click.option(
    "--serve",
    type=click.Choice(["vllm"]),
    help="Older way to say --engine vllm  [default: see --engine].",
)
@text_option(
    "--tokenizer",
    help="Folder or id of the served model's tokenizer, so that prompts equal those of hf"
    " (openai)  [default: the server formats prompts].",
)
@default_option(
    "--patience",
    type=click.FloatRange(min=0),
    default=120,
    help="Seconds to wait for a busy server (openai).",
)
@click.option(
    "--allow-partial",
    is_flag=True,
    help="Score a dimension even if required scenarios are missing, marked as partial.",
)
@text_option(
    "--baseline",
    shell_complete=complete.models,
    help="The dense source, which is asked the same prompts  [required by --stop early].",
)
@stop_option
@policy_option
@file_option("--out", help="Folder of the results  [default: out/evaluations/...].")
@json_option
def command(
    target: str,
    out: Path | None,
    baseline: str | None,
    stop: Stop,
    policy: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Ask TARGET the prompts of a suite and score the answers.

    TARGET is builtin:NAME, a Hugging Face id, a folder or models:/NAME/VERSION. With --base-url it
    is the model's name on the server; the environment variable OPENAI_API_KEY holds its key, if it
    needs one. Run the same command again to continue after an interruption.

    With --stop early, TARGET and its --baseline are asked until each dimension of the policy is
    decided. The folders `candidate` and `dense` of the results are what `comptrust gate` compares.

    \b
    Example:
      comptrust evaluate builtin:smollm2-135m-instruct --dimensions mmlu,ethics
    """
    from comptrust.gate import policy as policies
    from comptrust.models.engines import EngineOptions
    from comptrust.trust import suite as suites
    from comptrust.workflow import targets

    if options["serve"] and options["engine"] in ("auto", "openai"):
        options["engine"] = options["serve"]
    names = EngineOptions.__dataclass_fields__.keys() & options.keys()
    asking = EngineOptions(**{name: options[name] for name in names})
    asking.check()
    asked = {name: options[name] for name in ("dimensions", "scoring", "limit")}
    suite = suites.load(options["suite"], **asked)
    model = targets.target(target, asking)
    name = f"{model.name}-{model.digest[:8]}-{suite.digest[:8]}"
    if asking.asks == "vllm":
        name += "-vllm"
    if asking.dtype != "auto":
        name += f"-{asking.dtype}"
    if stop == "early":
        name += "-early"
    out = out or Path("out") / "evaluations" / name
    if stop == "early":
        rules = policies.load(policy or policies.default(options["suite"]))
        if baseline is None:
            raise UserError("--stop early compares two models: give the dense one (--baseline).")
        evaluation, _ = targets.evaluate_early(
            model,
            targets.target(baseline, asking),
            asking,
            suite,
            policy=rules,
            given=target,
            out=out,
            seal=options["seal"],
            say=say,
        )
        _show(evaluation, as_json=as_json)
        return
    for option, value in (("--baseline", baseline), ("--policy", policy)):
        if value:
            raise UserError(f"{option} {value} is for --stop early; leave it out.")
    targets.check_out(out, suite, model=model.digest)
    evaluation = targets.evaluate(
        model,
        asking,
        suite,
        given=target,
        out=out,
        allow_partial=options["allow_partial"],
        seal=options["seal"],
        say=say,
    )
    _show(evaluation, as_json=as_json)


def _show(evaluation: Evaluation, *, as_json: bool) -> None:
    card = evaluation.scorecard
    click.echo(
        card.model_dump_json(indent=2)
        if as_json
        else "\n".join([*_lines(evaluation), str(evaluation.ref)])
    )


def _lines(evaluation: Evaluation) -> list[str]:
    floors = evaluation.control.floors if evaluation.control else {}
    rows = [("dimension", "score", "noise", "refusal %", "prompts", "")]
    for score in evaluation.scorecard.scores:
        value = number(score.value, missing="not measured")
        refusal = number(score.refusal_rate, missing="not measured")
        mark = " (partial)" if score.partial else ""
        if part := score.estimate:
            value, refusal = f"{part.low:.0f} to {part.high:.0f}", number(part.refusal_rate)
            mark += f" {part.items} of {part.of} items"
        if score.withheld:
            mark += f" ({score.n_withheld} not given)"
        mark += f" {score.reason}" if score.reason else ""
        noise = number(floors.get(score.dimension))
        rows.append((score.dimension, value, noise, refusal, str(score.n_prompts), mark))
    lines = table(rows, align="<>>>>", widths=(20, 14, 8, 14, 9), gap="")
    weights = evaluation.scorecard.provenance.get("weights")
    return [*lines, f"weights: {weights}"] if weights else lines
