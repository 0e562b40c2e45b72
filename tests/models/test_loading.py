"""Saved tokenizers say nothing of the machine that saved them."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer

from comptrust import digests
from comptrust.models import loading


def test_a_tokenizer_saved_offline_has_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    for name, offline in (("online", False), ("offline", True)):
        tokenizer = AutoTokenizer.from_pretrained(tiny_model, local_files_only=offline)
        (tmp_path / name).mkdir()
        loading.save_tokenizer(tokenizer, tmp_path / name)
    saved = [digests.of_folder(tmp_path / name) for name in ("online", "offline")]
    assert saved[0] == saved[1]
    again = AutoTokenizer.from_pretrained(tmp_path / "offline")
    assert again.encode("hello yes") == tokenizer.encode("hello yes")
