"""Tiny checkpoints in the layouts that are published: `LAYOUTS` lists them, and `save` writes one.

Each is made of a random model, `dense`. Where numbers are packed, they are packed here, bit by bit
with numpy, and `logits.pt` has what the model computes with the weights that they stand for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.support import families, gguf_files

IDS = torch.arange(40)[None] * 7 % 250
"""The tokens of the logits."""
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
FP4 = (0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6)
FILE = "model.safetensors"
CACHE = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
Tensors = dict[str, torch.Tensor]
Write = Callable[[Path], torch.Tensor | None]


def save(name: str, place: Path) -> str:
    """Write the folders `dense` and `model` of a layout, and return its name."""
    family, write = LAYOUTS[name]
    dense = families.build(family, place / "dense")
    model = shutil.copytree(dense, place / "model")
    logits = write(model)
    if logits is not None:
        torch.save(logits, place / "logits.pt")
    files = list(model.glob("*.gguf"))
    named = f"model/{files[0].name}" if files else "model"
    (place / "layout.json").write_text(json.dumps({"model": named}))
    return name


def _settings(model: Path, **fields: Any) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _logits(model: Path, weights: Tensors) -> torch.Tensor:
    """Return what the dense model computes with some of its weights replaced."""
    dense, plain = model.parent / "dense", model.parent / "plain"
    shutil.copytree(dense, plain)
    tensors = {name: value.float() for name, value in load_file(dense / FILE).items()}
    assert tensors.keys() >= weights.keys()
    tensors |= {name: value.contiguous() for name, value in weights.items()}
    save_file(tensors, plain / FILE, metadata={"format": "pt"})
    kind: Any = transformers.AutoModelForCausalLM
    with torch.no_grad():
        return kind.from_pretrained(plain, dtype=torch.float32).eval()(IDS).logits


def _layers(tensors: Tensors) -> list[str]:
    return sorted(
        name.removesuffix(".weight")
        for name, value in tensors.items()
        if value.ndim == 2 and not any(part in name for part in ("embed", "head", "norm", ".gate."))
    )


def words(values: np.ndarray, bits: int) -> np.ndarray:
    """Pack each row of whole numbers into 32-bit words, lowest bits first."""
    stream = (values[..., None].astype(np.uint32) >> np.arange(bits, dtype=np.uint32)) & 1
    flat = stream.reshape(len(values), -1).astype(np.uint8)
    return np.packbits(flat, axis=1, bitorder="little").view(np.int32)


def _rounded(
    weight: np.ndarray, *, bits: int, size: int, symmetric: bool, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return codes and zero points, scales, and the weights that they stand for.

    `weight` has the shape (inputs, outputs); `order` is the group of each input.
    """
    groups, top = len(weight) // size, (1 << bits) - 1
    scales = np.empty((groups, weight.shape[1]), np.float16)
    points = np.full(scales.shape, 1 << (bits - 1))
    for group in range(groups):
        part = weight[order == group]
        low, high = np.minimum(part.min(axis=0), 0), np.maximum(part.max(axis=0), 0)
        if symmetric:
            scales[group] = np.maximum(np.abs(part).max(axis=0) / (top / 2), 1e-4)
        else:
            scales[group] = np.maximum((high - low) / top, 1e-4)
            points[group] = np.clip(np.round(-low / scales[group].astype(np.float32)), 1, top)
    steps = scales.astype(np.float32)[order]
    codes = np.clip(np.round(weight / steps) + points[order], 0, top).astype(np.int64)
    return codes, points, scales, (codes - points[order]) * steps


def gptq(
    *,
    bits: int = 4,
    size: int = 32,
    symmetric: bool = True,
    reorder: bool = False,
    index: bool = True,
    shift: int = 1,
    beside: bool = False,
    only: str = "",
    **fields: Any,
) -> Write:
    """Return a writer of AutoGPTQ's layout; `shift` is what stored zero points lack."""

    def write(model: Path) -> torch.Tensor | None:
        tensors, weights = load_file(model / FILE), {}
        for layer in [layer for layer in _layers(tensors) if only in layer]:
            weight = tensors.pop(f"{layer}.weight").float().numpy().T
            width = len(weight) if size < 0 else size
            order = np.arange(len(weight)) // width
            if reorder:
                order = np.random.default_rng(0).permutation(order)
            codes, points, scales, plain = _rounded(
                weight, bits=bits, size=width, symmetric=symmetric, order=order
            )
            parts = {
                "qweight": words(codes.T, bits).T,
                "qzeros": words((points - shift) % (1 << bits), bits),
                "scales": scales,
            }
            parts |= {"g_idx": order.astype(np.int32)} if index else {}
            for part, value in parts.items():
                tensors[f"{layer}.{part}"] = torch.from_numpy(np.ascontiguousarray(value))
            weights[f"{layer}.weight"] = torch.from_numpy(plain.T.copy())
        save_file(tensors, model / FILE, metadata={"format": "pt"})
        stated = {"bits": bits, "group_size": size, "sym": symmetric, "desc_act": reorder}
        if beside:
            (model / "quantize_config.json").write_text(json.dumps(stated))
        else:
            _settings(model, quantization_config={"quant_method": "gptq", **stated, **fields})
        return _logits(model, weights)

    return write


