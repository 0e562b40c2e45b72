"""llm-compressor as the engine: one call that runs modifiers over calibration samples."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LOG_SWITCH = "LLM_COMPRESSOR_LOG_DISABLED"
"""Read by llm-compressor each time it sets up its log, which otherwise goes to stdout."""


def oneshot(model: torch.nn.Module, modifiers: list[Any], *, samples: list[torch.Tensor]) -> None:
    """Apply llm-compressor modifiers in place; `samples` are token ids of shape (1, length)."""
    import torch
    from torch.utils.data import DataLoader

    with quiet():
        import llmcompressor
        from loguru import logger

        logger.remove()  # its import logs to stdout, which belongs to results
        if logging.getLogger().isEnabledFor(logging.INFO):
            logger.add(sys.stderr)
        rows = [{"input_ids": ids[0], "attention_mask": torch.ones_like(ids[0])} for ids in samples]
        loader = DataLoader(rows, batch_size=1)
        with _no_pinning():
            llmcompressor.oneshot(
                model=model,
                recipe=modifiers,
                dataset=loader,
                num_calibration_samples=len(samples),
                pipeline="sequential",
                clear_sparse_session=True,
            )


@contextmanager
def _no_pinning() -> Iterator[None]:
    """Skip page-locking where there is no accelerator to copy to; llm-compressor's AWQ fails there otherwise."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if torch.accelerator.is_available():
        yield
        return
    original = IntermediatesCache.pin_memory
    IntermediatesCache.pin_memory = lambda self, batch_index, input_names=None: None
    try:
        yield
    finally:
        IntermediatesCache.pin_memory = original


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back llm-compressor's own log and progress bars unless the user asked for more (-v), and keep stdout free of them."""
    import tqdm

    with redirect_stdout(sys.stderr):
        if logging.getLogger().isEnabledFor(logging.INFO):
            yield
            return
        original, disabled, setting = tqdm.tqdm.__init__, logging.root.manager.disable, os.environ.get(LOG_SWITCH)
        tqdm.tqdm.__init__ = lambda self, *args, **kwargs: original(self, *args, **{**kwargs, "disable": True})
        logging.disable(logging.WARNING)
        os.environ[LOG_SWITCH] = "true"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            tqdm.tqdm.__init__ = original
            logging.disable(disabled)
            if setting is None:
                del os.environ[LOG_SWITCH]
            else:
                os.environ[LOG_SWITCH] = setting
