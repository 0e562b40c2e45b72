"""llm-compressor's modifiers, which also say in which layers they fell back to something simpler.

GPTQ and SparseGPT need the inverse of a layer's Hessian. If it cannot be inverted, the library
rounds to nearest or prunes by magnitude instead, and only logs that.
"""

from typing import Any

import torch
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
from pydantic import Field


class Gptq(GPTQModifier):
    """GPTQ that keeps the names of the layers that were rounded to nearest."""

    fell_back: list[str] = Field(default_factory=list)

    def _log_rtn_fallback_summary(self) -> None:
        self.fell_back.extend(self._rtn_fallback_module_names)
        super()._log_rtn_fallback_summary()  # type: ignore[no-untyped-call]


class _Flat:
    """Hand over inputs of any number of dimensions, as latent attention has them, as rows."""

    def calibrate_module(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        super().calibrate_module(module, (args[0].flatten(0, -2),), output)  # type: ignore[misc]


class Wanda(_Flat, WandaPruningModifier):
    """Wanda."""


class SparseGpt(_Flat, SparseGPTModifier):
    """SparseGPT that keeps the names of the layers whose remaining weights it did not adjust."""

    fell_back: list[str] = Field(default_factory=list)

    def compress_modules(self) -> None:
        before: dict[Any, torch.Tensor] = {
            module: module.weight.detach().clone()  # type: ignore[operator]
            for module in self._num_samples
        }
        super().compress_modules()  # type: ignore[no-untyped-call]
        for module, weight in before.items():
            kept = module.weight != 0
            if torch.equal(module.weight[kept], weight[kept]):
                self.fell_back.append(self._module_names[module].rstrip("."))