def awq(*, size: int = 32, symmetric: bool = False, gemv: bool = False, **fields: Any) -> Write:
    """Return a writer of AutoAWQ's layout, interleaved along the outputs, or along the inputs."""

    def write(model: Path) -> torch.Tensor | None:
        tensors, weights = load_file(model / FILE), {}
        skipped = fields.get("modules_to_not_convert") or ["lm_head"]
        for layer in _layers(tensors):
            if any(part in layer for part in skipped):
                continue
            weight = tensors.pop(f"{layer}.weight").float().numpy().T
            order = np.arange(len(weight)) // size
            codes, points, scales, plain = _rounded(
                weight, bits=4, size=size, symmetric=symmetric, order=order
            )
            turned = (lambda one: one.T) if gemv else _interleaved
            parts = {
                "qweight": words(turned(codes), 4),
                "qzeros": words(_interleaved(points), 4),
                "scales": scales.T if gemv else scales,
            }
            for part, value in parts.items():
                tensors[f"{layer}.{part}"] = torch.from_numpy(np.ascontiguousarray(value))
            weights[f"{layer}.weight"] = torch.from_numpy(plain.T.copy())
        save_file(tensors, model / FILE, metadata={"format": "pt"})
        stated = {"bits": 4, "group_size": size, "version": "gemm", "zero_point": not symmetric}
        _settings(model, quantization_config={"quant_method": "awq", **stated, **fields})
        return _logits(model, weights)

    return write


def _interleaved(values: np.ndarray) -> np.ndarray:
    places = [np.array(AWQ_ORDER) + start for start in range(0, values.shape[1], 8)]
    return values[:, np.concatenate(places)]


def preset(name: str, *, other: str | None = None, cache: bool = False, **settings: Any) -> Write:
    """Return a writer that lets llm-compressor save a preset; `other` is that of the MLP."""

    def write(model: Path) -> torch.Tensor | None:
        from comptrust.compression import engine

        engine.import_quietly()
        from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

        kind: Any = transformers.AutoModelForCausalLM
        loaded = kind.from_pretrained(model, dtype=torch.float32).eval()
        chosen: dict[str, Any] = {"targets": ["Linear"], "scheme": name}
        if other:
            chosen = {"targets": [r"re:.*attn.*"], "scheme": name}
            chosen = {
                "config_groups": {
                    "a": _group(name, r"re:.*attn.*proj"),
                    "b": _group(other, r"re:.*mlp.*proj"),
                }
            }
        extra = {"kv_cache_scheme": CACHE} if cache else {}
        modifier = GPTQModifier if settings else QuantizationModifier
        made = modifier(ignore=["lm_head"], **chosen, **extra, **settings)
        engine.oneshot(loaded, [made], samples=[IDS])
        with torch.no_grad():
            logits = loaded(IDS).logits.clone()
        loaded.save_pretrained(model)
        _settings(model, dtype="bfloat16")
        return logits

    return write


def _group(name: str, target: str) -> Any:
    from compressed_tensors.quantization import preset_name_to_scheme

    return preset_name_to_scheme(name, [target])


