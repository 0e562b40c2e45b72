"""Settings of generation that transformers refuses to save do not cost a compression."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from comptrust.compression import oneshot
from comptrust.compression.recipe import build
from comptrust.errors import UserError


def with_settings(model: Path, folder: Path, **settings: object) -> Path:
    shutil.copytree(model, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


def test_sampling_settings_without_do_sample_are_saved_as_sampling(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = with_settings(
        tiny_model, tmp_path / "vicuna", temperature=0.9, top_p=0.6, pad_token_id=-1
    )
    oneshot.compress(build(model=str(model), method="none"), out=tmp_path / "out")
    saved = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (saved["do_sample"], saved["temperature"], saved["top_p"]) == (True, 0.9, 0.6)
    assert "pad_token_id" not in saved


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_return_sequences": 4, "do_sample": False}, "num_return_sequences"),
        ({"early_stopping": 5}, "early_stopping"),
    ],
)
def test_others_are_refused_before_any_work(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    message: str,
) -> None:
    model = with_settings(tiny_model, tmp_path / "model", **settings)
    monkeypatch.delattr(oneshot, "load")
    with pytest.raises(UserError, match=rf"generation_config.json of .*model: .*{message}"):
        oneshot.compress(build(model=str(model), method="none"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
