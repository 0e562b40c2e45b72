"""Where the files of a run or a version are for this process, and their hashes.

A file is hashed again whenever it could have changed.
"""

import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path

from comptrust.digests import Identity, Memory, identity
from comptrust.errors import UserError
from comptrust.gate.enforcement import mlflow_internals, settings
from comptrust.gate.signing import attestations

PROXIED = "mlflow-artifacts"
MAX_BYTES = 16 << 20
"""Largest single file of evidence to read."""
HISTORY, MAX_RECORDED = "history", 1000
"""Folder of a run with the verdicts that were recorded, and how many of them are read."""
MAX_ANSWER_BYTES = 256 << 20
"""Largest file of answers to read; one dimension of the published suite takes less than 100 MB."""


@dataclass(frozen=True)
class Snapshot:
    """The files of a folder as they were hashed."""

    folder: Path
    digests: dict[str, str]
    """Relative path -> SHA-256."""
    identities: dict[str, Identity]

    def unchanged(self) -> bool:
        """Whether the folder still has exactly these files, untouched since they were hashed."""
        try:
            return _identities(self.folder) == self.identities
        except UserError:  # a link appeared, or the files are gone
            return False


def snapshot(folder: Path, memory: Memory) -> Snapshot:
    """Hash a folder.

    Raises UserError if it is missing or empty, contains a link, or changes meanwhile.
    """
    before = _identities(folder)
    taken = Snapshot(folder, {name: memory.of_file(folder / name) for name in before}, before)
    if not taken.unchanged():
        raise UserError("Its files changed while they were read. Wait for the upload to end.")
    return taken


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


def fetch(uri: str, names: tuple[str, ...], into: Path) -> Path:
    """Copy those of the named artifacts that exist, and return the folder.

    Raises UserError if the place cannot be read or a file is larger than any that comptrust writes
    (reading it could stop the server).
    """
    limits = {attestations.NAME: attestations.MAX_BYTES}
    place = local(uri)
    try:
        repository = get_artifact_repository(str(place) if place else uri)
        present = {item.path: item.file_size or 0 for item in repository.list_artifacts()}
        for inner in {name.partition("/")[0] for name in names if "/" in name} & present.keys():
            present |= {item.path: item.file_size or 0 for item in repository.list_artifacts(inner)}
        for name in names:
            most = limits.get(name, MAX_ANSWER_BYTES if "/" in name else MAX_BYTES)
            if present.get(name, 0) > most:
                raise UserError(
                    f"Its {name} has {present[name] >> 20} MB, and files of more than"
                    f" {most >> 20} MB are not read. Evaluate and gate it again."
                )
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            if name in present:
                repository.download_artifacts(name, str(into))
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"Its artifacts at {uri} cannot be read here: {reason}.") from error
    return into


def recorded(uri: str) -> tuple[str, ...]:
    """Return the names of the signed verdicts that the history of a run has.

    Raises UserError if there are more than anybody records.
    """
    place = local(uri)
    repository = get_artifact_repository(str(place) if place else uri)
    listed = [item.path for item in repository.list_artifacts(HISTORY)]
    names = tuple(name for name in listed if name.endswith(f".{attestations.NAME}"))
    if len(names) > MAX_RECORDED:
        raise UserError(f"The history at {uri} has {len(names)} signed verdicts, too many to read.")
    return names


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
