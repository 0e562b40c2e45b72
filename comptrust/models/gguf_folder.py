"""Make a folder that transformers loads from a GGUF file, with the file's own weights and tokens.

transformers dequantizes the weights. What it would leave out is refused, and what it converts
wrongly is set here: the special tokens, which tokens end an answer, and how text is split.
"""

import inspect
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import digests
from comptrust.errors import ServiceError, UserError, show
from comptrust.models import cached, gguf

if TYPE_CHECKING:
    from gguf import GGUFReader

SERVER = "Evaluate it on llama.cpp's server instead (engine openai)."
FLOATS = {"F16": "float16", "BF16": "bfloat16"}
SAME_IN_CONFIG = {
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
"""Settings that transformers does not read; its own defaults must be the same."""
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {
    "gpt-2": None,
    "smollm": None,  # digits stand alone, and its vocabulary joins none
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|" + WORDS % r"\p{N}{1,3}",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|" + WORDS % r"\p{N}",
}
"""Ways to split text before merging, by their name in the file; None is that of GPT-2."""
ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>")
"""Tokens that llama.cpp ends an answer at even if the file does not name them."""
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
CONTROL, USER_DEFINED = 3, 4


def plain(path: Path) -> Path:
    """Return a folder that transformers loads: `path`, or one converted from its GGUF file.

    Raises UserError if the file cannot be converted faithfully.
    """
    file = gguf.file_in(path)
    if file is None:
        return path
    made_from = [digests.of_file(file), version("transformers"), version("gguf")]
    code = inspect.getsource(inspect.getmodule(convert))  # type: ignore[arg-type]
    name = f"gguf-{digests.of_value([*made_from, code])[:16]}/{file.stem}"
    folder = cached.made_once(name, lambda out: convert(file, out))
    show(folder, file)
    return folder


def convert(file: Path, out: Path, *, dtype: str | None = None) -> None:
    """Save a file's model as floats, with its tokenizer, to the new folder `out`.

    The floats are those of the file if it is not quantized, else float32, unless `dtype` is given:
    no smaller kind holds the product of a code and its scale exactly. How the file is quantized
    goes into config.json as `dequantized_from`. Raises UserError for what would be lost.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        with gguf.read_once():
            reader = gguf.read(file)
            model = _model(file, reader, dtype)
            tokenizer = _tokenizer(file, reader)
    except (UserError, ServiceError):
        raise
    except MemoryError as error:
        raise ServiceError(f"Not enough memory to convert {file}.") from error
    except Exception as error:  # transformers raises many classes for what it does not support
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"transformers cannot read {file}: {reason}. {SERVER}") from error
    ends = _ends(reader)
    model.config.eos_token_id = model.generation_config.eos_token_id = (
        ends[0] if len(ends) == 1 else ends
    )
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(out)
    _save_tokenizer(tokenizer, out)


def _model(file: Path, reader: "GGUFReader", dtype: str | None) -> Any:
    import torch
    from gguf import dequantize
    from transformers import AutoConfig, AutoModelForCausalLM

    settings: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    for tensor in {tensor.tensor_type: tensor for tensor in reader.tensors}.values():
        try:
            dequantize(tensor.data[:1], tensor.tensor_type)
        except NotImplementedError as error:
            raise UserError(
                f"{file} has weights of type {tensor.tensor_type.name}, which cannot be"
                f" dequantized here. {SERVER}"
            ) from error
    config = AutoConfig.from_pretrained(file.parent, **settings)
    with torch.device("meta"):
        _check_read(file, reader, AutoModelForCausalLM.from_config(config))
    settings |= {"dtype": "float32", "output_loading_info": True}
    reading: Any = AutoModelForCausalLM.from_pretrained(file.parent, **settings)
    loaded, keys = reading
    if missing := sorted({*keys["missing_keys"], *keys["mismatched_keys"]}):
        raise UserError(f"{file} has no weights for {missing[0]}. Fetch it again.")
    vars(loaded.config).pop("quantization_config", None)
    # A model that was loaded from a GGUF file refuses to be saved.
    plain: Any = type(loaded)(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    kinds = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
    exact = FLOATS.get(next(iter(kinds)), "float32") if len(kinds) == 1 else "float32"
    plain = plain.to(getattr(torch, dtype or exact))
    if kinds - {"F32", *FLOATS}:
        plain.config.dequantized_from = gguf.kind(file).upper()
    return plain


def _check_read(file: Path, reader: "GGUFReader", model: Any) -> None:
    """Raise UserError for a setting or a tensor that transformers would silently leave out."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
    from transformers.integrations.gguf import GGUF_ARCHS
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    family = gguf.value(reader, "general.architecture")
    if family in GGUF_ARCHS:  # a newer reader, which uses everything or fails
        return
    config = model.config
    read: dict[str, Any] = GGUF_CONFIG_MAPPING
    known = {"vocab_size", *read.get(family, ()), *read.get(config.model_type, ())}
    for key in reader.fields:
        prefix, _, name = key.partition(".")
        if prefix != family or name in known:
            continue
        stated = gguf.value(reader, key)
        here = getattr(config, SAME_IN_CONFIG.get(name, ""), None)
        if name == "rope.scaling.type" and stated == "none":
            continue
        if here is None or stated != here:
            raise UserError(
                f"{file} says {key} = {str(stated)[:40]}, which transformers does not read, so the"
                f" model would be another one. {SERVER}"
            )
    processor: Any = TENSOR_PROCESSORS.get(family, TensorProcessor)
    places = get_gguf_hf_weights_map(model, processor(config=config.to_dict()))
    for tensor in reader.tensors:
        if not {tensor.name, tensor.name.removesuffix(".weight")} & places.keys():
            raise UserError(
                f"{file} has a tensor {tensor.name}, which transformers does not read, so the model"
                f" would be another one. {SERVER}"
            )


def _tokenizer(file: Path, reader: "GGUFReader") -> Any:
    from tokenizers import AddedToken, Regex, pre_tokenizers, processors
    from transformers import AutoTokenizer

    words: list[str] = gguf.value(reader, "tokenizer.ggml.tokens") or []
    split = gguf.value(reader, "tokenizer.ggml.pre")
    is_bpe = gguf.value(reader, "tokenizer.ggml.model") == "gpt2"
    if is_bpe and split not in SPLITS:
        raise UserError(
            f"{file} splits text as '{split}', which cannot be done here. {SERVER} Known:"
            f" {', '.join(SPLITS)}."
        )
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    core = tokenizer.backend_tokenizer
    if is_bpe and (pattern := SPLITS[split]):
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        core.model.ignore_merges = split == "llama-bpe"
    types = gguf.value(reader, "tokenizer.ggml.token_type") or []
    kept = {CONTROL: True, USER_DEFINED: False}
    whole = [
        AddedToken(word, normalized=False, special=kept[kind])
        for word, kind in zip(words, types, strict=False)
        if kind in kept and word not in tokenizer.get_added_vocab()
    ]
    tokenizer.add_tokens(whole)
    for name, key in SPECIAL.items():
        number = gguf.value(reader, f"tokenizer.ggml.{key}_token_id")
        if name == "pad" and number is None:
            number = gguf.value(reader, "tokenizer.ggml.eos_token_id")
        if number is not None and number >= len(words):
            raise UserError(f"{file} names token {number}, but has {len(words)}. Fetch it again.")
        setattr(tokenizer, f"{name}_token", None if number is None else words[number])
        tokenizer.init_kwargs[f"{name}_token_id"] = number
    begins = gguf.value(reader, "tokenizer.ggml.add_bos_token")
    if begins is None:  # as in llama.cpp
        begins = not is_bpe or split == "llama-bpe"
    bos = tokenizer.bos_token
    if bos and begins != (tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]):
        core.post_processor = (
            processors.TemplateProcessing(
                single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
            )
            if begins
            else processors.ByteLevel(trim_offsets=False)
        )
    here = tokenizer.convert_ids_to_tokens(list(range(len(words))))
    if len(tokenizer) != len(words) or here != words:
        raise UserError(
            f"{file} has {len(words)} tokens, of which transformers makes {len(tokenizer)}, or"
            f" others. {SERVER}"
        )
    return tokenizer


def _ends(reader: "GGUFReader") -> list[int]:
    """Return the tokens that end an answer.

    They are those that the file names. If its chat template does not use the one that ends a text,
    those that llama.cpp knows and the template does use are added.
    """
    words: list[str] = gguf.value(reader, "tokenizer.ggml.tokens") or []
    named = [
        gguf.value(reader, f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")
    ]
    ends = [number for number in named if number is not None]
    template = str(gguf.value(reader, "tokenizer.chat_template") or "")
    if template and not any(words[number] in template for number in ends):
        ends += [words.index(word) for word in ENDS if word in template and word in words]
    if not ends:
        raise UserError("The GGUF file does not say which token ends a text. Fetch another one.")
    return sorted(set(ends))


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    from comptrust.models import loading  # it loads what is converted here

    loading.save_tokenizer(tokenizer, folder)
