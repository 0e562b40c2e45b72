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
    second = {
        "b": torch.zeros(4, dtype=torch.int32),
        "flag": torch.zeros(5, dtype=torch.bool),
        "small": torch.zeros(2, 2, dtype=torch.float8_e4m3fn),
    }
    save_file(second, tmp_path / "model-2.safetensors")
    tensors = sorted(headers.tensors(tmp_path), key=lambda tensor: tensor.name)
    assert tensors == [
        Tensor("a.weight", "BF16", (2, 3)),
        Tensor("b", "I32", (4,)),
        Tensor("flag", "BOOL", (5,)),
        Tensor("scalar", "F32", ()),
        Tensor("small", "F8_E4M3", (2, 2)),
    ]
    assert [tensor.stored for tensor in tensors] == [12, 16, 5, 4, 4]
    assert [tensor.count for tensor in headers.tensors(tmp_path) if not tensor.shape] == [1]


@pytest.mark.parametrize("content", [b"", b"12345678", b"\x02" + bytes(7) + b"[]", b"\xff" * 20])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"Cannot read the weights in .*test_a_broken"):
        list(headers.tensors(tmp_path))
