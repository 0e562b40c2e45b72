"""llm-compressor as the engine: one call that runs modifiers over calibration samples."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from comptrust import progress
from comptrust.errors import ServiceError

if TYPE_CHECKING:
    import torch

LOG_DISABLED = "LLM_COMPRESSOR_LOG_DISABLED"
CALIBRATED = ("input_scale", "input_global_scale", "q_scale", "k_scale", "v_scale")
"""Scales of activations that calibration texts decide, as compressed-tensors names them."""


def oneshot(
    model: Any, modifiers: list[Any], *, samples: list[torch.Tensor], changes_outputs: bool = True
) -> None:
    """Apply llm-compressor modifiers in place; `samples` are token ids of shape (1, length).

    If the modifiers change a block's outputs (`changes_outputs`), the samples pass through the
    compressed block once more, so that the next block is calibrated on what it will really receive.
    Without samples, for modifiers that need none, the model does not compute at all.
    """
    import torch
    from torch.utils.data import DataLoader

    import_quietly()
    import llmcompressor

    # RoPE of changing length gives one tensor two names; the library's offloading, which writes
    # into tensors in place, would then overwrite the frequencies of short texts.
    for module in model.modules():
        if type(module._buffers) is dict:  # not offloaded yet
            buffers = module._buffers.items()
            module._buffers = {
                name: None if value is None else value.clone() for name, value in buffers
            }
    # llm-compressor works block by block; the last block holds the head
    counter = progress.Counter(
        total=model.config.get_text_config().num_hidden_layers + 1,
        what="compressing",
        unit="block",
    )
    rows = [{"input_ids": ids[0], "attention_mask": torch.ones_like(ids[0])} for ids in samples]
    loader: Any = DataLoader(rows, batch_size=1) if rows else None  # type: ignore[arg-type]
    unneeded: Any = False  # for None, the library would look for one in the model's folder
    with _environment_restored(), _untraced_layers(model) as computed:
        llmcompressor.oneshot(
            model=model,
            processor=unneeded,
            recipe=[*modifiers, _counting(counter, computed)],
            dataset=loader,
            num_calibration_samples=len(samples),
            pipeline="sequential" if rows else "datafree",
            propagate_error=changes_outputs,
            clear_sparse_session=True,
        )
    _check_calibrated(model)


def _check_calibrated(model: Any) -> None:
    """Raise ServiceError for a layer whose inputs the library gave no scale, which it only logs."""
    for name, module in model.named_modules():
        for scale in CALIBRATED:
            value = getattr(module, scale, None)
            if value is not None and not bool((value.isfinite() & (value > 0)).all()):
                raise ServiceError(
                    f"llm-compressor calibrated no {scale} for {name}: the calibration texts never"
                    " reached it, or with zeros alone. Use a scheme that leaves activations dense."
                )


@contextmanager
def _untraced_layers(model: Any) -> Iterator[dict[Any, None]]:
    """Let the library finish layers that it does not see, since it does not trace their callers.

    Their scales would stay zero (Gemma 4, `per_layer_model_projection`). Yields the layers that
    have computed. Tracing may compute some (OLMo), which is no calibration: forget those.
    """
    import torch
    from compressed_tensors.utils import patch_attr
    from llmcompressor.pipelines.sequential.helpers import Subgraph

    computed: dict[torch.nn.Module, None] = {}
    finished: set[torch.nn.Module] = set()
    listed = Subgraph.submodules

    def submodules(graph: Any, model: Any, recurse: bool = True) -> list[torch.nn.Module]:
        modules = dict.fromkeys([*listed(graph, model, recurse), *computed])
        new = [module for module in modules if module not in finished]
        finished.update(new)
        return new

    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, args: computed.update({layer: None}))
        for layer in layers
    ]
    try:
        with patch_attr(Subgraph, "submodules", submodules):
            yield computed
    finally:
        for hook in hooks:
            hook.remove()


def import_quietly() -> None:
    """Import llm-compressor without letting it replace the program's log handlers.

    By default its import removes every loguru handler and adds one that writes to stdout. Here its
    messages go to the handlers that exist, or nowhere if LLM_COMPRESSOR_LOG_DISABLED is set.
    """
    from loguru import logger

    with suppress(ValueError):  # defined already
        logger.level("METRIC", no=38)  # it logs at this level, but defines it only with its handler
    if "llmcompressor" in sys.modules:
        return
    silent = LOG_DISABLED in os.environ
    with _environment_restored():
        os.environ[LOG_DISABLED] = "true"
        import llmcompressor  # noqa: F401
    if not silent:
        logger.enable("llmcompressor")


@contextmanager
def without_messages() -> Iterator[None]:
    """Keep libraries from logging anything but errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Undo changes of environment variables, of which llm-compressor makes some."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _counting(counter: progress.Counter, computed: dict[Any, None]) -> Any:
    """Return a modifier that counts the blocks that the others finished.

    It also marks each scale that texts have to decide, whose memory nobody has written to yet, and
    empties `computed` when calibration starts.
    """
    from llmcompressor.modifiers import Modifier

    class Count(Modifier):
        def on_initialize(self, state: Any, **kwargs: Any) -> bool:
            for module in state.model.modules():
                for scale in CALIBRATED:
                    if (value := getattr(module, scale, None)) is not None:
                        value.data.fill_(float("nan"))
            return True

        def on_calibration_start(self, state: Any, event: Any, **kwargs: Any) -> None:
            computed.clear()

        def on_sequential_epoch_end(
            self, state: Any, event: Any, modules: Any, **kwargs: Any
        ) -> None:
            counter.step()

    return Count()
