"""`comptrust keys`: make a key that signs verdicts and waivers, and show the trusted keys."""

import json
from pathlib import Path

import click

from comptrust.cli.options import json_option

folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Keys folder  [default: COMPTRUST_KEYS, else in ~/.config].",
)


@click.group("keys")
def command() -> None:
    """Make and show signing keys.

    \b
    Example:
      comptrust keys init
    """


@command.command("init")
@folder_option
@json_option
def init(folder: Path | None, as_json: bool) -> None:
    """Make an Ed25519 key pair; an existing key is never overwritten.

    \b
    Example:
      comptrust keys init --dir ci-keys
    """
    from comptrust.gate.signing import keys

    key_id, private, public = keys.create(folder or keys.default_folder())
    if as_json:
        fields = {"key_id": key_id, "private": str(private), "public": str(public)}
        click.echo(json.dumps(fields, indent=2))
        return
    click.echo(f"key {key_id}")
    click.echo(f"private: {private}  (keep it secret; anyone who has it can sign)")
    click.echo(f"public:  {public}  (give it to those who verify)")


@command.command("show")
@folder_option
@json_option
def show(folder: Path | None, as_json: bool) -> None:
    """Show the trusted keys and the one that signs.

    \b
    Example:
      comptrust keys show
    """
    from comptrust.gate.signing import keys

    trusted = sorted(keys.load_public_keys(folder))
    key = keys.signing_key(folder)
    signing = keys.key_id(key.public_key()) if key else None
    if as_json:
        click.echo(json.dumps({"trusted": trusted, "signing": signing}, indent=2))
        return
    click.echo(f"trusted: {', '.join(trusted) or 'none'}  ({folder or keys.default_folder()})")
    untrusted = signing is not None and signing not in trusted
    note = "  (not trusted here: its .pub.pem is not in the folder)" if untrusted else ""
    click.echo(f"signing: {signing or 'none'}{note}")
