"""Headers name every tensor with its type, shape and bytes; a broken file is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comptrust.errors import UserError
from comptrust.models import headers
from comptrust.models.headers import Tensor


def test_the_tensors_of_all_files(tmp_path: Path) -> None:
    first = {"a.weight": torch.zeros(2, 3, dtype=torch.bfloat16), "scalar": torch.tensor(1.0)}
    save_file(first, tmp_path / "model-1.safetensors", metadata={"format": "pt"})
    save_file({"b": torch.zeros(4, dtype=torch.int32)}, tmp_path / "model-2.safetensors")
    one, two = tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors"
    ends = one.stat().st_size, two.stat().st_size
    assert sorted(headers.tensors(tmp_path), key=lambda tensor: tensor.name) == [
        Tensor("a.weight", "BF16", (2, 3), 12, one, ends[0] - 12),
        Tensor("b", "I32", (4,), 16, two, ends[1] - 16),
        Tensor("scalar", "F32", (), 4, one, ends[0] - 16),
    ]
    assert [tensor.count for tensor in headers.tensors(tmp_path) if not tensor.shape] == [1]


@pytest.mark.parametrize("content", [b"", b"12345678", b"\x02" + bytes(7) + b"[]", b"\xff" * 20])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"Cannot read the weights in .*test_a_broken"):
        list(headers.tensors(tmp_path))
