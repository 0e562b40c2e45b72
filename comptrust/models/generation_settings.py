"""Settings in generation_config.json that transformers loads but refuses to save."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import UserError

if TYPE_CHECKING:
    from transformers import GenerationConfig


def settle(settings: GenerationConfig, folder: Path) -> None:
    """Change settings, read from a folder, so that they can be saved.

    A temperature or top_p without do_sample means sampling, and a negative pad token is none: so
    the authors of such models (Vicuna, Llama 2) corrected them. Raises UserError if that is not
    enough.
    """
    if isinstance(settings.pad_token_id, int) and settings.pad_token_id < 0:
        settings.pad_token_id = None
    try:
        settings.validate(strict=True)
        return
    except ValueError:
        settings.do_sample = True
    try:
        settings.validate(strict=True)
    except ValueError as error:
        reason = " ".join(str(error).removeprefix("GenerationConfig is invalid:").split())[:200]
        raise UserError(
            f"transformers cannot save generation_config.json of {folder}: {reason} Correct that"
            " file."
        ) from error


def check(folder: Path) -> None:
    """Raise UserError if the folder's settings could not be saved; no weights are read."""
    if (folder / "generation_config.json").exists():
        from transformers import GenerationConfig

        try:
            settings = GenerationConfig.from_pretrained(folder)
        except (OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"Cannot read generation_config.json of {folder}: {reason}.") from error
        settle(settings, folder)
