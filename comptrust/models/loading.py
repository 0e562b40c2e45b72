"""Load a dense or compressed model for computing, or say in one line why it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import ServiceError, UserError
from comptrust.progress import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return model and tokenizer: float32 on a CPU (faster there than bfloat16), as saved on an accelerator.

    Raises UserError if the folder is no model that transformers can read, ServiceError if memory does not suffice.
    """
    if not path.is_dir():
        raise UserError(f"No model folder {path}. Check the path, or compress the model again.")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    accelerator = torch.accelerator.is_available()
    try:
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                path, dtype="auto" if accelerator else torch.float32, device_map="auto" if accelerator else None
            )
            tokenizer = AutoTokenizer.from_pretrained(path)
            with torch.inference_mode():  # packed layers unpack when they first compute
                model.eval()(torch.zeros((1, 1), dtype=torch.long, device=model.device))
    except MemoryError as error:
        raise ServiceError(f"Not enough memory to load {path}. Use a machine with more, or a smaller model.") from error
    except Exception as error:  # transformers and safetensors raise many classes for a broken folder
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"Cannot load the model in {path}: {reason}. The folder is corrupt or of a kind transformers does not know."
        ) from error
    return model, tokenizer
