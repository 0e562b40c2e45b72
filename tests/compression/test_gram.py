"""AWQ on Gram matrices: loss, rounding and choice agree with tokens, checkpoint and library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.quantization import QuantizationArgs, disable_quantization
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from llmcompressor.modifiers import Modifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.observers import Observer
from llmcompressor.pipelines.cache import IntermediatesCache

from comptrust.compression import calibration, engine, gram, smoothing
from comptrust.compression.methods.awq import Awq
from comptrust.models.loading import load

WIDTH = gram.STRIPE_WIDTH


def test_a_small_case_by_hand() -> None:
    # X^T X = [[10, 14], [14, 20]]. The error (1, -1) changes both outputs by -1, the error (0, 2)
    # changes them by 4 and 8.
    sums = gram.Gram(2)
    sums.add(torch.tensor([[1.0, 2.0]]))
    sums.add(torch.tensor([[3.0, 4.0]]))
    assert float(sums.loss(torch.tensor([[1.0, -1.0]]))) == 2
    assert float(sums.loss(torch.tensor([[1.0, -1.0], [0.0, 2.0]]))) == 2 + 80
    assert sums.mean_size().tolist() == [2, 3]


@pytest.mark.parametrize(
    "width", [1, gram.STRIPE_WIDTH, gram.STRIPE_WIDTH + 1, 3 * gram.STRIPE_WIDTH + 20]
)
def test_the_loss_is_that_of_the_tokens(width: int) -> None:
    torch.manual_seed(0)
    tokens = [
        torch.randn(1, length, width) * torch.linspace(0.1, 9, width)
        for length in (7, gram.TOKENS_PER_UPDATE - 1, 300, 2)
    ]
    sums = gram.Gram(width)
    for part in tokens:
        sums.add(part)
    error = torch.randn(5, width) / 50
    direct = sum(((part @ error.T).double() ** 2).sum() for part in tokens)
    assert float(sums.loss(error)) == pytest.approx(float(direct), rel=1e-5)
    assert torch.allclose(
        sums.mean_size(), torch.cat(tokens, dim=1)[0].abs().mean(dim=0), rtol=1e-5
    )


@pytest.mark.parametrize("bits", [3, 6, 8])
def test_rounding_is_the_checkpoints(bits: int) -> None:
    torch.manual_seed(bits)
    weight = (
        torch.randn(20, 128) + torch.linspace(-3, 3, 20)[:, None]
    )  # some groups on one side of zero
    weight[3] = 0
    scheme = QuantizationArgs(
        num_bits=bits, type="int", symmetric=False, strategy="group", group_size=32
    )
    observer = Observer.load_from_registry("memoryless_minmax", base_name="weight", args=scheme)
    qparams = observer(weight).get_qparams()
    expected = fake_quantize(weight, qparams["scale"], qparams["zero_point"], scheme)
    assert torch.allclose(gram.rounded(weight, bits=bits, group_size=32), expected, atol=1e-6)


def test_best_is_the_smallest_loss_on_the_tokens() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(500, 64) * torch.logspace(-1, 1, 64)
    weights = [torch.randn(200, 64), torch.randn(30, 64)]
    sums = gram.Gram(64)
    sums.add(tokens)
    candidates = [tokens.abs().mean(dim=0) ** (step / 10) for step in range(11)]

    def direct(scales: torch.Tensor) -> float:
        return sum(
            float(
                (
                    (
                        tokens
                        @ (gram.rounded(weight * scales, bits=3, group_size=32) / scales - weight).T
                    )
                    ** 2
                ).sum()
            )
            for weight in weights
        )

    chosen = gram.best(candidates, weights=weights, gram=sums, bits=3, group_size=32)
    losses = [direct(scales) for scales in candidates]
    assert 0 < losses.index(min(losses)) < 10
    assert chosen is candidates[losses.index(min(losses))]


def test_broken_activations_scale_nothing() -> None:
    sums = gram.Gram(32)
    sums.add(torch.full((3, 32), torch.nan))
    chosen = gram.best(
        [torch.full((32,), 2.0)], weights=[torch.randn(4, 32)], gram=sums, bits=4, group_size=32
    )
    assert chosen.tolist() == [1] * 32


class Compressed:
    """The tiny model after one of the two AWQs, with the error of its outputs.

    The error is measured with and without the rounding.
    """

    def __init__(self, folder: Path, modifier: Modifier | None, *, bits: int) -> None:
        self.model, tokenizer = load(folder)
        self.before = {name: value.clone() for name, value in self.model.state_dict().items()}
        texts = calibration.choose(
            "builtin", count=12, seed=0, model=self.model, tokenizer=tokenizer
        )
        self.samples = calibration.tokenize(texts, tokenizer)
        dense = self.outputs()
        scheme = Awq(bits=bits, group_size=32).weights(self.model, symmetric=False)
        ours = modifier is None
        modifier = modifier or gram.GramAWQ(pairs=smoothing.pairs(self.model, self.samples[0]))
        engine.oneshot(
            self.model,
            [modifier, QuantizationModifier(**scheme)],
            samples=self.samples,
            changes_outputs=not ours,
        )
        self.error = float((self.outputs() - dense).square().mean())
        self.model.apply(disable_quantization)
        self.error_of_scaling = float((self.outputs() - dense).square().mean())

    @torch.no_grad()
    def outputs(self) -> torch.Tensor:
        return torch.cat([self.model(ids).logits[0] for ids in self.samples])

    def scales(self, name: str) -> torch.Tensor:
        changed: Any = self.model.get_submodule(name)
        return (changed.weight / self.before[f"{name}.weight"]).median(dim=0).values


@pytest.mark.parametrize("bits", [3, 4])
def test_against_the_library(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    monkeypatch.setattr(
        # the library fails without an accelerator
        IntermediatesCache,
        "pin_memory",
        lambda *_: None,
    )
    ours = Compressed(tiny_model, None, bits=bits)
    library = Compressed(tiny_model, AWQModifier(), bits=bits)
    for block in range(2):  # for this layer, both losses look at its own output
        name = f"model.layers.{block}.mlp.down_proj"
        assert not torch.allclose(ours.scales(name), torch.ones(128), rtol=1e-2)
        assert torch.allclose(ours.scales(name), library.scales(name), rtol=1e-3)
    assert ours.error < 1.02 * library.error
    assert ours.error_of_scaling < 1e-6 * ours.error
