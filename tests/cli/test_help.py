"""--help: every command with its whole first sentence, and every option with its default."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from comptrust.cli.app import COMMANDS, SECTIONS, comptrust


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            if found := command.get_command(context, child):
                yield from commands(found, f"{name} {child}")
    else:
        yield name, command


def test_help_groups_the_commands_and_cuts_none() -> None:
    text = CliRunner().invoke(comptrust, ["--help"]).output
    assert "..." not in text.partition("Compress and measure:")[2] and "…" not in text
    places = [text.index(f"{heading}:") for heading in SECTIONS]
    assert places == sorted(places)
    assert all(f"\n  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize(("name", "command"), commands(comptrust, "comptrust"))
def test_every_option_says_its_default(name: str, command: click.Command) -> None:
    context = click.Context(command, info_name=name)
    assert "Example" in (command.help or ""), name
    for option in command.params:
        if isinstance(option, click.Option) and (record := option.get_help_record(context)):
            on_its_own = option.is_flag and not option.secondary_opts
            known = ("[default", "[required", "repeatable")
            assert on_its_own or any(word in record[1] for word in known), (name, record)


def test_help_imports_no_heavy_library() -> None:
    heavy = ("torch", "transformers", "mlflow", "numpy", "pandas", "great_expectations", "ray")
    code = (
        "import sys; from click.testing import CliRunner; from comptrust.cli.app import comptrust;"
        "assert CliRunner().invoke(comptrust, ['--help']).exit_code == 0;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
