"""Write a model folder as a GGUF file: llama.cpp's converter, which auto-round carries, and types.

The converter writes floats and Q8_0. The other types are those that llama.cpp's quantizer chooses
for each tensor; gguf-py rounds to them, and auto-round to those with K in their name.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from comptrust.compression import engine
from comptrust.errors import ServiceError, UserError, unknown
from comptrust.models import chat, formats, gguf, loading, memory

ROUNDED_BY_TORCH = ("Q4_K", "Q5_K", "Q6_K")
ENDS = ("eos", "eot", "eom")
"""Names of the tokens that end an answer."""
TEXTS = (
    "It's 12.5 km away, isn't it?\n\n  Yes: 1024 of them.\tWE'LL see <|im_end|>",
    "naïve façade, Größe, 東京は 7月, нет;\r\n    return x[3]  # 🚀",
)
"""Texts that known ways to split text split differently."""


def check(form: str, folder: Path) -> None:
    """Raise UserError if a folder's model cannot be written in a format such as `gguf:q8_0`."""
    name = form.removeprefix(formats.GGUF)
    if name not in gguf.TYPES:
        raise unknown("format", form, [f"{formats.GGUF}{known}" for known in gguf.TYPES])
    _class(folder)


def write(folder: Path, file: Path, name: str) -> None:
    """Write a folder that transformers loads to `file`, in a type such as `q4_k_m`.

    Raises UserError if the converter cannot write the model, ServiceError if a package is missing.
    """
    from gguf import LlamaFileType

    kind = LlamaFileType[f"MOSTLY_{name.upper()}"]
    try:
        with _prepared():
            # Nothing is computed before it is written, so the names and shapes come for free.
            plan = _class(folder)(folder, LlamaFileType.MOSTLY_Q8_0, file)
            plan.prepare_tensors()
            model = _class(folder, _types(plan, kind))(folder, kind, file, model_name=folder.name)
            model.write()
    except ModuleNotFoundError as error:
        raise ServiceError(
            f"Converting the tokenizer of {folder} needs the package {error.name}. Install it."
        ) from error
    except (NotImplementedError, KeyError, ValueError, TypeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"llama.cpp's converter cannot write {folder}: {reason}.") from error


def check_tokens(folder: Path, plain: Path) -> None:
    """Raise UserError unless a folder's texts are read, and end, as those of its GGUF file.

    `plain` is the folder that was converted from the file.
    """
    sides = []
    for path in (folder, plain):
        tokenizer = loading.tokenizer(path)
        texts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
        sides.append(
            {
                "tokens": texts,
                "first token": chat.bos(tokenizer),
                "chat template": tokenizer.chat_template,
                "last tokens": sorted(_ends(path, tokenizer)),
            }
        )
    for what, value in sides[0].items():
        if value != sides[1][what]:
            raise UserError(
                f"The {what} of {folder} cannot be written to a GGUF file: read from it, they would"
                " be others. Use llama.cpp's own converter."
            )


def _ends(folder: Path, tokenizer: Any) -> list[int]:
    """Return the tokens that end an answer, first the one that ends a text."""
    path = folder / "generation_config.json"
    fields = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    ends = fields.get("eos_token_id", memory.settings(folder).get("eos_token_id"))
    ends = ends if isinstance(ends, list) else [tokenizer.eos_token_id if ends is None else ends]
    return sorted(set(ends), key=lambda token: token != tokenizer.eos_token_id)


