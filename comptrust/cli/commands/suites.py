"""`comptrust suites`: which prompts a policy counts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust.cli import complete
from comptrust.cli.options import json_option, print_result
from comptrust.text_tables import table

if TYPE_CHECKING:
    from comptrust.gate.pins import PinnedSuite


@click.group("suites")
def command() -> None:
    """Say which suites a policy counts.

    \b
    Example:
      comptrust suites pin decodingtrust/data --policy mine.yaml
    """


@command.command("pin")
@click.argument("data", shell_complete=complete.names("suites", files=True))
@click.option("--policy", required=True, help="Your policy, a YAML file.")
@click.option("--replace", is_flag=True, help="Count this copy instead of the one named there.")
@json_option
def pin(data: str, policy: str, replace: bool, as_json: bool) -> None:
    """Write the digests of a suite into a policy, so that its answers count.

    DATA is your own copy of DecodingTrust's data folder, the folder of an imported evaluation, or
    the name of another suite, such as mini. The file's comments and order stay. Run again, it
    changes nothing.

    \b
    Example:
      comptrust suites pin decodingtrust/data --policy mine.yaml
    """
    from comptrust.gate import pins
    from comptrust.gate.pins import PinnedSuite
    from comptrust.trust import content
    from comptrust.trust import suite as suites

    if Path(data, "scorecard.json").is_file():
        from comptrust.tracking import evaluations

        pinned, items = pins.of_evaluation(evaluations.load(data))
        same = pinned.digest.__eq__
        _show(policy, pinned, items, same=same, replace=replace, as_json=as_json)
        return
    spec = data
    if data.partition(":")[0] not in set(suites.SUITES.names()) - {"decodingtrust"}:
        spec = f"decodingtrust:{Path(data.removeprefix('decodingtrust:')).expanduser().resolve()}"
    suite = suites.load(spec)
    items = dict.fromkeys(suite.required, 0) | content.items(suite)
    pinned = PinnedSuite(
        name=suite.name,
        digest=suite.digest,
        content=content.of_suite(suite),
        source=None if spec == suite.name else spec,
    )
    _show(policy, pinned, items, same=suite.is_named, replace=replace, as_json=as_json)


def _show(
    policy: str,
    pinned: "PinnedSuite",
    items: dict[str, int],
    *,
    same: Callable[[str], bool],
    replace: bool,
    as_json: bool,
) -> None:
    from comptrust.gate import pin_file

    changed = pin_file.write(policy, pinned, items, replace=replace, same=same)
    verb = "now counts" if changed else "already counts"
    rows = [("dimension", "items"), *((name, str(count)) for name, count in items.items())]
    lines = [
        f"{policy} {verb} suite {pinned.name} ({pinned.digest[:12]}).",
        *table(rows),
        "items: prompts about one item, or that ask the same, count once.",
    ]
    fields = {"policy": policy, "changed": changed, "items": items}
    print_result("\n".join(lines), fields | pinned.model_dump(mode="json"), as_json=as_json)
