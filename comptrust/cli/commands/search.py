"""`comptrust search`: find the smallest checkpoint that a policy lets pass."""

from typing import Any

import click

from comptrust.cli import complete
from comptrust.cli.options import (
    DEFAULT_MODEL,
    HELD_BACK,
    default_option,
    dimensions_option,
    end,
    json_option,
    no_fail_option,
    policy_option,
    print_result,
    say,
    text_option,
)
from comptrust.errors import Exit, UserError

FORMATS = "3,4,5,6,8,dense"


@click.command("search")
@default_option(
    "--model",
    default=DEFAULT_MODEL,
    shell_complete=complete.models,
    help="The dense source, named as for run.",
)
@default_option(
    "--method",
    default="gptq",
    shell_complete=complete.names("methods"),
    help="Method that rounds: gptq, awq or rtn.",
)
@policy_option
@default_option(
    "--suite",
    default="mini",
    shell_complete=complete.names("suites"),
    help="Suite of prompts: mini or decodingtrust:DIR.",
)
@dimensions_option
@default_option(
    "--held-back",
    type=HELD_BACK,
    default="50%",
    help="Items of each dimension, or a share of them, that only the winner answers.",
)
@default_option(
    "--budget", default="8", help="Most candidates, such as 8, or most hours, such as 2h."
)
@text_option(
    "--formats",
    help="Bits that a layer may get, comma-separated; dense leaves it as it is"
    f"  [default: {FORMATS}, or those that --for loads].",
)
@text_option(
    "--for",
    shell_complete=complete.names("servers"),
    help="Server that has to load the checkpoint  [default: check none].",
)
@default_option(
    "--objective",
    type=click.Choice(["size", "latency"]),
    default="size",
    help="What makes a winner of those that pass: fewest bytes, or the most tokens a second.",
)
@default_option(
    "--address",
    default="local",
    help="Where candidates run side by side: local, auto, ray://HOST:PORT or slurm.",
)
@default_option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=1,
    help="Candidates asked side by side; 1 asks them here.",
)
@default_option("--group-size", default="auto", help="Weights that share a scale.")
@default_option("--calibration", default="builtin", help="Calibration texts, as for run.")
@default_option("--seed", type=int, default=0, help="Seed that chooses the calibration texts.")
@no_fail_option
@json_option
def command(no_fail: bool, as_json: bool, **options: Any) -> None:
    """Find the smallest checkpoint whose verdict is a pass.

    Layers get more or fewer bits by how much they suffer, and sizes are bisected. Candidates are
    told apart on one part of the prompts; the smallest that passes there is judged once, under the
    policy, on prompts that the search never saw. Run the same command again to continue after an
    interruption.

    Exit 0 if the winner passes, 1 if it blocks, 3 if it is inconclusive or none was found.

    \b
    Example:
      comptrust search --policy demo --budget 8
    """
    from comptrust.cli import jobs
    from comptrust.gate import policy as policies
    from comptrust.search import output, run, split
    from comptrust.search.plan import Plan
    from comptrust.trust import suite as suites

    if options["address"] != "local" and options["at_once"] == 1:
        raise UserError(
            f"address {options['address']}: one candidate at a time is asked here. Say how many run"
            " there side by side, such as --at-once 4."
        )
    if options["objective"] == "latency" and options["at_once"] > 1:
        raise UserError(
            f"at-once {options['at_once']}: candidates that share a machine cannot be timed. Leave"
            " it out, or search by size."
        )
    widths, recipe = _recipe(options)
    policy = policies.load(options["policy"] or policies.default(options["suite"]))
    whole = suites.for_run(
        options["suite"], dimensions=options["dimensions"], scoring="compressed-trust", limit=1.0
    )
    for warning in split.check(whole, options["held_back"] or 0.5, policy):
        say(f"warning: {warning}")
    budget = _budget(str(options["budget"]))
    made = jobs.job(
        recipe,
        suite=options["suite"],
        dimensions=options["dimensions"],
        limit=options["held_back"] or 0.5,
        scoring="compressed-trust",
        engine="auto",
        dtype="auto",
        template=None,
        template_args={},
        batch_size=None,
        policy=options["policy"],
    )
    plan = Plan(
        job=made,
        whole=whole,
        widths=widths,
        budget=budget,
        objective=options["objective"],
        address=options["address"],
        at_once=options["at_once"],
    )
    search = run.Search(plan, say=say)
    try:
        found = search.run()
    except run.Refused as refused:
        click.echo(f"Refused: {refused}", err=True)
        end(Exit.of(refused.finding.outcome))
    print_result(output.text(found), output.fields(found), as_json=as_json)
    if not no_fail:
        end(Exit.of("inconclusive" if found.verdict == "none" else found.verdict))


def _recipe(options: dict[str, Any]) -> tuple[list[int], Any]:
    """Return the bits that a layer may get, and the recipe with the fewest of them everywhere."""
    from comptrust.compression import recipe as recipes
    from comptrust.compression.base import METHODS
    from comptrust.models import servers
    from comptrust.records import DENSE_BITS

    if not getattr(METHODS.get(options["method"]), "mixed", False):
        known = ", ".join(
            name for name in METHODS.names() if getattr(METHODS.get(name), "mixed", False)
        )
        raise UserError(
            f"Method {options['method']} cannot give layers bits of their own, which a search does."
            f" Known: {known}."
        )
    if options["for"]:
        servers.named(options["for"])
    named = options["formats"]
    words = [word.strip() for word in (named or FORMATS).split(",")]
    if odd := [word for word in words if word != "dense" and not word.isdecimal()]:
        raise UserError(f"formats: '{odd[0]}' is neither a number of bits nor dense.")
    built = {}
    why = ""
    for bits in sorted({int(word) for word in words if word != "dense"}):
        try:
            built[bits] = recipes.build(
                model=options["model"],
                method=options["method"],
                bits=bits,
                group_size=options["group_size"],
                calibration=options["calibration"],
                seed=options["seed"],
                server=options["for"],
            )
        except UserError as error:
            if named or not options["for"]:
                raise
            why = str(error)
    widths = [*built, *([DENSE_BITS] if "dense" in words else [])]
    if not built or len(widths) < 2:
        left = ", ".join("dense" if bits == DENSE_BITS else f"{bits} bits" for bits in widths)
        raise UserError(
            f"A search needs two formats to choose from, and one with fewer bits than dense; left:"
            f" {left or 'none'}. {why}".rstrip()
        )
    return widths, built[min(built)]


def _budget(text: str) -> Any:
    from comptrust.search.plan import Budget

    amount, hours = text.removesuffix("h"), text.endswith("h")
    try:
        value = float(amount)
    except ValueError:
        value = 0.0
    if not hours and value.is_integer() and 1 <= value <= 1000:
        return Budget(candidates=int(value))
    if hours and 0 < value < 10_000:
        return Budget(candidates=1000, seconds=3600 * value)
    raise UserError(
        f"budget {text} does not allow one candidate. Give a number of candidates such as 8, or of"
        " hours such as 2h."
    )
