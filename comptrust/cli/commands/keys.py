"""`comptrust keys`: make a signing key, show the trusted keys, and withdraw the trust in one."""

import dataclasses
import os
from pathlib import Path
from typing import Literal

import click

from comptrust.cli.options import (
    default_option,
    file_option,
    json_option,
    print_result,
    text_option,
)

folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Keys folder  [default: COMPTRUST_KEYS, else in ~/.config].",
)


@click.group("keys")
def command() -> None:
    """Make, show and revoke signing keys.

    \b
    Example:
      comptrust keys init
    """


@command.command("init")
@folder_option
@default_option(
    "--type",
    "kind",
    type=click.Choice(["ed25519", "p256"]),
    default="ed25519",
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


@command.command("revoke")
@click.argument("key", metavar="KEY")
@text_option(
    "--registry",
    help="Address or database of the registry whose promotions may rest on KEY  [default: the"
    " tracking server].",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Audit log of that registry  [default: COMPTRUST_AUDIT_LOG, else beside the database].",
)
@file_option(
    "--dir",
    "folder",
    help="Folder of trusted keys  [default: COMPTRUST_TRUSTED_KEYS, else the keys folder].",
)
@click.option("--dry-run", is_flag=True, help="Only name what rests on KEY.")
@json_option
def revoke(
    key: str,
    registry: str | None,
    log: Path | None,
    folder: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Name every promotion that rests on KEY, then stop trusting it.

    KEY is the id that `keys show` prints. A promotion rests on it if it signed the verdict, an
    evaluation of the candidate, its baseline or a sibling, or a waiver. The public key is moved to
    the folder `revoked` inside the folder of trusted keys, whose roles.yaml notes the time (see
    `rollback: revoked` in docs/gate.md), and which a server that uses that folder records. What is
    promoted stays where it is: gate it again with another key, or archive it.

    \b
    Example:
      comptrust keys revoke 5d7f1cbda7daece5 --registry http://127.0.0.1:5000 --dry-run
    """
    from comptrust.gate.enforcement import audit, resting, settings
    from comptrust.gate.signing import keys, revocation
    from comptrust.tracking.store import prepare, tracking_uri

    prepare()
    place = folder or Path(os.environ.get(settings.KEYS) or keys.default_folder())
    revocation.files_of(place, key)  # before the registry is asked
    uri = (registry or tracking_uri()).removeprefix(settings.SCHEME)
    path = log or settings.audit_log(uri)
    chain = audit.read(path) if path and (log or path.exists()) else audit.Chain((), None)
    rests = resting.on(key, chain.lines, uri)
    moved, time = (None, None) if dry_run else revocation.revoke(place, key)
    lines = [ascii(f"{one.ref} ({one.where}): {', '.join(one.why)}")[1:-1] for one in rests]
    if chain.problem:
        lines.append(f"PROBLEM: the chain of {path} is broken at {chain.problem}")
    end = f"Key {key} is still trusted."
    if time:
        end = f"Key {key} was moved to {moved} at {time:%Y-%m-%d %H:%M:%S} UTC."
    text = "\n".join([*lines, f"Promotions that rest on key {key}: {len(rests)}. {end}"])
    fields = {
        "key": key,
        "promotions": [dataclasses.asdict(one) for one in rests],
        "revoked": str(moved) if moved else None,
        "time": time and time.isoformat(),
    }
    print_result(text, fields, as_json=as_json)
