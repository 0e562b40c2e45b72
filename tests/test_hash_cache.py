"""Remembered digests: reused only for a file that is provably untouched, and lost without harm."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

from comptrust import digests, hash_cache
from comptrust.hash_cache import NAME, HashCache

PACKAGE = Path(hash_cache.__file__).parent


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as old, and an empty cache."""
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED_SECONDS", -60.0)
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read and hashed."""
    paths: list[Path] = []
    original = digests.of_file

    def of_file(path: Path) -> str:
        paths.append(path)
        return original(path)

    monkeypatch.setattr(digests, "of_file", of_file)
    return paths


def remember(path: Path) -> str:
    cache = HashCache()
    digest = cache.of_file(path)
    cache.save()
    return digest


def test_an_untouched_file_is_read_once(file: Path, read: list[Path]) -> None:
    assert remember(file) == remember(file) == digests.of_text("one")
    assert len(read) == 1
    HashCache(reuse=False).of_file(file)
    assert len(read) == 2


def test_a_tampered_file_with_its_old_times_is_read_again(file: Path, read: list[Path]) -> None:
    remember(file)
    before = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )
    assert remember(file) == digests.of_text("two")
    assert len(read) == 2


def test_a_file_that_changed_just_now_is_not_remembered(
    file: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_SECONDS", 60.0)
    assert remember(file) == remember(file)
    assert len(read) == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = digests.of_file

    def of_file(path: Path) -> str:
        digest = original(path)
        path.write_bytes(b"longer")
        return digest

    monkeypatch.setattr(digests, "of_file", of_file)
    remember(file)
    monkeypatch.undo()
    assert not (file.parent / "cache" / NAME).exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"a": 1}',
        b'{"a": [1, 2]}',
        b'{"a": [1, 2, 3, 4, 5, "not a digest"]}',
        b'{"a": [1, 2, 3, 4, "5", "' + b"0" * 64 + b'"]}',
        b"[" * 100_000,
    ],
)
def test_a_broken_cache_means_that_files_are_hashed(
    file: Path, read: list[Path], content: bytes
) -> None:
    path = file.parent / "cache" / NAME
    path.parent.mkdir()
    path.write_bytes(content)
    for _ in range(2):
        assert remember(file) == digests.of_text("one")
    assert len(read) == 1  # the broken file was replaced


def test_a_cache_that_cannot_be_written_is_no_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", str(file / "below-a-file"))
    assert remember(file) == digests.of_text("one")


def test_entries_of_other_processes_stay_and_those_of_removed_files_go(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"other")
    early = HashCache()
    early.of_file(file)
    remember(other)
    early.save()
    path = file.parent / "cache" / NAME
    assert set(json.loads(path.read_text())) == {str(file), str(other)}
    other.unlink()
    HashCache(reuse=False).save()
    file.write_bytes(b"changed")
    remember(file)
    assert set(json.loads(path.read_text())) == {str(file)}


def test_nothing_that_proves_something_can_reach_it() -> None:
    users = set()
    for path in PACKAGE.rglob("*.py"):
        names = {
            alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        if any("hash_cache" in name for name in names):
            users.add(path.relative_to(PACKAGE).as_posix())
    assert users == {"models/sources.py"}
