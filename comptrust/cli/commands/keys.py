"""`comptrust keys`: make the key that signs verdicts and waivers, and show which keys are
trusted."""

from __future__ import annotations

import json
from pathlib import Path

import click

from comptrust.cli.options import json_option

directory = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Keys folder  [default: COMPTRUST_KEYS, else in ~/.config].",
)


@click.group("keys")
def command() -> None:
    """Make and show signing keys.

    Example: comptrust keys init
    """


@command.command("init")
@directory
@json_option
def init(folder: Path | None, as_json: bool) -> None:
    """Make an Ed25519 key pair; an existing key is never overwritten.

    Example: comptrust keys init --dir ci-keys
    """
    from comptrust.gate.signing import keys

    named, private, public = keys.create(folder or keys.default_folder())
    if as_json:
        click.echo(
            json.dumps({"key_id": named, "private": str(private), "public": str(public)}, indent=2)
        )
        return
    click.echo(f"key {named}")
    click.echo(f"private: {private}  (keep it; who has it can sign)")
    click.echo(f"public:  {public}  (give it to whoever verifies)")


@command.command("show")
@directory
@json_option
def show(folder: Path | None, as_json: bool) -> None:
    """Show the trusted keys and the one that signs.

    Example: comptrust keys show
    """
    from comptrust.gate.signing import keys

    trusted = sorted(keys.load_public_keys(folder))
    key = keys.signing_key(folder)
    signing = keys.key_id(key.public_key()) if key else None
    if as_json:
        click.echo(json.dumps({"trusted": trusted, "signing": signing}, indent=2))
        return
    click.echo(f"trusted: {', '.join(trusted) or 'none'}  ({folder or keys.default_folder()})")
    beside = (
        ""
        if signing is None or signing in trusted
        else "  (not trusted here: its .pub.pem is not in the folder)"
    )
    click.echo(f"signing: {signing or 'none'}{beside}")
