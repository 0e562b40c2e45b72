"""`comptrust register`: register a model that is already compressed, with measured sizes."""

from typing import Any

import click

from comptrust.cli import complete
from comptrust.cli.options import (
    INTEGER,
    NUMBER,
    STRUCTURES,
    default_option,
    end,
    engine_option,
    evaluate_options,
    json_option,
    method_option,
    no_fail_option,
    policy_option,
    print_result,
    say,
    stop_option,
    text_option,
    verify_option,
)
from comptrust.errors import Exit

RECIPE = ("method", "bits", "group_size", "sparsity", "structure", "seed")


@click.command("register")
@click.argument("target")
@click.option(
    "--base",
    required=True,
    shell_complete=complete.models,
    help="The dense model it was made from: builtin:NAME, a Hugging Face id or a folder.",
)
@method_option("default: auto, what its files state", default="auto")
@click.option(
    "--bits",
    type=INTEGER,
    help="Bits per weight, checked in the files  [required by gptq, awq and rtn].",
)
@click.option(
    "--group-size", default="auto", show_default=True, help="auto: read it from the files."
)
@click.option(
    "--sparsity",
    type=NUMBER,
    help="Share of weights that are zero, checked in the files (pruning)  [default: 0.5].",
)
@text_option(
    "--structure",
    shell_complete=complete.fixed(*STRUCTURES.replace(" or ", ", ").split(", ")),
    help=f"{STRUCTURES}, checked in the files (pruning)  [default: unstructured].",
)
@default_option("--seed", type=int, default=0, help="Seed of its calibration, if known.")
@click.option(
    "--evaluate", is_flag=True, help="Also evaluate and judge it, as `comptrust run` does."
)
@engine_option
@evaluate_options
@stop_option
@policy_option
@verify_option
@no_fail_option
@json_option
def command(
    target: str, base: str, evaluate: bool, no_fail: bool, as_json: bool, **options: Any
) -> None:
    """Register a model that is already compressed.

    TARGET is a folder, a .gguf file or a Hugging Face id. The recipe is taken from the files, or
    the one that you state is checked in them; the model must load and give finite logits.

    With --evaluate, exit 0 if the verdict passes, 1 if it blocks, 3 if it is inconclusive.

    \b
    Example:
      comptrust register ./llama-2-13b-gptq --method gptq --bits 4 \\
        --base meta-llama/Llama-2-13b-hf
    """
    from comptrust import config
    from comptrust.cli import jobs
    from comptrust.compression import recipe
    from comptrust.models import formats, gguf
    from comptrust.workflow import job

    given = {name: options.pop(name) for name in RECIPE}
    if file := gguf.file_in(config.path_of(target)):
        given["format"] = f"{formats.GGUF}{gguf.kind(file)}"
        given["method"] = "gguf" if given["method"] == "auto" else given["method"]
    stated = recipe.stated(model=base, **given)
    # how somebody else calibrated is not known
    unknown: dict[str, Any] = {"calibration": None, "calibration_samples": None, "options": {}}
    request = jobs.job(stated.model_copy(update=unknown), existing=target, **options)
    if evaluate:
        result = job.run(request, say=say)
        jobs.show(result, as_json=as_json)
        if not no_fail:
            end(Exit.of(result.verdict.outcome))
        return
    version = job.register(request, say=say)
    name = version.tags["recipe"]
    text = f"{version.ref}: {name}, not evaluated. To judge it, run this again with --evaluate."
    fields = {"version": version.ref, "run": f"runs:/{version.run_id}", "recipe": name}
    print_result(text, fields, as_json=as_json, indent=None)
