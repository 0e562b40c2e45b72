"""A model given as BASE+ADAPTER: peft merges the adapter into the base, once, into the cache.

What comes out is an ordinary dense model in the dtypes of the base. A pair that does not fit is
refused from the adapter's files and the base's config, before the base is loaded.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import digests
from comptrust.errors import ServiceError, UserError, show
from comptrust.models import cached, generation_settings, headers, loading, precision, readers

if TYPE_CHECKING:
    from peft import PeftConfig

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PLAIN_STARTS = (True, False, "gaussian", "orthogonal")
"""Values of `init_lora_weights` that leave the base's own weights as they are."""
CLOSE = 1e-3
"""Largest change of a logit by merging, as a share of the largest logit, computed in float32."""


def merged(name: str, *, base: Path, revision: str, adapter: Path) -> tuple[Path, str]:
    """Return the folder of the merged model, and the revision of both parts together.

    `revision` is that of the base. Raises UserError if the adapter does not fit or cannot be
    merged, ServiceError if merging fails.
    """
    for file in (CONFIG, WEIGHTS):
        if not (adapter / file).is_file():
            raise UserError(
                f"{adapter} has no {file}, so it is not an adapter that peft saved as safetensors."
                " Give BASE+ADAPTER, such as ./model+./adapter."
            )
    config = _config(adapter)
    readers.check_source(base)
    both = digests.of_value({"base": revision, "adapter": digests.of_folder(adapter)})
    _check(adapter, config, base)
    folder = cached.made_once(
        f"merged-{both[:16]}/{base.name}-{adapter.name}", partial(_merge, base, adapter, config)
    )
    show(folder, name)
    return folder, both


def _config(adapter: Path) -> PeftConfig:
    """Read adapter_config.json. Raises UserError for adapters that merging would change."""
    try:
        from peft import PeftConfig
    except ImportError as error:
        raise UserError(
            "Merging an adapter needs the package peft. Install comptrust[adapters]."
        ) from error
    try:
        config: PeftConfig = PeftConfig.from_pretrained(str(adapter))
    # peft raises many classes for a broken or an unknown config
    except Exception as error:
        raise _refused(adapter, f"peft cannot read {CONFIG}: {error}") from error
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if config.is_prompt_learning:
        raise _refused(adapter, f"{kind} adds to the prompt and has no weights to merge")
    start = getattr(config, "init_lora_weights", True)
    if start not in PLAIN_STARTS:
        raise _refused(adapter, f"its init_lora_weights {start!r} changes the base as well")
    for field in ("layer_replication", "megatron_config"):
        if getattr(config, field, None):
            raise _refused(adapter, f"its {field} makes another model of the base")
    return config


def _check(adapter: Path, config: PeftConfig, base: Path) -> None:
    """Raise UserError if the adapter's weights are not those that the base would have."""
    from peft import get_peft_model, get_peft_model_state_dict

    try:
        model: Any = get_peft_model(loading.skeleton(base), config)
        expected = get_peft_model_state_dict(model)
    except UserError:
        raise
    # peft raises many classes for layers that it does not find or cannot replace
    except Exception as error:
        raise _refused(adapter, f"it does not fit {base}: {error}") from error
    if not hasattr(model.base_model, "merge_and_unload"):
        raise _refused(adapter, f"peft cannot merge {config.peft_type}")
    stored = {tensor.name: tensor.shape for tensor in headers.of_file(adapter / WEIGHTS)}
    shapes = {name: tuple(value.shape) for name, value in expected.items()}
    for key in sorted(stored.keys() ^ shapes.keys()):
        lacks, has = ("it", "the base") if key in shapes else ("the base", "it")
        raise _refused(adapter, f"{has} has {key}, which {lacks} lacks ({base})")
    for key, shape in stored.items():
        if shape != shapes[key]:
            raise _refused(adapter, f"{key} has shape {shape}, but {base} needs {shapes[key]}")


def _merge(base: Path, adapter: Path, config: PeftConfig, out: Path) -> None:
    import torch
    from peft import PeftModel

    model, tokenizer = loading.load(base, spread=False)
    generation_settings.settle(model.generation_config, base)
    ids = torch.arange(16)[None] % int(model.config.get_text_config().vocab_size)
    try:
        adapted: Any = PeftModel.from_pretrained(model, str(adapter), config=config)
        with torch.no_grad():
            before = adapted(ids).logits
            plain = adapted.merge_and_unload(safe_merge=True)
            change = float((plain(ids).logits - before).abs().max() / before.abs().max())
    # peft lets the errors of many tuners through
    except (ValueError, RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        raise ServiceError(
            f"peft cannot merge {adapter} into {base}: {' '.join(str(error).split())[:200]}."
        ) from error
    if not change <= CLOSE:  # also true of NaN
        raise ServiceError(
            f"Merging {adapter} changes what the adapted model computes: logits differ by"
            f" {change:.1%}. Nothing was kept; this adapter can only be served beside its base."
        )
    stored, usual = precision.stored(base)
    for name, value in plain.named_parameters():
        value.data = value.data.to(getattr(torch, stored.get(name, usual)))
    plain.save_pretrained(out)
    own = (adapter / "tokenizer_config.json").exists()
    loading.save_tokenizer(loading.tokenizer(adapter) if own else tokenizer, out)


def _refused(adapter: Path, why: str) -> UserError:
    reason = " ".join(why.split())[:300].rstrip(".")
    return UserError(f"The adapter {adapter} cannot be merged: {reason}.")
