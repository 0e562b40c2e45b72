"""Which layers of a model are compressed, and a view of all of them as linear layers.

Compressed are the matrices of the language model: linear layers, Conv1D (GPT-2), and experts, which
transformers keeps together in parameters of three dimensions. Routers, embeddings, heads, norms,
all of a vision or audio part, and blocks that look at images stay dense.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from comptrust.compression import engine
from comptrust.errors import UserError
from comptrust.models import kinds

if TYPE_CHECKING:
    import torch

    Module = torch.nn.Module
    Replaced = dict[str, Module]
    """Name -> the module that was there before."""


def target_layers(model: Module) -> dict[str, torch.nn.Linear]:
    """Return the linear layers that are compressed. Call `take_apart` first."""
    import torch

    linear = (name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear))
    names = [name for name in linear if _is_target(model, name)]
    return {name: model.get_submodule(name) for name in names}  # type: ignore[misc]


def dense_layers(model: Module) -> list[str]:
    """Return the names of the linear layers that stay as they are."""
    import torch

    targets = target_layers(model)
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and name not in targets
    ]


def matrices(model: Module) -> dict[str, torch.Tensor]:
    """Return the weights of all layers that are compressed, as they are, shape (..., out, in).

    Experts that cannot be taken apart are as their family stores them, in two or three dimensions.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    weights: dict[str, torch.Tensor] = {}
    for name, layer in model.named_modules():
        if not _is_target(model, name):
            continue
        if is_experts(layer):
            turned = False
            with suppress(UserError):
                turned = _apart(layer, name).is_transposed
            parts = dict(layer.named_parameters(recurse=False))
            most = max(value.dim() for value in parts.values())  # biases have one dimension less
            for part, value in parts.items():
                if value.dim() == most:
                    weights[f"{name}.{part}"] = value.mT if turned else value
        elif isinstance(layer, torch.nn.Linear):
            weights[name] = layer.weight
        elif isinstance(layer, Conv1D):
            weights[name] = layer.weight.mT
    return weights


def inputs(model: Module) -> tuple[dict[str, list[int]], bool]:
    """Return the dimensions of a layer's inputs, for each time that a skeleton's pass computes it.

    Also returns whether the pass came to its end: layers are missing from where a skeleton, which
    has no values, cannot go on.
    """
    import torch

    calls: dict[str, list[int]] = {}
    ended = False

    def look(name: str, _: Module, args: tuple[torch.Tensor, ...]) -> None:
        calls.setdefault(name, []).append(args[0].dim())

    layers = target_layers(model).items()
    hooks = [layer.register_forward_pre_hook(partial(look, name)) for name, layer in layers]
    device = next(model.parameters()).device
    with suppress(Exception), torch.no_grad():
        # with a mask of four dimensions, nothing looks at values
        mask = torch.zeros(1, 1, 4, 4, device=device)
        ids = torch.zeros(1, 4, dtype=torch.long, device=device)
        model(ids, attention_mask=mask, use_cache=False)
        ended = True
    for hook in hooks:
        hook.remove()
    return calls, ended


