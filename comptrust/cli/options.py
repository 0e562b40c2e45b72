"""What several commands share: options, and how they report and read."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import click

from comptrust.tracking.store import redacted

DEFAULT_MODEL = "builtin:smollm2-135m-instruct"


class Optional_(click.ParamType[Any]):
    """A type for which the empty text, as MLproject passes it, means `not given`."""

    def __init__(self, inner: Callable[[str], Any], name: str) -> None:
        self.inner, self.name = inner, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "" or value is None:
            return None
        try:
            return self.inner(value)
        except (ValueError, TypeError, OverflowError):  # of a recipe file: a list, .inf
            self.fail(f"'{value}' is not a {self.name}.", param, ctx)


INTEGER = Optional_(int, "whole number")
NUMBER = Optional_(float, "number")
TEXT = Optional_(str, "text")


def setting(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Read NAME=VALUE pairs."""
    from comptrust import config

    pairs: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"'{value}' is not NAME=VALUE.", ctx, param)
        pairs[name] = config.yaml_value(text, where=f"--set {name}")
    return pairs


def stack(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply option decorators in the order in which --help shows them."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


verify_option = click.option(
    "--verify",
    is_flag=True,
    help="Hash the model's files again, even if they are untouched since an earlier run.",
)

compress_options = stack(
    click.option(
        "--model",
        default=DEFAULT_MODEL,
        show_default=True,
        help="builtin:NAME, a Hugging Face id, a folder or models:/NAME/VERSION.",
    ),
    click.option("--method", required=True, help="none, magnitude, sparsegpt, wanda, gptq or awq."),
    click.option("--bits", type=INTEGER, help="3, 4 or 8 (gptq, awq)."),
    click.option(
        "--sparsity",
        type=NUMBER,
        help="Share of weights that become zero (pruning)  [default: 0.5].",
    ),
    click.option("--structure", type=TEXT, help="2:4, 4:8, 1:2 or unstructured (pruning)."),
    click.option(
        "--group-size",
        default="auto",
        show_default=True,
        help="auto: the largest of 128, 64, 32 that fits.",
    ),
    click.option(
        "--calibration",
        default="builtin",
        show_default=True,
        help="builtin, self, file:PATH or hf:NAME.",
    ),
    click.option(
        "--calibration-samples", type=INTEGER, help="Calibration texts used  [default: 64]."
    ),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Seed of the calibration choice."
    ),
    click.option(
        "--format",
        default="compressed-tensors",
        show_default=True,
        help="Of the files: compressed-tensors, gptq or awq.",
    ),
    click.option(
        "--set",
        "options",
        multiple=True,
        callback=setting,
        help="A setting of the method, such as dampening=0.01.",
    ),
    verify_option,
)

evaluate_options = stack(
    click.option("--suite", default="mini", show_default=True, help="mini or decodingtrust:DIR."),
    click.option("--dimensions", type=TEXT, help="Comma-separated; all of the suite's by default."),
    click.option("--limit", type=INTEGER, help="Prompts per scenario; all by default."),
    click.option(
        "--scoring",
        default="compressed-trust",
        show_default=True,
        type=click.Choice(["compressed-trust", "original"]),
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        help="Prompts at once  [default: 256 on a CPU, else 32].",
    ),
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON alone on stdout.")


def say(line: str) -> None:
    """Report progress on stderr, without credentials."""
    click.echo(redacted(line), err=True)


def without_collecting() -> None:
    """Leave garbage alone until the command ends: what it reads holds no cycles, and collecting
    would walk it again and again.
    """
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
