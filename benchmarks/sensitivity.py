"""Which layers need bits? Our measure against AutoScheme: `python benchmarks/sensitivity.py`.

Both choose 4 or 8 bits for each unit of the embedded model's layers, from the same 24
calibration texts: `comptrust search` by the error of each output and its squared gradient,
AutoScheme of auto-round by the loss that errors and gradients foretell. Their choices are rounded
alike (symmetric, groups of 64) and compared by what becomes of the model: the mean divergence
(nats) of its next-token distribution from the dense model's on 32 other texts. AutoScheme is asked
for an average number of bits, and ours gets no more than what it used.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from comptrust.compression import calibration, sensitivity
from comptrust.compression.targets import target_layers
from comptrust.models import sources
from comptrust.models.loading import load
from comptrust.records import Recipe
from comptrust.search.frontier import Frontier

WIDTHS, GROUP = (4, 8), 64
CALIBRATE, COMPARE = 24, 32
SHARED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
TEXT_TOKENS = 256

Bits = Mapping[str, int]
"""Layer -> bits."""


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns, and its CPU seconds."""
    began = time.process_time()
    return work(), time.process_time() - began


def by_auto_scheme(model: Any, tokenizer: Any, texts: Sequence[str], average: float) -> Bits:
    """Let AutoScheme choose."""
    from auto_round import auto_scheme
    from auto_round.auto_scheme.gen_auto_scheme import AutoScheme, GenScheme
    from auto_round.schemes import QuantizationScheme

    assert auto_scheme
    names = list(target_layers(model))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        # It drops texts that are shorter than its length.
        path.write_text(json.dumps(["\n".join(texts[start::4]) for start in range(4)]))
        wanted = AutoScheme(
            avg_bits=average,
            options=[
                QuantizationScheme(bits=bits, group_size=GROUP, act_bits=16) for bits in WIDTHS
            ],
            shared_layers=SHARED,
            ignore_scale_zp_bits=True,
            nsamples=4,
            seqlen=TEXT_TOKENS,
            batch_size=1,
            dataset=str(path),
            device_map="cpu",
        )
        chosen = GenScheme(
            wanted, model, names, {}, dataset=str(path), device_map="cpu", tokenizer=tokenizer
        ).get_layer_config()
    return {name: int(chosen[name]["bits"]) for name in names}


def by_ours(found: sensitivity.Sensitivity, most: float) -> Bits:
    """Return the largest recipe of the frontier with at most so many bits on average."""
    recipe = Recipe(base_model="m", method="rtn", bits=min(WIDTHS), group_size=GROUP)
    line = Frontier(found, widths=WIDTHS, recipe=recipe, dense_bytes=0.0)
    place = max(place for place in range(len(line)) if line.average_bits(place) <= most + 1e-9)
    bits = line.bits(place)
    return {
        name: width for unit, width in zip(found.units, bits, strict=True) for name in unit.layers
    }


def average(model: Any, bits: Bits) -> float:
    """Return the mean bits of a weight."""
    layers = target_layers(model)
    sizes = {name: layers[name].weight.numel() for name in bits}
    return sum(sizes[name] * width for name, width in bits.items()) / sum(sizes.values())


@torch.no_grad()
def divergence(model: Any, dense: Sequence[torch.Tensor], ids: Sequence[torch.Tensor]) -> float:
    """Return the mean divergence of the next-token distributions from the dense model's, nats."""
    total, count = 0.0, 0
    for given, log in zip(ids, dense, strict=True):
        ours = model(given).logits[0].float().log_softmax(-1)
        total += float((log.exp() * (log - ours)).sum())
        count += len(log)
    return total / count


@torch.no_grad()
def rounded(model: Any, bits: Bits, judge: Callable[[], float]) -> float:
    """Return what `judge` says of the model with its layers rounded; they are put back."""
    layers = target_layers(model)
    kept = {name: layers[name].weight.data.clone() for name in bits}
    for name, width in bits.items():
        weight = layers[name].weight
        weight.data = sensitivity.rounded(weight.data.float(), bits=width, group_size=GROUP)
    try:
        return judge()
    finally:
        for name, weight in kept.items():
            layers[name].weight.data = weight


def main() -> None:
    """Print a row for each budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", type=float, nargs="+", default=[5.0, 6.0, 7.0])
    budgets = parser.parse_args().bits
    logging.disable(logging.WARNING)
    folder = sources.resolve("builtin:smollm2-135m-instruct").path
    model, tokenizer = load(folder)
    model = model.float().eval()
    texts = calibration.choose(
        "builtin", count=CALIBRATE + COMPARE, seed=0, model=model, tokenizer=tokenizer
    )
    ids = calibration.tokenize(texts, tokenizer)
    with torch.no_grad():
        dense = [model(given).logits[0].float().log_softmax(-1) for given in ids[CALIBRATE:]]
    found, seconds = timed(
        lambda: sensitivity.measure(model, ids[:CALIBRATE], bits=WIDTHS, group_size=GROUP)
    )
    print(f"ours: {seconds:.1f} CPU-s, once for all budgets\n")
    print("| mean bits | AutoScheme, CPU-s | AutoScheme, nats | ours, nats |\n|---|---|---|---|")
    for budget in budgets:
        theirs, seconds = timed(
            lambda budget=budget: by_auto_scheme(
                load(folder)[0].float(), tokenizer, texts[:CALIBRATE], budget
            )
        )
        used = average(model, theirs)
        nats = [
            rounded(model, bits, lambda: divergence(model, dense, ids[CALIBRATE:]))
            for bits in (theirs, by_ours(found, used))
        ]
        print(f"| {used:.2f} | {seconds:.1f} | {nats[0]:.4f} | {nats[1]:.4f} |", flush=True)


if __name__ == "__main__":
    main()
