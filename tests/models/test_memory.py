"""What a model needs is told from its headers, held against what loading really takes, and refused
with both figures.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from comptrust.compression import oneshot, reload
from comptrust.compression.recipe import build
from comptrust.errors import ServiceError
from comptrust.models import loading, memory


def taken(folder: Path) -> int:
    """Return the bytes of a loaded model's weights once it has computed; tied ones count once, as
    they are saved once.
    """
    model, tokenizer = loading.load(folder)
    reload.logits(model, tokenizer)
    return sum(value.numel() * value.element_size() for value in model.parameters())


def test_a_dense_model_needs_four_bytes_a_weight_on_a_cpu(tiny_model: Path) -> None:
    assert memory.weights(tiny_model, float_bytes=4) == taken(tiny_model)
    assert memory.weights(tiny_model, float_bytes=None) * 2 == memory.weights(
        tiny_model, float_bytes=4
    )


def test_packed_weights_count_unpacked(tiny_model: Path, tmp_path: Path) -> None:
    made = build(model=str(tiny_model), method="gptq", bits=4, group_size=32, calibration_samples=2)
    folder = Path(oneshot.compress(made, out=tmp_path / "out").path)
    estimate, dense = (
        memory.weights(folder, float_bytes=4),
        memory.weights(tiny_model, float_bytes=4),
    )
    assert dense <= taken(folder) <= estimate < 1.2 * dense


def test_what_cannot_fit_is_refused_before_it_is_loaded(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 100_000)
    with pytest.raises(
        ServiceError,
        match=r"llama needs at least 0\.\d GB of memory for its weights and 0\.0 GB are free here",
    ):
        loading.load(tiny_model)


def test_the_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    free = memory.available()
    assert free > 10_000
    for limit, expected in (("12345", 2345), ("max", None)):
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("10000")
        assert memory.available() == expected if expected else memory.available() > 10_000


def test_peaks_are_of_this_process() -> None:
    found = memory.peak()
    assert 50e6 < found["memory/peak_ram"] < 1e12
