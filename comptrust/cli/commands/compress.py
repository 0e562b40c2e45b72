"""`comptrust compress`: one recipe becomes one checkpoint folder."""

from pathlib import Path
from typing import Any

import click

from comptrust.cli.options import compress_options, file_option, json_option, say


@click.command("compress")
@compress_options
@file_option("--out", help="Folder of the checkpoint  [default: out/MODEL/RECIPE].")
@json_option
def command(out: Path | None, verify: bool, as_json: bool, **recipe_options: Any) -> None:
    """Compress a model and write a checkpoint.

    The checkpoint is loaded again and compared with the model in memory before it counts.

    \b
    Example:
      comptrust compress --method gptq --bits 4 --out out/gptq-4bit
    """
    from comptrust.cli import jobs
    from comptrust.compression import checkpoint, fitting
    from comptrust.compression.recipe import build
    from comptrust.models import sources
    from comptrust.tracking import registry

    recipe = build(server=recipe_options.pop("for"), **recipe_options)
    model = recipe.base_model.split(":")[-1].strip("/").replace("/", "--")
    out = out or Path("out") / model / recipe.slug
    checkpoint.check_free(out)
    fitting.check_texts(recipe)
    source = sources.resolve(registry.local_model(recipe.base_model), verify=verify)
    fitting.check(recipe, source.path)
    from comptrust.compression.oneshot import compress

    record = compress(recipe, source=source, out=out, say=say)
    pattern, difference = record.structure_verified, record.reload_check.max_logit_difference
    reloaded = "every weight is the dense model's, rounded"
    if difference is not None:
        reloaded = f"logits differ by at most {difference:.2g}"
    verified = f", pattern {pattern} verified" if pattern else ""
    text = (
        f"{record.recipe.slug}: {jobs.size(record)}{verified}\n"
        f"compressed {record.coverage}\n"
        f"reloaded: {reloaded}\n"
        f"{record.path}"
    )
    click.echo(record.model_dump_json(indent=2) if as_json else text)
