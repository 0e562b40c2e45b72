"""Small model folders whose files are what they say: dense, or packed integers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from comptrust import digests
from comptrust.models import measure
from comptrust.records import Checkpoint

SIDE, GROUP = 64, 32
LAYER = "model.layers.0.mlp.up_proj"
DENSE_BYTES = 8400
"""Size of the dense source, with its header."""


def weights(note: str, *, bits: int | None = 4, spare: int = 0) -> bytes:
    """Return a safetensors file of one layer, and `spare` rows that are not compressed."""
    tensors: dict[str, np.ndarray] = {"model.embed_tokens.weight": np.ones((spare, SIDE), "f2")}
    if bits is None:
        tensors[f"{LAYER}.weight"] = np.ones((SIDE, SIDE), "f2")
    else:
        tensors |= {
            f"{LAYER}.weight_packed": np.ones((SIDE, SIDE * bits // 32), "i4"),
            f"{LAYER}.weight_scale": np.ones((SIDE, SIDE // GROUP), "f2"),
            f"{LAYER}.weight_shape": np.array([SIDE, SIDE], "i8"),
        }
    return save(tensors, metadata={"note": note})


def config(*, bits: int | None = 4) -> str:
    """Return the config.json of such a folder."""
    scheme = {"num_bits": bits, "group_size": GROUP}
    quantized = {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": scheme}}}
    return json.dumps(
        {"model_type": "llama"} | ({"quantization_config": quantized} if bits else {})
    )


def measured(record: Checkpoint, folder: Path, *, dense_bytes: int = DENSE_BYTES) -> Checkpoint:
    """Return a checkpoint's record with the numbers and hashes of a folder's files."""
    files, manifest = measure.measure(folder), digests.of_folder(folder)
    numbers = {
        "manifest": manifest,
        "digest": digests.of_value(manifest),
        "bytes": files.bytes,
        "dense_bytes": dense_bytes,
        "effective_bits": files.effective_bits,
        "sparsity": files.sparsity or 0.0,
        "parts": files.parts,
    }
    return record.model_copy(update=numbers)
