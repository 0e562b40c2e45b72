"""llm-compressor as the engine: one call that runs modifiers over calibration samples."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from comptrust import progress

if TYPE_CHECKING:
    import torch


def oneshot(
    model: Any, modifiers: list[Any], *, samples: list[torch.Tensor], changes_outputs: bool = True
) -> None:
    """Apply llm-compressor modifiers in place; `samples` are token ids of shape (1, length).

    Where a block `changes_outputs`, its tokens pass it once more, so that the next block sees what
    compression made of them.
    """
    import torch
    from torch.utils.data import DataLoader

    blocks = (
        model.config.num_hidden_layers + 1
    )  # llm-compressor goes through the model block by block; the last holds the head
    counter = progress.Counter(total=blocks, what="compressing", unit="block")
    with progress.quiet():
        import llmcompressor
        from loguru import logger

        logger.remove()  # its import logs to stdout, which belongs to results
        if logging.getLogger().isEnabledFor(logging.INFO):
            logger.add(sys.stderr)
        rows = [{"input_ids": ids[0], "attention_mask": torch.ones_like(ids[0])} for ids in samples]
        loader: Any = DataLoader(rows, batch_size=1)  # type: ignore[arg-type]
        llmcompressor.oneshot(
            model=model,
            recipe=[*modifiers, _counting(counter)],
            dataset=loader,
            num_calibration_samples=len(samples),
            pipeline="sequential",
            propagate_error=changes_outputs,
            clear_sparse_session=True,
        )


def dispatch(model: torch.nn.Module) -> None:
    """Put a model that was compressed block by block, or in RAM, where it computes: on the
    accelerator if there is one.
    """
    import torch

    if torch.accelerator.is_available():
        from compressed_tensors.offload import dispatch_model

        dispatch_model(model)


def _counting(counter: progress.Counter) -> Any:
    """Return a modifier that changes nothing and counts each block that the others have
    finished."""
    from llmcompressor.modifiers import Modifier

    class Count(Modifier):
        def on_initialize(self, state: Any, **kwargs: Any) -> bool:
            return True

        def on_sequential_epoch_end(
            self, state: Any, event: Any, modules: Any, **kwargs: Any
        ) -> None:
            counter.step()

    return Count()