def take_apart(model: Module) -> Replaced:
    """Replace Conv1D and experts by linear layers on the same memory; return what was replaced.

    So are classes derived from linear layers, which the library would not pack. Raises UserError
    for experts that cannot be taken apart.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    replaced: Replaced = {}
    for name, layer in list(model.named_modules()):
        plain = type(layer) is torch.nn.Linear
        if isinstance(layer, (Conv1D, torch.nn.Linear)) and not plain and _is_target(model, name):
            weight = layer.weight.data.T if isinstance(layer, Conv1D) else layer.weight.data
            replaced[name] = layer
            model.set_submodule(name, _linear(weight, layer.bias))
        elif is_experts(layer):
            experts = _linear_experts(layer, name, model)
            replaced[name] = layer
            model.set_submodule(name, experts)
    return replaced


def check_experts(model: Module) -> None:
    """Raise UserError for experts that cannot be taken apart, looking at their class alone."""
    for name, layer in model.named_modules():
        if is_experts(layer):
            _apart(layer, name)


def put_back(model: Module, replaced: Replaced) -> None:
    """Undo `take_apart`; the weights, which share memory, are the compressed ones."""
    for name, layer in replaced.items():
        model.set_submodule(name, layer)


def _is_target(model: Module, name: str) -> bool:
    if kinds.kind(name) not in kinds.LINEAR or _reads_images(model, name):
        return False
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return head is None or model.get_submodule(name) is not head


def _reads_images(model: Module, name: str) -> bool:
    """Whether a layer is in a block that text alone skips (Mllama), so that nothing measures it."""
    parts = name.split(".")
    blocks = (model.get_submodule(".".join(parts[:end])) for end in range(len(parts)))
    return any(hasattr(block, "cross_attn") for block in blocks)


def is_experts(layer: Module) -> bool:
    """Whether a module keeps the weights of several experts in parameters of its own."""
    shared = any(value.dim() > 1 for value in layer.parameters(recurse=False))
    return shared and "Expert" in type(layer).__name__


def _apart(layer: Module, name: str) -> Any:
    """Return llm-compressor's class for these experts."""
    engine.import_quietly()
    from llmcompressor.modeling.moe.linear_experts import LinearExperts2D

    try:
        return LinearExperts2D.get_linear_experts_cls(type(layer))  # type: ignore[arg-type]
    except ValueError as error:
        raise _unknown(layer, name) from error


def _unknown(layer: Module, name: str) -> UserError:
    return UserError(
        f"The experts of {name} ({type(layer).__name__}) are stored in a way that llm-compressor"
        " cannot take apart, so no method can compress this model. Use method none, or another"
        " model."
    )


def _linear_experts(layer: Any, name: str, model: Any) -> Module:
    """Return linear layers for these experts, on the memory of the experts."""

    kind = _apart(layer, name)
    config = copy.copy(getattr(layer, "config", None) or model.config.get_text_config())
    # The library reads the sizes from the config, where each family names them differently.
    inputs, outputs = layer.down_proj.shape[1:]
    if not kind.is_transposed:
        inputs, outputs = outputs, inputs
    config.num_local_experts = len(layer.down_proj)
    config.moe_intermediate_size, config.moe_latent_size = inputs, outputs
    config.use_bias, config.dtype = kind.has_bias, layer.down_proj.dtype
    if config.model_type == "llama4_text":
        config = SimpleNamespace(text_config=config)
    experts: Any = kind.from_experts_module(layer, config)
    for index in range(experts.num_experts):
        expert = experts[index]
        for part, fused in _parts(layer, index, transposed=kind.is_transposed):
            linear = getattr(expert, part)
            rows = len(linear.weight)
            first = int(part == "up_proj" and len(fused) > rows)
            # Gate and up are the two halves of one matrix, or every other row of it.
            halves, turns = fused[first * rows :][:rows], fused[first :: len(fused) // rows]
            views = [view for view in (halves, turns) if _same(view, linear.weight)]
            if not views:
                raise _unknown(layer, name)
            setattr(expert, part, _linear(views[0], linear.bias))
    return experts  # type: ignore[no-any-return]


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> torch.nn.Linear:
    """Return a linear layer on the memory of a weight, shape (out, in)."""
    import torch

    linear: Any = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)
    linear.bias = None if bias is None else torch.nn.Parameter(bias.data, requires_grad=False)
    return linear  # type: ignore[no-any-return]


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    import torch

    return one.is_meta or torch.equal(one, other)


def _parts(layer: Any, index: int, *, transposed: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each linear layer of an expert and the matrix that holds it, shape (out, in)."""
    up = "gate_up_proj" if hasattr(layer, "gate_up_proj") else "up_proj"
    for fused in (up, "down_proj"):
        value = getattr(layer, fused).data[index]
        value = value.T if transposed else value
        for part in ("gate_proj", "up_proj") if fused == "gate_up_proj" else (fused,):
            yield part, value
