"""Load a dense or compressed model for computing, or say in one line why it cannot be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust.errors import ServiceError, UserError
from comptrust.models import memory
from comptrust.progress import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NEEDED = {"gptq": ("optimum", "gptqmodel"), "awq": ("gptqmodel",)}
"""Format of the files -> packages without which transformers does not read it."""
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")


def load(path: Path, *, spread: bool = True) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return model and tokenizer: float32 on a CPU (faster there than bfloat16), 16 bits on an accelerator.

    With an accelerator the model is spread over it and the RAM; not `spread`, it stays in RAM, from where compression fetches one block
    at a time. Raises UserError if the folder is no model that transformers can read, ServiceError if memory does not suffice.
    """
    if not path.is_dir():
        raise UserError(f"No model folder {path}. Check the path, or compress the model again.")
    check_format(path)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    accelerator = torch.accelerator.is_available()
    dtype: Any = torch.float32
    if accelerator:
        dtype = "auto" if memory.quantised(path) or memory.saved_dtype(path) in ("float16", "bfloat16") else torch.bfloat16
    try:
        memory.check(path, float_bytes=2 if accelerator else 4)
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path,
                dtype=dtype,
                device_map="auto" if accelerator and spread else None,
                output_loading_info=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        model, found = loaded
        _check_whole(path, found)
    except (ServiceError, UserError):
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ServiceError(f"Not enough memory to load {path}. Use a machine with more, or a smaller model.") from error
    except Exception as error:  # transformers and safetensors raise many classes for a broken folder
        raise _unreadable(path, error) from error
    return model.eval(), tokenizer


def _check_whole(path: Path, found: Mapping[str, Collection[str]]) -> None:
    """Raise UserError if weights are missing, which would be random numbers then, or left over: the model is not the one in the files."""
    if memory.quantisation(path).get("quant_method", "compressed-tensors") != "compressed-tensors":
        return  # other formats name their weights otherwise, and the packages that read them check
    for kind, what in (("missing_keys", "has no"), ("unexpected_keys", "has, but config.json does not know,")):
        if names := sorted(found[kind]):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"{path} {what} {names[0]}{more}: config.json and weights belong to different models. Fetch it again.")


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason:
        return UserError(
            f"{path} brings code of its own (auto_map in config.json or tokenizer_config.json), which is never run. "
            "Use a model that transformers knows by itself."
        )
    return UserError(f"Cannot load the model in {path}: {reason[:200]}. The folder is corrupt or of a kind transformers does not know.")


def check_format(path: Path) -> None:
    """Raise UserError, before anything is loaded, if there are no weights but pickled ones, or if reading them needs absent packages."""
    if not any(path.glob("*.safetensors")) and (pickled := sorted(one.name for kind in PICKLED for one in path.glob(kind))):
        raise UserError(
            f"{path} holds its weights as pickle ({pickled[0]}), which can run code when it is read. "
            "Give a folder with *.safetensors files, which hold numbers only."
        )
    kind = str(memory.quantisation(path).get("quant_method", ""))
    missing = [name for name in NEEDED.get(kind, ()) if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{path} is in the {kind.upper()} format, which transformers reads only with {' and '.join(missing)}, not installed here. "
            "See 'Dependencies' in the README, or ask a server that reads it (--backend openai)."
        )


def tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Return a model folder's tokenizer. Raises UserError if it has none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # transformers raises many classes for a folder without a usable tokenizer
        if "trust_remote_code" in str(error):
            raise _unreadable(path, error) from error
        raise UserError(f"{path} holds no tokenizer that transformers reads: {' '.join(str(error).split())[:200]}.") from error
