"""Where the files of a run or a version lie for this process, and their hashes, computed anew
whenever a file could have changed.
"""

from __future__ import annotations

import os
import threading
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import _TEMP_ARTIFACT_PREFIX
from mlflow.utils.file_utils import local_file_uri_to_path

from comptrust import digests
from comptrust.errors import UserError

DESTINATION = "_MLFLOW_SERVER_ARTIFACT_DESTINATION"
"""Where MLflow tells its server processes which folder or bucket they serve."""
REGISTRY = "_MLFLOW_SERVER_REGISTRY_STORE"
PROXIED = "mlflow-artifacts"
SETTLED_SECONDS = 2.0
"""A file changed so shortly before it is hashed could change again without a new time stamp, so its
hash is not kept.
"""

Identity = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of the last change of content and of inode, in ns; every write
moves the last one.
"""


@dataclass(frozen=True)
class Snapshot:
    """The files of a folder as they were hashed."""

    folder: Path
    digests: dict[str, str]
    """Relative path -> SHA-256."""
    identities: dict[str, Identity]

    def unchanged(self) -> bool:
        """Whether the folder still holds exactly these files, untouched since they were hashed."""
        return _identities(self.folder) == self.identities


class Hasher:
    """Hashes files, and remembers a hash as long as the file is provably the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Identity], str] = {}
        self._lock = threading.Lock()

    def snapshot(self, folder: Path) -> Snapshot:
        """Hash a folder. Raises UserError if it is missing, empty, has a link in it, or changes
        meanwhile.
        """
        before = _identities(folder)
        found = {name: self._digest(folder / name, identity) for name, identity in before.items()}
        taken = Snapshot(folder, found, before)
        if not taken.unchanged():
            raise UserError("Its files change while they are read. Wait until the upload is done.")
        return taken

    def _digest(self, path: Path, identity: Identity) -> str:
        key = (str(path), identity)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            settled = identity[4] / 1e9 < time.time() - SETTLED_SECONDS
            known = digests.of_file(path)
            if settled:
                with self._lock:
                    self._known[key] = known
        return known


def in_server() -> bool:
    """Whether this process answers for an MLflow server."""
    return REGISTRY in os.environ


def destination() -> Path | None:
    """Return the folder whose artifacts this server serves, or None if it is elsewhere or this is
    no server.
    """
    given = os.environ.get(DESTINATION, "")
    plain = given.removeprefix("comptrust+")
    return (
        Path(local_file_uri_to_path(plain)).resolve()
        if given and urllib.parse.urlparse(plain).scheme in ("", "file")
        else None
    )


def frozen() -> bool:
    """Whether this server keeps the files of promoted versions as they are."""
    return os.environ.get(DESTINATION, "").startswith("comptrust+")


def local(uri: str) -> Path | None:
    """Return the local folder of an artifact URI as this process reads it, or None if it is not
    local.
    """
    parsed = urllib.parse.urlparse(uri)
    if parsed.scheme == PROXIED and not parsed.netloc and (root := destination()):
        path = (root / urllib.parse.unquote(parsed.path).lstrip("/")).resolve()
        return path if path.is_relative_to(root) else None
    if parsed.scheme in ("", "file") and not parsed.netloc:
        return Path(local_file_uri_to_path(uri)).resolve()
    return None


def below(uri: str, root: str) -> bool:
    """Whether an artifact URI is below a root, whatever it is spelled like."""
    inner, outer = local(uri), local(root)
    if inner and outer:
        return inner != outer and inner.is_relative_to(outer)
    return (
        inner is outer is None
        and ".." not in urllib.parse.unquote(uri)
        and uri.startswith(f"{root.rstrip('/')}/")
    )


def fetch(uri: str, names: tuple[str, ...], into: Path) -> Path:
    """Copy the named artifacts, as far as they exist, and return the folder. Raises UserError if
    the place cannot be read.
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
        raise UserError(
            f"Its artifacts at {uri} cannot be read here: {' '.join(str(error).split())[:200]}."
        ) from error
    return into


def _identities(folder: Path) -> dict[str, Identity]:
    found: dict[str, Identity] = {}
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(place, name)
            if path.is_symlink():
                raise UserError(
                    f"{path.relative_to(folder)} is a link, which can point elsewhere tomorrow."
                    " Register plain files."
                )
        for name in names:
            if name.startswith(
                _TEMP_ARTIFACT_PREFIX
            ):  # an upload under way: no artifact until it is published, which the lock governs
                continue
            state = os.stat(Path(place, name))
            identity = (
                state.st_dev,
                state.st_ino,
                state.st_size,
                state.st_mtime_ns,
                state.st_ctime_ns,
            )
            found[Path(place, name).relative_to(folder).as_posix()] = identity
    if not found:
        raise UserError("Its files are gone. Register it again.")
    return dict(sorted(found.items()))
