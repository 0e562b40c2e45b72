"""Load a dense or compressed model for computing, or say in one line why it cannot be loaded."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from comptrust.errors import ServiceError, UserError
from comptrust.models import formats, gguf_folder, headers, memory, precision, readers
from comptrust.models.base import Loaded, Tokenizer
from comptrust.records import Dtype

OF_THIS_MACHINE = ("is_local", "local_files_only", "name_or_path")
"""Fields of tokenizer_config.json in which transformers writes how it loaded the tokenizer."""
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")


def load(path: Path, *, spread: bool = True, dtype: Dtype = "auto") -> Loaded:
    """Return a folder's model and tokenizer.

    A `dtype` of `auto` is float32 on any CPU, and on an accelerator the checkpoint's own. The model
    is spread over the accelerator and the RAM; without `spread` it stays in RAM, from where
    compression moves one block at a time. Raises UserError if transformers cannot read the folder,
    ServiceError if memory does not suffice.
    """
    path = gguf_folder.plain(path)
    if not path.is_dir():
        raise UserError(f"No model folder {path}. Check the path, or compress the model again.")
    check_format(path)
    readers.check(path)
    import torch
    from transformers import AutoTokenizer

    accelerator = torch.accelerator.is_available()
    try:
        name = precision.computed(path, dtype, accelerator=accelerator)
        of_model: torch.dtype = getattr(torch, name)
        memory.check(path, float_bytes=of_model.itemsize)
        device = "auto" if accelerator and spread else None
        model, keys = _model(path, dtype=of_model, device=device)
        _check_complete(path, keys)
        _check_tied(path, model)
        return model.eval(), AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (ServiceError, UserError):
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ServiceError(
            f"Not enough memory to load {path}. Use a machine with more, or a smaller model."
        ) from error
    # transformers and safetensors raise many classes for a broken folder
    except Exception as error:
        raise unreadable(path, error) from error


def check_whole(path: Path) -> None:
    """Raise UserError if the files are not all of the model and nothing else, by their names.

    No weights are computed for this. What transformers cannot do without weights, `load` tries.
    """
    import torch

    check_format(path)
    readers.check(path)
    keys: Mapping[str, Any] = dict.fromkeys(("missing_keys", "unexpected_keys"), ())
    if not formats.kind(path):
        with suppress(Exception):
            _, keys = _model(path, dtype=torch.float32, device="meta")
    _check_complete(path, keys)


def skeleton(folder: Path) -> Any:
    """Build the model that a config.json describes, without any weights. Raises UserError."""
    import torch
    from transformers import AutoConfig

    try:
        with torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            return readers.text_class(config).from_config(config)
    except UserError:
        raise
    # transformers raises many classes for settings that it cannot use
    except Exception as error:
        raise unreadable(folder, error) from error


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Save a tokenizer without what describes this machine instead of the tokenizer.

    Otherwise the same tokenizer would have another digest offline, and another revision with it.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in settings.items() if name not in OF_THIS_MACHINE}
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _model(path: Path, *, dtype: Any, device: str | None) -> tuple[Any, Mapping[str, Any]]:
    """Return the model, and which of its weights were missing from or unknown to the files."""
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    auto = readers.text_class(config)
    if not formats.kind(path):
        model, keys = auto.from_pretrained(
            path,
            dtype=dtype,
            device_map=device,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
            **readers.options(path),
        )
        if device != "meta":
            readers.unpack(model, path, dtype=dtype)
        return model, keys
    # transformers itself reads the GPTQ and AWQ formats only with gptqmodel installed
    vars(config).pop("quantization_config", None)
    kind = auto._model_mapping[type(config)]
    model, keys = kind.from_pretrained(
        None,
        config=config,
        state_dict=formats.dense(path, dtype=dtype),
        dtype=dtype,
        device_map=device,
        output_loading_info=True,
    )
    model.name_or_path = model.config.name_or_path = str(path)
    if (path / "generation_config.json").exists():
        model.generation_config = GenerationConfig.from_pretrained(path)
    return model, keys


def _check_complete(path: Path, keys: Mapping[str, Collection[str]]) -> None:
    """Raise UserError if the files lack weights of the model or hold others.

    transformers would fill missing ones with random numbers, so the model would be another one.
    """
    for kind, problem in (
        ("missing_keys", "has no"),
        ("unexpected_keys", "has, but config.json does not know,"),
    ):
        if names := sorted(keys[kind]):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                f"{path} {problem} {names[0]}{more}: config.json and weights belong to different"
                " models. Fetch the model again."
            )


def _check_tied(path: Path, model: Any) -> None:
    """Raise UserError for weights that config.json ties and that differ in the files.

    transformers then uses both, and a server such as vLLM one of them.
    """
    stated = model.get_expanded_tied_weights_keys(all_submodels=True)
    if apart := sorted(stated.keys() - model.all_tied_weights_keys.keys()):
        raise UserError(
            f"config.json of {path} says that {apart[0]} is {stated[apart[0]]} (tied), but its"
            " files hold two different ones. Set tie_word_embeddings to false if both are meant."
        )


def unreadable(path: Path, error: Exception) -> UserError:
    """Return the error for a model folder that transformers cannot read."""
    from safetensors import SafetensorError

    reason = _reason(error)
    if "ignore_mismatched_sizes" in reason:
        return UserError(
            f"The weights of {path} do not have the shapes that config.json states"
            f"{_other_shape(path)}. They belong to different models: fetch the model again."
        )
    if "trust_remote_code" in reason:
        return UserError(
            f"{path} comes with code of its own (auto_map in config.json or tokenizer_config.json),"
            " which comptrust never runs. Use a model that transformers supports by itself."
        )
    damaged = " Fetch the model again." if isinstance(error, SafetensorError) else ""
    return UserError(f"Cannot load the model in {path}: {reason[:300].rstrip('.')}.{damaged}")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        return f"transformers looks for {text} and does not find it"
    return text or type(error).__name__


def _other_shape(path: Path) -> str:
    """Say which weight has another shape in the files, if it has the same name there."""
    with suppress(UserError):
        stated = {name: tuple(value.shape) for name, value in skeleton(path).state_dict().items()}
        for tensor in headers.tensors(path):
            shape = stated.get(tensor.name, tensor.shape)
            if shape != tensor.shape:
                return f": {tensor.name} has {tensor.shape}, not {shape}"
    return ""


def check_format(path: Path) -> None:
    """Raise UserError if the folder's only weights are pickled; nothing is loaded for this."""
    pickled = sorted(file.name for pattern in PICKLED for file in path.glob(pattern))
    if pickled and not any(path.glob("*.safetensors")):
        raise UserError(
            f"{path} holds its weights as pickle ({pickled[0]}), which can run code when it is"
            " read. Give a folder with *.safetensors files, which hold only numbers."
        )


def tokenizer(path: Path) -> Tokenizer:
    """Return a model folder's tokenizer. Raises UserError if transformers finds none."""
    from transformers import AutoTokenizer

    path = gguf_folder.plain(path)
    if (path / "config.json").exists():
        memory.quantization(path)  # transformers would blame the tokenizer for it
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    # transformers raises many classes for a folder without a usable tokenizer
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise unreadable(path, error) from error
        raise UserError(
            f"{path} has no tokenizer that transformers can read: {_reason(error)[:200]}."
        ) from error
