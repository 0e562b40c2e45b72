"""Load a dense or compressed model for computing, or say in one line why it cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust.errors import ServiceError, UserError
from comptrust.models import formats, memory
from comptrust.models.inference import heap
from comptrust.progress import quiet

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")


def load(path: Path, *, spread: bool = True) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return model and tokenizer: float32 on a CPU (faster there than bfloat16), 16 bits on an
    accelerator.

    With an accelerator the model is spread over it and the RAM; not `spread`, it stays in RAM, from
    where compression fetches one block at a time. Raises UserError if the folder is no model that
    transformers can read, ServiceError if memory does not suffice.
    """
    if not path.is_dir():
        raise UserError(f"No model folder {path}. Check the path, or compress the model again.")
    check_format(path)
    import torch
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        AutoModelForCausalLM,
        AutoTokenizer,
        GenerationConfig,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    accelerator = torch.accelerator.is_available()
    dtype: Any = torch.float32
    if accelerator:
        dtype = (
            "auto"
            if memory.quantized(path) or memory.saved_dtype(path) in ("float16", "bfloat16")
            else torch.bfloat16
        )
    try:
        memory.check(path, float_bytes=2 if accelerator else 4)
        with quiet(), heap.apart(), _read():
            form = formats.kind(path)
            unpacked = (
                _unpacked(path, dtype=torch.float16 if accelerator else torch.float32)
                if form
                else {}
            )
            known: Any = (
                MODEL_FOR_CAUSAL_LM_MAPPING[type(unpacked["config"])]
                if form
                else AutoModelForCausalLM
            )
            loaded: Any = known.from_pretrained(
                None if form else path,
                **unpacked,
                dtype=dtype,
                device_map="auto" if accelerator and spread else None,
                output_loading_info=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        model, found = loaded
        if form and (path / "generation_config.json").exists():
            model.generation_config = GenerationConfig.from_pretrained(path)
        _check_whole(path, found)
    except (ServiceError, UserError):
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ServiceError(
            f"Not enough memory to load {path}. Use a machine with more, or a smaller model."
        ) from error
    except (
        Exception
    ) as error:  # transformers and safetensors raise many classes for a broken folder
        raise _unreadable(path, error) from error
    return model.eval(), tokenizer


@contextmanager
def _read() -> Iterator[None]:
    """Have transformers read weight files, as it does on Windows: mapped ones would lie in memory
    beside the weights made of them.
    """
    from transformers import modeling_utils

    module: Any = modeling_utils
    usual = module.safe_open

    def reading(*args: Any, **settings: Any) -> Any:
        return usual(*args, **{**settings, "backend": "pread"})

    module.safe_open = reading
    try:
        yield
    finally:
        module.safe_open = usual


def _unpacked(path: Path, *, dtype: torch.dtype) -> dict[str, Any]:
    """Return config and weights of a GPTQ or AWQ folder as a dense model's: transformers itself
    reads them only with gptqmodel.
    """
    from transformers import AutoConfig

    settings = AutoConfig.from_pretrained(path, trust_remote_code=False)
    del settings.quantization_config
    return {"config": settings, "state_dict": formats.dense(path, dtype=dtype)}


def _check_whole(path: Path, found: Mapping[str, Collection[str]]) -> None:
    """Raise UserError if weights are missing, which would be random numbers then, or left over: the
    model is not the one in the files.
    """
    if memory.quantization(path).get("quant_method", "compressed-tensors") not in (
        "compressed-tensors",
        *formats.KNOWN,
    ):
        return  # other formats name their weights otherwise, and the packages that read them check
    for kind, what in (
        ("missing_keys", "has no"),
        ("unexpected_keys", "has, but config.json does not know,"),
    ):
        if names := sorted(found[kind]):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                f"{path} {what} {names[0]}{more}: config.json and weights belong to different"
                " models. Fetch it again."
            )


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason:
        return UserError(
            f"{path} brings code of its own (auto_map in config.json or tokenizer_config.json),"
            " which is never run. Use a model that transformers knows by itself."
        )
    return UserError(
        f"Cannot load the model in {path}: {reason[:200]}. The folder is corrupt or of a kind"
        " transformers does not know."
    )


def check_format(path: Path) -> None:
    """Raise UserError, before anything is loaded, if there are no weights but pickled ones."""
    if not any(path.glob("*.safetensors")) and (
        pickled := sorted(one.name for kind in PICKLED for one in path.glob(kind))
    ):
        raise UserError(
            f"{path} holds its weights as pickle ({pickled[0]}), which can run code when it is"
            " read. Give a folder with *.safetensors files, which hold numbers only."
        )


def tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Return a model folder's tokenizer. Raises UserError if it has none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (
        Exception
    ) as error:  # transformers raises many classes for a folder without a usable tokenizer
        if "trust_remote_code" in str(error):
            raise _unreadable(path, error) from error
        raise UserError(
            f"{path} holds no tokenizer that transformers reads:"
            f" {' '.join(str(error).split())[:200]}."
        ) from error