def _class(folder: Path, types: dict[str, Any] | None = None) -> Any:
    """Return the converter's class for a folder, which writes tensors in these types.

    Raises UserError if there is none, or if transformers does not read what it writes.
    """
    from auto_round.export.export_to_gguf.llama_cpp_conversion import get_conversion
    from gguf import MODEL_ARCH_NAMES
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
    from transformers.integrations.gguf import GGUF_ARCHS

    names = memory.settings(folder).get("architectures") or ["a class that is not stated"]
    try:
        known = get_conversion(folder).get_model_class(names[0])
    except NotImplementedError as error:
        raise UserError(f"llama.cpp's converter does not know {names[0]}.") from error
    family = MODEL_ARCH_NAMES[known.model_arch]
    if family not in GGUF_CONFIG_MAPPING and family not in GGUF_ARCHS:
        raise UserError(
            f"transformers does not read GGUF files of {names[0]}, so they could not be checked."
        )
    tokenizer = loading.tokenizer(folder)
    split = _split(tokenizer, folder)

    class Converter(known):  # type: ignore[misc,valid-type]
        model_arch = known.model_arch

        def get_vocab_base_pre(self, tokenizer: Any) -> str:
            return split or str(super().get_vocab_base_pre(tokenizer))

        def set_vocab(self) -> None:
            if split:
                self._set_vocab_gpt2()
            else:
                super().set_vocab()
            ends = _ends(folder, tokenizer)
            if len(ends) > len(ENDS):
                raise ValueError(f"it has {len(ends)} tokens that end an answer")
            for name, token in zip(ENDS, ends, strict=False):
                getattr(self.gguf_writer, f"add_{name}_token_id")(token)
            self.gguf_writer.add_add_bos_token(bool(chat.bos(tokenizer)))

        def tensor_force_quant(self, name: str, new_name: str, bid: Any, n_dims: int) -> Any:
            usual = super().tensor_force_quant(name, new_name, bid, n_dims)
            return usual if types is None else types.get(new_name, usual)

    return Converter


def _split(tokenizer: Any, folder: Path) -> str | None:
    """Return llama.cpp's name of how text is split, if it is GPT-2's; else it knows itself.

    Raises UserError for a tokenizer that llama.cpp could not load.
    """
    fields = json.loads(tokenizer.backend_tokenizer.to_str())
    how = fields["pre_tokenizer"] or {}
    if how.get("type") != "ByteLevel" or not how.get("use_regex"):
        return None
    if not fields["model"].get("merges"):
        raise UserError(f"llama.cpp needs a tokenizer with merges, and that of {folder} has none.")
    return "gpt-2"


def _types(plan: Any, kind: Any) -> dict[str, Any]:
    """Return the type of each tensor that may be rounded, as llama.cpp chooses them."""
    from auto_round.export.export_to_gguf.gguf_dtype import GGUFDTypeSelector
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    tensors = {name: info for part in plan.gguf_writer.tensors for name, info in part.items()}
    in_order = sorted(tensors, key=lambda name: list(map(int, re.findall(r"\.(\d+)\.", name))))
    values = [name for name in tensors if "attn_v.weight" in name or "attn_qkv.weight" in name]
    selector = GGUFDTypeSelector(
        plan.hparams,
        kind,
        plan.model_arch,
        n_attention_wv=len(values) or None,
        has_tied_embeddings="output.weight" not in tensors,
    )
    types: dict[str, Any] = {}
    for name in in_order:
        info = tensors[name]
        if info.dtype != GGMLQuantizationType.F32:
            wanted = selector.select_qtype(name, len(info.shape))
            if info.shape[-1] % GGML_QUANT_SIZES[wanted][0]:
                fallback = gguf.FALLBACKS.get(wanted.name.lower(), "f16")
                wanted = GGMLQuantizationType[fallback.upper()]
            types[name] = wanted
    return types


@contextmanager
def _prepared() -> Iterator[None]:
    """Let gguf-py also round to types with K, and the converter say nothing."""
    import torch
    from auto_round.export.export_to_gguf.packing import ggml_quant
    from compressed_tensors.utils import patch_attr
    from gguf import quants

    def rounded(kind: str) -> Any:
        return lambda blocks: ggml_quant(torch.from_numpy(blocks), kind, device="cpu")

    with ExitStack() as stack:
        for name in ROUNDED_BY_TORCH:
            quantizer = getattr(quants, name)
            stack.enter_context(patch_attr(quantizer, "quantize_blocks", rounded(name.lower())))
        stack.enter_context(engine.without_messages())
        yield