def fp8_block(model: Path) -> torch.Tensor | None:
    """Write DeepSeek's layout: floats of 8 bits with a scale for each 128 x 128 of them."""
    tensors, weights = load_file(model / FILE), {}
    for layer in _layers(tensors):
        weight = tensors[f"{layer}.weight"].float()
        rows, columns = (max(1, size // 128) for size in weight.shape)
        blocks = torch.ones(rows, columns)
        for row in range(rows):
            for column in range(columns):
                part = weight[row * 128 : (row + 1) * 128, column * 128 : (column + 1) * 128]
                blocks[row, column] = part.abs().max() / 448
        spread = blocks.repeat_interleave(128, 0)[: len(weight)].repeat_interleave(128, 1)
        codes = (weight / spread[:, : weight.shape[1]]).to(torch.float8_e4m3fn)
        tensors[f"{layer}.weight"], tensors[f"{layer}.weight_scale_inv"] = codes, blocks
        weights[f"{layer}.weight"] = codes.float() * spread[:, : weight.shape[1]]
    save_file(tensors, model / FILE, metadata={"format": "pt"})
    stated = {"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e4m3"}
    _settings(model, quantization_config=stated | {"activation_scheme": "dynamic"})
    return _logits(model, weights)


def mxfp4(model: Path) -> torch.Tensor | None:
    """Write the layout of gpt-oss: experts as floats of 4 bits, two in a byte, 32 with a scale."""
    tensors, weights = load_file(model / FILE), {}
    for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
        weight = tensors.pop(name).float().mT.contiguous()  # (experts, outputs, inputs)
        groups = weight.reshape(*weight.shape[:2], -1, 32)
        exponent = (groups.abs().amax(-1).clamp(min=1e-6) / 6).log2().ceil()
        steps = groups / exponent.exp2()[..., None]
        codes = (steps[..., None] - torch.tensor(FP4)).abs().argmin(-1)
        tensors[f"{name}_blocks"] = (codes[..., ::2] | codes[..., 1::2] << 4).to(torch.uint8)
        tensors[f"{name}_scales"] = (exponent + 127).to(torch.uint8)
        plain = torch.tensor(FP4)[codes] * exponent.exp2()[..., None]
        weights[name] = plain.reshape(weight.shape).mT
    save_file(tensors, model / FILE, metadata={"format": "pt"})
    skipped = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens"]
    stated = {"quant_method": "mxfp4", "modules_to_not_convert": [*skipped, "lm_head"]}
    _settings(model, quantization_config=stated)
    return _logits(model, weights)


def pruned(**sparsity: Any) -> Write:
    """Return a writer of a 2:4 model, dense in its files; `sparsity` is what they state."""

    def write(model: Path) -> torch.Tensor | None:
        tensors = load_file(model / FILE)
        layers = [f"{layer}.weight" for layer in _layers(tensors)]
        for name in layers:
            groups = tensors[name].reshape(-1, 4)
            kept = groups.abs().float().topk(2, dim=1).indices
            tensors[name] = torch.zeros_like(groups).scatter(1, kept, groups.gather(1, kept))
            tensors[name] = tensors[name].reshape(load_file(model / FILE)[name].shape)
        save_file(tensors, model / FILE, metadata={"format": "pt"})
        if sparsity:
            stated = {"quant_method": "compressed-tensors", "sparsity_config": sparsity}
            _settings(model, quantization_config=stated)
        return _logits(model, {name: tensors[name].float() for name in layers})

    return write


def label(beside: str = "", **stated: Any) -> Write:
    """Return a writer of a layout's name alone, over dense weights: it must be refused by name."""

    def write(model: Path) -> None:
        if beside:
            (model / beside).write_text(json.dumps(stated))
        else:
            _settings(model, quantization_config=stated)

    return write


def cast(dtype: torch.dtype, *, shards: bool = False, copies: bool = False) -> Write:
    """Return a writer of a dense model in a dtype, in shards, or with a second copy beside it."""

    def write(model: Path) -> torch.Tensor | None:
        kind: Any = transformers.AutoModelForCausalLM
        loaded = kind.from_pretrained(model, dtype=dtype)
        (model / FILE).unlink()
        loaded.save_pretrained(model, max_shard_size="400KB" if shards else "5GB")
        if copies:
            shutil.copy(model / FILE, model / "consolidated.safetensors")
        with torch.no_grad():
            return loaded.float().eval()(IDS).logits

    return write


def gguf(kind: str) -> Write:
    def write(model: Path) -> None:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(model)
        loaded.resize_token_embeddings(len(tokenizer))  # as many as the file lists
        for folder in (model, model.parent / "dense"):
            loaded.save_pretrained(folder)
        gguf_files.write(model, model / f"model-{kind}.gguf", kind=kind)
        (model / FILE).unlink()

    return write


def adapter(*, alone: bool) -> Write:
    def write(model: Path) -> None:
        stated = {"peft_type": "LORA", "base_model_name_or_path": "base", "r": 4}
        (model / "adapter_config.json").write_text(json.dumps(stated))
        low = {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(4, 128)}
        save_file(low, model / "adapter_model.safetensors")
        if alone:
            (model / FILE).unlink()
            (model / "config.json").unlink()

    return write


def pickled(model: Path) -> None:
    torch.save(load_file(model / FILE), model / "pytorch_model.bin")
    (model / FILE).unlink()


def torn(model: Path) -> None:
    cast(torch.bfloat16, shards=True)(model)
    next(iter(sorted(model.glob("model-*.safetensors")))).unlink()


def small(model: Path) -> None:
    """Let the tokenizer have more tokens than the model has embeddings."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens([f"new{number}" for number in range(200)])
    tokenizer.save_pretrained(model)


def mlx(model: Path) -> None:
    _settings(model, quantization={"group_size": 64, "bits": 4})
    tensors = load_file(model / FILE)
    for layer in _layers(tensors):
        outputs, inputs = tensors.pop(f"{layer}.weight").shape
        tensors[f"{layer}.weight"] = torch.zeros(outputs, inputs // 8, dtype=torch.uint32)
        for part in ("scales", "biases"):
            tensors[f"{layer}.{part}"] = torch.ones(outputs, inputs // 64, dtype=torch.float16)
    save_file(tensors, model / FILE, metadata={"format": "mlx"})


AUTO = {"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq"}
SPARSE = {"sparsity_structure": "2:4", "global_sparsity": 0.5, "targets": ["Linear"], "ignore": []}
LAYOUTS: dict[str, tuple[str, Write]] = {
    "dense, float16": ("llama", cast(torch.float16)),
    "dense, float32": ("llama", cast(torch.float32)),
    "dense, in shards": ("llama", cast(torch.bfloat16, shards=True)),
    "dense, with consolidated.safetensors": ("llama", cast(torch.bfloat16, copies=True)),
    "GPTQ, 4 bits, groups of 32": ("llama", gptq()),
    "GPTQ, 2 bits, groups of 128": ("llama", gptq(bits=2, size=128)),
    "GPTQ, 3 bits": ("llama", gptq(bits=3)),
    "GPTQ, 8 bits, per channel": ("llama", gptq(bits=8, size=-1)),
    "GPTQ, asymmetric": ("llama", gptq(symmetric=False)),
    "GPTQ, desc_act": ("llama", gptq(reorder=True)),
    "GPTQ, without g_idx": ("llama", gptq(index=False)),
    "GPTQ, MLP only": ("llama", gptq(only="mlp")),
    "GPTQ, gptq_v2": ("llama", gptq(shift=0, checkpoint_format="gptq_v2")),
    "GPTQ, second version under the first's name": (
        "llama",
        gptq(shift=0, checkpoint_format="gptq"),
    ),
    "GPTQ, asymmetric, under the wrong version's name": (
        "llama",
        gptq(shift=0, symmetric=False, checkpoint_format="gptq"),
    ),
    "GPTQ, quantize_config.json only": ("llama", gptq(beside=True)),
    "GPTQ of Qwen3-MoE": ("qwen3_moe", gptq()),
    "GPTQ of GPT-NeoX": ("gpt_neox", gptq()),
    "GPTQ of Falcon": ("falcon", gptq()),
    "GPTQ, Marlin": ("llama", gptq(is_marlin_format=True)),
    "GPTQ, Marlin, by checkpoint_format": ("llama", gptq(checkpoint_format="marlin")),
    "GPTQ, mixed bits (dynamic)": ("llama", gptq(dynamic={r"+:.*mlp.*": {"bits": 8}})),
    "AutoRound, as GPTQ": ("llama", gptq(**AUTO)),
    "AutoRound, old name": ("llama", gptq(quant_method="intel/auto-round")),
    "AutoRound, mixed bits": ("llama", gptq(**AUTO, extra_config={"a.up_proj": {"bits": 8}})),
    "AWQ, groups of 32": ("llama", awq()),
    "AWQ, groups of 128": ("llama", awq(size=128)),
    "AWQ, without zero points": ("llama", awq(symmetric=True)),
    "AWQ, skipped layers": ("llama", awq(modules_to_not_convert=["down_proj", "lm_head"])),
    "AWQ of Qwen3-MoE": ("qwen3_moe", awq()),
    "AWQ, GEMV": ("llama", awq(gemv=True, version="gemv")),
    "AWQ, GEMV fast": ("llama", awq(gemv=True, version="gemv_fast")),
    "AWQ, GEMV under the name gemm": ("llama", awq(gemv=True)),
    "compressed-tensors W4A16": ("llama", preset("W4A16")),
    "compressed-tensors W4A16, asymmetric": ("llama", preset("W4A16_ASYM")),
    "compressed-tensors W4A16, act order": ("llama", preset("W4A16", actorder="weight")),
    "compressed-tensors W4A16, static act order": ("llama", preset("W4A16", actorder="static")),
    "compressed-tensors W8A16": ("llama", preset("W8A16")),
    "compressed-tensors W8A8": ("llama", preset("W8A8")),
    "compressed-tensors W4A8": ("llama", preset("W4A8")),
    "compressed-tensors FP8": ("llama", preset("FP8")),
    "compressed-tensors FP8, cache too": ("llama", preset("FP8", cache=True)),
    "compressed-tensors FP8_DYNAMIC": ("llama", preset("FP8_DYNAMIC")),
    "compressed-tensors FP8_BLOCK": ("llama", preset("FP8_BLOCK")),
    "compressed-tensors NVFP4": ("llama", preset("NVFP4")),
    "compressed-tensors NVFP4A16": ("llama", preset("NVFP4A16")),
    "compressed-tensors MXFP4": ("llama", preset("MXFP4")),
    "compressed-tensors MXFP4A16": ("llama", preset("MXFP4A16")),
    "compressed-tensors MXFP8": ("llama", preset("MXFP8")),
    "compressed-tensors MXFP8A16": ("llama", preset("MXFP8A16")),
    "compressed-tensors, two schemes": ("llama", preset("W4A16", other="W8A16")),
    "compressed-tensors W4A16 of Qwen3-MoE": ("qwen3_moe", preset("W4A16")),
    "2:4, dense in the files": ("llama", pruned()),
    "2:4, sparsity_config dense": ("llama", pruned(format="dense", **SPARSE)),
    "2:4, sparse-24-bitmask": ("llama", pruned(format="sparse-24-bitmask", **SPARSE)),
    "marlin-24": (
        "llama",
        label(quant_method="compressed-tensors", format="marlin-24", config_groups={}),
    ),
    "FP8 of DeepSeek": ("llama", fp8_block),
    "MXFP4 of gpt-oss": ("gpt_oss", mxfp4),
    "ModelOpt FP8": (
        "llama",
        label("hf_quant_config.json", quantization={"quant_algo": "FP8"}, producer={}),
    ),
    "ModelOpt NVFP4": ("llama", label(quant_method="modelopt", quant_algo="NVFP4")),
    "fbgemm FP8": ("llama", label(quant_method="fbgemm_fp8")),
    "bitsandbytes, 4 bits": ("llama", label(quant_method="bitsandbytes", load_in_4bit=True)),
    "bitsandbytes, 8 bits": ("llama", label(quant_method="bitsandbytes", load_in_8bit=True)),
    "HQQ": ("llama", label(quant_method="hqq", quant_config={"weight_quant_params": {"nbits": 4}})),
    "torchao": ("llama", label(quant_method="torchao", quant_type={"default": {}})),
    "AQLM": ("llama", label(quant_method="aqlm", nbits_per_codebook=16)),
    "VPTQ": ("llama", label(quant_method="vptq")),
    "Quark": ("llama", label(quant_method="quark")),
    "EETQ": ("llama", label(quant_method="eetq")),
    "SpQR": ("llama", label(quant_method="spqr", bits=3)),
    "HIGGS": ("llama", label(quant_method="higgs", bits=4)),
    "Quanto": ("llama", label(quant_method="quanto", weights="int4")),
    "BitNet": ("llama", label(quant_method="bitnet")),
    "EXL2": ("llama", label(quant_method="exl2", bits=4)),
    "unknown quant_method": ("llama", label(quant_method="mine", bits=4)),
    "MLX": ("llama", mlx),
    "GGUF, F16": ("llama", gguf("F16")),
    "GGUF, Q8_0": ("llama", gguf("Q8_0")),
    "GGUF, Q4_0": ("llama", gguf("Q4_0")),
    "an adapter beside its base": ("llama", adapter(alone=False)),
    "an adapter alone": ("llama", adapter(alone=True)),
    "pickled weights": ("llama", pickled),
    "a missing shard": ("llama", torn),
    "fewer embeddings than tokens": ("llama", small),
}
"""Name -> family, and what writes the layout over the dense folder."""
