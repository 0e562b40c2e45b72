"""`comptrust keys`: make a key that signs verdicts and waivers, and show the trusted keys."""

from pathlib import Path
from typing import Literal

import click

from comptrust.cli.options import json_option, print_result

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
@click.option(
    "--type",
    "kind",
    type=click.Choice(["ed25519", "p256"]),
    default="ed25519",
    show_default=True,
    help="p256 also signs the weights in a form that model_signing reads.",
)
@json_option
def init(folder: Path | None, kind: Literal["ed25519", "p256"], as_json: bool) -> None:
    """Make a key pair; an existing key is never overwritten.

    \b
    Example:
      comptrust keys init --dir ci-keys
    """
    from comptrust.gate.signing import keys

    key_id, private, public = keys.create(folder or keys.default_folder(), kind=kind)
    text = (
        f"key {key_id}\n"
        f"private: {private}  (keep it secret; anyone who has it can sign)\n"
        f"public:  {public}  (give it to those who verify)"
    )
    fields = {"key_id": key_id, "private": str(private), "public": str(public)}
    print_result(text, fields, as_json=as_json)


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

    public = keys.load_public_keys(folder)
    trusted = sorted(public)
    key = keys.signing_key(folder)
    signing = keys.key_id(key.public_key()) if key else None
    untrusted = signing is not None and signing not in trusted
    note = "  (not trusted here: its .pub.pem is not in the folder)" if untrusted else ""
    grants = {name: public[name].grant.model_dump(mode="json") for name in trusted}
    lines = [
        f"trusted: {', '.join(trusted) or 'none'}  ({folder or keys.default_folder()})",
        *(f"  {name}: may {public[name].grant}" for name in trusted),
        f"signing: {signing or 'none'}{note}",
    ]
    fields = {"trusted": trusted, "grants": grants, "signing": signing}
    print_result("\n".join(lines), fields, as_json=as_json)
