"""A kernel of vLLM's for packed integers that is plain torch, where a processor has no own one."""

from pathlib import Path

NAME = "comptrust_plain_kernel"
ENTRY = f"[vllm.general_plugins]\n{NAME} = {NAME}:register\n"
KERNEL = """
import torch
from vllm.model_executor.kernels import linear
from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import MPLinearKernel
from vllm.model_executor.layers.quantization.utils.quant_utils import (
    unpack_quantized_values_into_int32,
)
from vllm.platforms import PlatformEnum


class PlainLinearKernel(MPLinearKernel):
    @classmethod
    def get_min_capability(cls):
        return -1

    @classmethod
    def can_implement(cls, config):
        return not config.zero_points, "it knows symmetric weights only"

    def process_weights_after_loading(self, layer):
        packed, scales, _ = self._get_weight_params(layer)
        kind = self.config.weight_type
        values = unpack_quantized_values_into_int32(packed.data, kind, packed.packed_dim)
        if packed.input_dim == 0:
            values = values.t()
        grouped = scales.data if scales.output_dim == 0 else scales.data.t()
        size = values.shape[1] // grouped.shape[1]
        weight = (values - kind.bias).to(grouped.dtype) * grouped.repeat_interleave(size, dim=1)
        layer.plain_weight = weight.to(self.config.act_type)

    def apply_weights(self, layer, x, bias=None):
        return torch.nn.functional.linear(x, layer.plain_weight, bias)


def register():
    linear._POSSIBLE_KERNELS[PlatformEnum.CPU].insert(0, PlainLinearKernel)
"""


def install(folder: Path) -> None:
    """Write the plug-in to a folder. vLLM finds it with that folder in PYTHONPATH."""
    found = folder / f"{NAME}-1.0.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
    (found / "entry_points.txt").write_text(ENTRY)
    (folder / f"{NAME}.py").write_text(KERNEL)
