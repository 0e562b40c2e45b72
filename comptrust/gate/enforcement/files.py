"""Where the files of a run or a version are for this process, and their hashes.

A file is hashed again whenever it could have changed.
"""

import contextlib
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path

from comptrust.digests import Identity, Memory, identity
from comptrust.errors import UserError
from comptrust.gate.enforcement import mlflow_internals, settings
from comptrust.gate.signing import attestations

PROXIED = "mlflow-artifacts"
PLAIN = re.compile(
    r"(?:mlflow-artifacts:|file://|(?!file:)[a-z0-9]+://[^/]+)?(?:/[^/]+)+", re.ASCII
)
"""A scheme that may be left out, then parts that are not empty."""
MISREAD = "%?#;\\"
MAX_BYTES = 16 << 20
"""Largest single file of evidence to read."""
HISTORY = "history"
"""Folder of a run with the verdicts that were recorded."""
MAX_ANSWER_BYTES = 256 << 20
"""Largest file of answers to read; one dimension of the published suite takes less than 100 MB."""


class TooLarge(UserError):
    """A file that is larger than any that comptrust writes, so it is not read."""


@dataclass(frozen=True)
class Snapshot:
    """The files of a folder as they were hashed."""

    folder: Path
    digests: dict[str, str]
    """Relative path -> SHA-256."""
    identities: dict[str, Identity]
    vouched: bool = False
    """Whether the operator vouches for their place, which this server does not protect."""

    def unchanged(self) -> bool:
        """Whether the folder still has exactly these files, untouched since they were hashed.

        What the operator vouches for counts as unchanged.
        """
        try:
            return self.vouched or _identities(self.folder) == self.identities
        except UserError:  # a link appeared, or the files are gone
            return False


def snapshot(folder: Path, memory: Memory, *, vouched: bool = False) -> Snapshot:
    """Hash a folder.

    Raises UserError if it is missing or empty, contains a link, or changes meanwhile.
    """
    before = _identities(folder)
    hashes = {name: memory.of_file(folder / name) for name in before}
    if _identities(folder) != before:
        raise UserError("Its files changed while they were read. Wait for the upload to end.")
    return Snapshot(folder, hashes, before, vouched)


def in_server() -> bool:
    """Whether this process answers for an MLflow server."""
    return mlflow_internals.REGISTRY_STORE in os.environ


def destination() -> Path | None:
    """Return the local folder whose artifacts this server serves, or None."""
    served = os.environ.get(mlflow_internals.ARTIFACT_DESTINATION, "")
    uri = served.removeprefix(settings.SCHEME)
    if not served or urllib.parse.urlparse(uri).scheme not in ("", "file"):
        return None
    return Path(local_file_uri_to_path(uri)).resolve()


def frozen() -> bool:
    """Whether this server protects the files of promoted versions."""
    return os.environ.get(mlflow_internals.ARTIFACT_DESTINATION, "").startswith(settings.SCHEME)


def local(uri: str) -> Path | None:
    """Return the local folder of an artifact URI as this process reads it, or None."""
    parsed = urllib.parse.urlparse(uri)
    if parsed.scheme == PROXIED and not parsed.netloc and (root := destination()):
        path = (root / urllib.parse.unquote(parsed.path).lstrip("/")).resolve()
        return path if path.is_relative_to(root) else None
    if parsed.scheme in ("", "file") and not parsed.netloc:
        return Path(local_file_uri_to_path(uri)).resolve()
    return None


def below(uri: str, root: str) -> bool:
    """Whether an artifact URI is below a root, however it is spelled."""
    inner, outer = local(uri), local(root)
    if inner and outer:
        return inner != outer and inner.is_relative_to(outer)
    return (
        inner is outer is None
        and ".." not in urllib.parse.unquote(uri)
        and uri.startswith(f"{root.rstrip('/')}/")
    )


def ambiguous(uri: str) -> str | None:
    """Return what in an address could be read in two ways; None if nothing can."""
    if not uri.isascii() or not uri.isprintable():
        return "it has characters that are not printable ASCII"
    if character := next((character for character in MISREAD if character in uri), None):
        return f"it contains '{character}'"
    if not PLAIN.fullmatch(uri) or {".", ".."} & set(uri.split("/")):
        return "it is not a scheme and a path without empty, '.' or '..' parts"
    return None


def vouched(uri: str, loaded: settings.Settings) -> bool:
    """Whether the operator vouches for a place."""
    return any(
        below(uri, root) or (local(uri) or uri) == (local(root) or root)
        for root in loaded.artifact_roots
    )


def fetch(uri: str, names: tuple[str, ...], into: Path, *, tracking: str | None = None) -> Path:
    """Copy those of the named artifacts that exist, and return the folder.

    Raises UserError if the place cannot be read or a file is larger than any that comptrust writes
    (reading it could stop the server).
    """
    limits = {attestations.NAME: attestations.MAX_BYTES}
    with _readable(uri):
        kept_at = repository(uri, tracking)
        present = {item.path: item.file_size or 0 for item in kept_at.list_artifacts()}
        for inner in sorted({name.rpartition("/")[0] for name in names if "/" in name}):
            if inner.partition("/")[0] in present:
                items = kept_at.list_artifacts(inner)
                present |= {item.path: item.file_size or 0 for item in items}
        for name in names:
            most = limits.get(name, MAX_ANSWER_BYTES if "/" in name else MAX_BYTES)
            if present.get(name, 0) > most:
                raise TooLarge(
                    f"Its {name} has {present[name] >> 20} MB, and files of more than"
                    f" {most >> 20} MB are not read. Evaluate and gate it again."
                )
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            if name in present:
                kept_at.download_artifacts(name, str(into))
    return into


def repository(uri: str, tracking: str | None = None) -> ArtifactRepository:
    """Return the store of the artifacts at a URI, as this process reads it."""
    place = local(uri)
    return get_artifact_repository(str(place) if place else uri, tracking_uri=tracking)


@contextlib.contextmanager
def _readable(uri: str) -> Iterator[None]:
    """Turn every failure to read a place into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # anybody may name a place, and each kind of place has its errors
        raise UserError(f"Its artifacts at {uri} cannot be read here: {reason(error)}.") from error


def reason(error: Exception) -> str:
    """Return why something failed, on one line without a full stop."""
    return " ".join(str(error).split())[:200].rstrip(".")


def recorded(uri: str) -> tuple[str, ...]:
    """Return the names of the signed verdicts that the history of a run has."""
    with _readable(uri):
        listed = [item.path for item in repository(uri).list_artifacts(HISTORY)]
    return tuple(name for name in listed if name.endswith(f".{attestations.NAME}"))


def _identities(folder: Path) -> dict[str, Identity]:
    identities: dict[str, Identity] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise UserError(f"{name} is a link, whose target can change. Register regular files.")
        # An upload in progress becomes part of the version when it is published, which the lock of
        # the log governs.
        if not path.is_dir() and not path.name.startswith(mlflow_internals.UPLOAD_PREFIX):
            identities[name] = identity(path)
    if not identities:
        raise UserError("Its files are gone. Register it again.")
    return dict(sorted(identities.items()))
