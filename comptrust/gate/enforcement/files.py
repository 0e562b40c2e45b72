"""Where the files of a run or a version are for this process, and their hashes.

A file is hashed again whenever it could have changed.
"""

import os
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import mlflow_internals, settings

PROXIED = "mlflow-artifacts"
SETTLED_SECONDS = 2.0
"""A file changed this recently could change again within one time stamp; its hash is not kept."""

Identity = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of the last change of content and of inode, in ns.

Every write moves the last one.
"""


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


class Hasher:
    """Hashes files, and remembers a hash as long as the file is provably the same."""

    def __init__(self) -> None:
        self._digests: dict[tuple[Path, Identity], str] = {}

    def snapshot(self, folder: Path) -> Snapshot:
        """Hash a folder.

        Raises UserError if it is missing or empty, contains a link, or changes meanwhile.
        """
        before = _identities(folder)
        hashed = {name: self._digest(folder / name, identity) for name, identity in before.items()}
        snapshot = Snapshot(folder, hashed, before)
        if not snapshot.unchanged():
            raise UserError("Its files changed while they were read. Wait for the upload to end.")
        return snapshot

    def _digest(self, path: Path, identity: Identity) -> str:
        if known := self._digests.get((path, identity)):
            return known
        # Measured before the file is read: later it would look older than it was.
        settled = identity[4] / 1e9 < time.time() - SETTLED_SECONDS
        digest = digests.of_file(path)
        if settled:
            self._digests[path, identity] = digest
        return digest


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

    Raises UserError if the place cannot be read.
    """
    place = local(uri)
    try:
        repository = get_artifact_repository(str(place) if place else uri)
        present = {item.path for item in repository.list_artifacts()}
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            if name in present:
                repository.download_artifacts(name, str(into))
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"Its artifacts at {uri} cannot be read here: {reason}.") from error
    return into


def _identities(folder: Path) -> dict[str, Identity]:
    identities: dict[str, Identity] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise UserError(f"{name} is a link, whose target can change. Register regular files.")
        # An upload in progress becomes part of the version when it is published, which the lock of
        # the log governs.
        if not path.is_dir() and not path.name.startswith(mlflow_internals.UPLOAD_PREFIX):
            state = path.stat()
            times = (state.st_mtime_ns, state.st_ctime_ns)
            identities[name] = (state.st_dev, state.st_ino, state.st_size, *times)
    if not identities:
        raise UserError("Its files are gone. Register it again.")
    return dict(sorted(identities.items()))
