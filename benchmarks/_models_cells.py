"""One cell of `benchmarks.models`: what a command does with a tiny model, in one line.

`exact` means that each answer is the text that `generate` of plain transformers gives on the same
weights, and, for a published layout, that the logits are those of an independent reading of the
files. A refusal counts only if it came before the work; else the line says `late`.
"""

from __future__ import annotations

import copy
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from safetensors import safe_open

from comptrust.cli.app import comptrust

# oneshot is loaded once, before forks
from comptrust.compression import checkpoint, engine, oneshot  # noqa: F401
from comptrust.errors import ServiceError, UserError
from comptrust.models import headers
from comptrust.models.backends.hf import Hf
from comptrust.models.base import generation
from comptrust.models.inference.engine import Request
from comptrust.records import Message, Prompt, Sampling

torch.set_num_threads(1)
engine.import_quietly()

BITS = ["--bits", "4"]
PATTERN = ["--structure", "2:4"]
METHODS = {
    "none": [],
    "magnitude": PATTERN,
    "wanda": PATTERN,
    "sparsegpt": PATTERN,
    "rtn": BITS,
    "gptq": BITS,
    "gptq, its own format": [*BITS, "--format", "gptq"],
    "awq": BITS,
    "awq, its own format": [*BITS, "--format", "awq"],
    "autoround": [*BITS, "--set", "iterations=2"],
    "fp8": [],
    "fp8, static, cache too": ["--set", "scheme=static", "--set", "kv_cache=fp8"],
    "w8a8": [],
    "nvfp4": [],
    "mxfp4": [],
}
"""One or more for each path of the code."""
CALIBRATED = ("wanda", "sparsegpt", "gptq", "awq", "autoround", "fp8, static", "nvfp4")
TEXTS = (
    "The capital of France is",
    "Water boils at one hundred degrees. A kettle on the stove begins to",
    "A robot went to the market. " * 12 + "There it bought",
    "A robot went to the market. " * 12 + "Nobody saw how it",
    "Count: one, two, three,",
    "Rain falls when warm air rises, cools and can no longer hold its water. " * 4,
)
"""Short and long ones, two with a common beginning."""
NEW_TOKENS = 12
NEAR = 0.3
CLOSE = 1e-3
"""Logits have a standard deviation of about 3; what rounding to float32 changes is far smaller."""
DENSE = re.compile(
    r"embed|lm_head|\bwte\b|\bwpe\b|norm|router|\bgate\b|shared_expert_gate|vision|visual|audio"
    r"|conv|projector|dt_proj|A_log|altup|multi_modal|output_projection"
)
"""Names of tensors that stay dense: embeddings, heads, norms, routers, vision and convolutions."""
PACKED = {"I32": 4, "U8": 4, "I8": 8, "F8_E4M3": 8}
"""Dtype of stored codes -> bits of a code, for the methods above."""


