"""GPTQ: quantize column by column, and let the remaining columns compensate for the error."""

from pydantic import Field

from comptrust.compression import engine
from comptrust.compression.base import Module, Quantization, Samples


class Gptq(Quantization):
    """GPTQ (Frantar et al. 2023, https://arxiv.org/abs/2210.17323), symmetric.

    Sample: `{method: gptq, bits: 4, group_size: 64, options: {act_order: true, dampening: 0.01}}`
    """

    act_order: bool = True
    """Quantize the columns with the largest activations first; their order on disk stays."""
    dampening: float = Field(0.01, gt=0, le=1)
    """Share of the Hessian's mean diagonal added to it before inversion."""

    def apply(self, model: Module, samples: Samples) -> list[str]:
        engine.import_quietly()
        from comptrust.compression.modifiers import Gptq as Modifier

        modifier = Modifier(
            **self.weights(model, symmetric=True),
            actorder="static" if self.act_order else None,
            dampening_frac=self.dampening,
        )
        engine.oneshot(model, [modifier], samples=samples)
        return modifier.fell_back
