"""The end of the trust in a key: where the key goes, and when that was."""

import datetime
import os
from pathlib import Path

import yaml

from comptrust import digests
from comptrust.errors import ServiceError, UserError
from comptrust.gate.signing import keys, roles

REVOKED = "revoked"


def trusted_at(folder: Path, time: datetime.datetime) -> keys.Trusted:
    """Return the keys that were trusted at a time: today's, and those that were revoked since.

    Of a key in the folder `revoked` that its roles.yaml does not name, nobody knows when.
    """
    trusted = dict(keys.load_public_keys(folder))
    for place in (folder, folder / REVOKED):
        for name, key in (keys.granted(place) if place.is_dir() else {}).items():
            if key.grant.revoked and time < key.grant.revoked:
                trusted.setdefault(name, key)
    return trusted


def files_of(folder: Path, name: str) -> list[Path]:
    """Return the public key files of a key. Raises UserError if the folder does not trust it."""
    ids = {path: keys.key_id(keys.public_key(path)) for path in sorted(folder.glob(keys.PUBLIC))}
    if name not in ids.values():
        trusted = ", ".join(ids.values()) or "none"
        raise UserError(f"{folder} trusts no key {name}. Trusted there: {trusted}.")
    return [path for path in ids if ids[path] == name]


def revoke(folder: Path, name: str) -> tuple[Path, datetime.datetime]:
    """Move a public key to the folder `revoked` inside, and note there when the trust in it ended.

    Returns its new path and that time. Raises UserError if the folder does not trust it.
    """
    moved = folder / REVOKED / f"{name}.pub.pem"
    files = files_of(folder, name)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    grant = keys.granted(folder)[name].grant.model_copy(update={"revoked": now})
    try:
        moved.parent.mkdir(exist_ok=True)
        # Noted first: a key that is trusted a moment longer does less harm than one of which nobody
        # knows when it ended.
        grants = (roles.read(moved.parent) or {}) | {name: grant}
        fields = {key: one.model_dump(mode="json") for key, one in grants.items()}
        digests.write_atomic(moved.parent / roles.NAME, yaml.safe_dump(fields))
        for path in files:
            os.utime(path, (now.timestamp(),) * 2)
            path.replace(moved)
    except OSError as error:
        raise ServiceError(
            f"Cannot move the public key out of {folder}: {error.strerror}. It is still trusted."
        ) from error
    return moved, now