def of_method(model: Path, method: str) -> str:
    """Compress a family and answer from the checkpoint."""
    name = method.partition(",")[0]
    words = ["compress", "--model", str(model), "--method", name, *METHODS[method]]
    if method.startswith(CALIBRATED):
        words += ["--calibration-samples", "4"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "checkpoint"
        if refusal := _refusal([*words, "--out", str(out)], hidden=model.parent):
            return refusal
        answered = _same_texts(out)
        return answered if name == "none" else f"{answered}, {_compressed(out, name):.0%}"


def of_layout(place: Path, command: str) -> str:
    """Evaluate or register the folder `model` of a place, made from its folder `dense`."""
    os.chdir(place)
    model = json.loads((place / "layout.json").read_text())["model"]
    if command == "register":
        refusal = _refusal(["register", model, "--base", "dense", "--json"], hidden=place)
        return refusal or _registered(place)
    words = ["evaluate", model, "--dimensions", "mmlu", "--limit", "1", "--out", "out"]
    if refusal := _refusal(words, hidden=place):
        return refusal
    folder = Path(model)
    answered = _same_texts(folder)
    expected = torch.load("logits.pt") if Path("logits.pt").exists() else None
    if expected is None or not answered.startswith("exact"):
        return answered
    from comptrust.models import loading

    loaded, _ = loading.load(folder)
    with torch.no_grad():
        difference = float((loaded(ids()).logits - expected).abs().max())
    return f"exact, {difference:.0e}" if difference < CLOSE else f"WRONG: {difference:.2g} off"


def ids() -> torch.Tensor:
    """Return the tokens whose logits are compared."""
    return torch.arange(40)[None] * 7 % 250


def _registered(place: Path) -> str:
    files = place.rglob("checkpoint.json")
    record = checkpoint.load(max(files, key=lambda path: path.stat().st_mtime).parent)
    return f"`{record.recipe.slug}`, {record.effective_bits:.2f} bits"


def _refusal(words: list[str], *, hidden: Path) -> str | None:
    """Run a command; return why it refused, None if it did the work."""
    done = CliRunner().invoke(comptrust, words)
    error = done.exception
    if error is None:
        return None
    if not isinstance(error, (UserError, ServiceError)):
        raise error
    text = str(error).replace(f"{hidden}/", "")
    kind = "refused" if isinstance(error, UserError) else "failed"
    if "\n" in text or "/tmp" in text or len(text) > 500:
        return f"BAD LINE: {kind}: {text}"
    late = re.search(r"compressing \d+ layer|loading and measuring", done.output + done.stderr)
    return f"{'late ' if late else ''}{kind}: {text}"


def _same_texts(folder: Path) -> str:
    """Tell whether comptrust's answers are those of plain transformers."""
    backend = Hf(folder, template="plain")
    fresh = copy.deepcopy(backend.model)  # dynamic RoPE remembers longer texts
    prompts = [
        Prompt(
            id=str(number),
            dimension="",
            scenario="",
            messages=(Message(role="user", content=text),),
            sampling=Sampling(max_tokens=NEW_TOKENS),
        )
        for number, text in enumerate(TEXTS)
    ]
    answers = {answer.id: answer.texts[0] for answer in backend.answer(prompts)}
    rows = [backend.tokenizer(backend.render(prompt)).input_ids for prompt in prompts]
    requests = [Request(prompt, tuple(row)) for prompt, row in zip(prompts, rows, strict=True)]
    ours = {request.prompt.id: new for request, new in backend.engine.decode(requests)}
    equal = near = 0
    for prompt, row in zip(prompts, rows, strict=True):
        with torch.no_grad():
            settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
            settings |= {"return_dict_in_generate": True, "output_logits": True}
            whole = copy.deepcopy(fresh).generate(torch.tensor([row]), **settings)
        new = whole.sequences[0][len(row) :].tolist()
        text, reason = backend._decoded(row, new)
        plain = generation(prompt, texts=[text], finish_reasons=[reason])
        equal += answers[prompt.id] == plain.texts[0]
        own = float((torch.cat(whole.logits) - _uncached(fresh, row, new)).abs().max())
        logits = _uncached(fresh, row, given := list(ours[prompt.id]))
        short = logits.max(dim=1).values - logits[range(len(given)), given]
        near += float(short.max()) <= max(NEAR, 2 * own)
    if equal == len(TEXTS):
        return "exact"
    rounds = getattr(backend.model, "hf_quantizer", None) is not None
    if rounds and near == len(TEXTS):
        return f"{equal} of {len(TEXTS)}"
    return f"WRONG: {equal} of {len(TEXTS)} texts equal, {near} near"


def _uncached(fresh: Any, tokens: list[int], new: list[int]) -> torch.Tensor:
    """Return the logits of plain transformers for each new token, without a cache.

    Where activations are rounded, those with a cache are others.
    """
    with torch.no_grad():
        logits = copy.deepcopy(fresh)(torch.tensor([[*tokens, *new]]), use_cache=False).logits[0]
    return logits[len(tokens) - 1 : -1]


def _compressed(folder: Path, method: str) -> float:
    """Return the share of the matrices, by weights, that the files hold packed or half empty."""
    packed = dense = 0.0
    pruned = METHODS[method] is PATTERN
    for tensor in headers.tensors(folder):
        if DENSE.search(tensor.name) or sum(size > 1 for size in tensor.shape) < 2:
            continue
        if tensor.name.endswith(("weight", "weight_packed", "qweight", "_proj", "linear")):
            if tensor.dtype in PACKED:
                packed += 8 * tensor.stored / PACKED[tensor.dtype]
            elif pruned and _zeros(tensor) >= 0.5:
                packed += tensor.count
            else:
                dense += tensor.count
    return packed / (packed + dense)


def _zeros(tensor: headers.Tensor) -> float:
    with safe_open(tensor.path, "pt") as file:
        values = file.get_tensor(tensor.name)
    return 1 - float(values.count_nonzero()) / values.numel()
