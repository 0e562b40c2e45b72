"""A copy of the evidence of each promotion, outside the artifact folder, where no route reaches it.

Files are named by their SHA-256. An index names the files of one promotion, and the log names the
index.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import ServiceError, UserError
from comptrust.records import Record

MAX_ANSWER_BYTES = 64 << 20
"""The answers of a promotion are kept too, up to this size in all; their hashes always are."""
MAX_INDEX_BYTES = 4 << 20


class Kept(Record):
    """The evidence of one promotion."""

    runs: dict[str, str]
    """`candidate`, `baseline` and each sibling (`models:/...`) -> run."""
    models: tuple[str, ...] = ()
    """The logged models of these runs."""
    files: dict[str, str]
    """Role and file (`baseline/suite.json`), and the server's `policy.json` -> SHA-256."""
    left_out: dict[str, str] = {}
    """Files that were too large to keep -> SHA-256."""


class EvidenceStore:
    """A folder of kept evidence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index: Callable[[str], Kept] = lru_cache(maxsize=100_000)(self._index)
        """Return an index by its digest. Raises UserError if it is missing or damaged."""

    def keep(
        self,
        files: Mapping[str, Path],
        *,
        runs: Mapping[str, str],
        models: tuple[str, ...],
        policy: str,
    ) -> str:
        """Copy files (role and name -> path) and a policy's text, and return the index's digest.

        Raises ServiceError if something cannot be written.
        """
        sizes = {name: path.stat().st_size for name, path in files.items()}
        kept, left_out, room = {"policy.json": self._write(policy.encode())}, {}, MAX_ANSWER_BYTES
        for name in sorted(files, key=lambda name: (sizes[name], name)):
            is_answers = "/generations/" in name
            room -= sizes[name] if is_answers else 0
            if room >= 0 or not is_answers:
                kept[name] = self._write(files[name].read_bytes())
            else:
                left_out[name] = digests.of_file(files[name])
        index = Kept(runs=dict(runs), models=models, files=kept, left_out=left_out)
        return self._write(digests.canonical(index.model_dump(mode="json")).encode())

    def place(self, digest: str) -> Path:
        """Return where the file with this SHA-256 is kept."""
        return self.folder / digest[:2] / digest

    def damage(self, kept: Kept) -> Iterator[str]:
        """Yield each kept file that is missing or was changed, and how."""
        for name, digest in sorted(kept.files.items()):
            try:
                if digests.of_file(self.place(digest)) != digest:
                    yield f"{name} ({self.place(digest)}) was changed"
            except OSError as error:
                yield f"{name} ({self.place(digest)}) cannot be read: {error.strerror}"

    def _index(self, digest: str) -> Kept:
        text = config.read_text(self.place(digest), max_bytes=MAX_INDEX_BYTES)
        if digests.of_text(text) != digest:
            raise UserError(f"{self.place(digest)} was changed.")
        return config.parse(config.json_value(text, where=digest), Kept, where=digest)

    def _write(self, content: bytes) -> str:
        """Write a file unless it is there, whole, and return its digest."""
        digest = digests.of_bytes(content)
        path = self.place(digest)
        try:
            if path.is_file() and digests.of_file(path) == digest:
                return digest
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.parent.mkdir(exist_ok=True, mode=0o700)
            digests.write_whole(path, content, mode=0o600)
        except OSError as error:
            raise ServiceError(
                f"Cannot keep the evidence in {self.folder}: {error.strerror}. Nothing was"
                " promoted; fix this, then try again."
            ) from error
        return digest
