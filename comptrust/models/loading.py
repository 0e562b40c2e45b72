"""Load a dense or compressed model for computing, or say in one line why it cannot be."""

from __future__ import annotations

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
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, device_map="auto" if accelerator and spread else None)
            tokenizer = AutoTokenizer.from_pretrained(path)
    except ServiceError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ServiceError(f"Not enough memory to load {path}. Use a machine with more, or a smaller model.") from error
    except Exception as error:  # transformers and safetensors raise many classes for a broken folder
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"Cannot load the model in {path}: {reason}. The folder is corrupt or of a kind transformers does not know."
        ) from error
    return model.eval(), tokenizer


def check_format(path: Path) -> None:
    """Raise UserError, before anything is loaded, if the files are in a format that needs packages which are not installed."""
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
        return AutoTokenizer.from_pretrained(path)
    except Exception as error:  # transformers raises many classes for a folder without a usable tokenizer
        raise UserError(f"{path} holds no tokenizer that transformers reads: {' '.join(str(error).split())[:200]}.") from error
