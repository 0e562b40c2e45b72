"""Answer prompts through a vLLM server of the model, started for this."""

from pathlib import Path

from comptrust.models import memory
from comptrust.models.backends.openai import Openai
from comptrust.models.base import Tokenizer
from comptrust.models.own_template import NO_ARGUMENTS, Arguments
from comptrust.models.serving import Server


class Vllm(Openai):
    """A model folder that a server of `comptrust.models.serving` serves.

    Made by `comptrust.models.engines.opened`, which starts and stops the server.
    """

    name = "vllm"

    def __init__(
        self,
        path: Path,
        *,
        server: Server,
        tokenizer: Tokenizer,
        dtype: str,
        batch_size: int | None = None,
        template: str | None = None,
        template_args: Arguments = NO_ARGUMENTS,
        patience: float = 120.0,
    ) -> None:
        """Set up the backend; `batch_size` requests will run at once."""
        super().__init__(
            server.name,
            base_url=server.url,
            batch_size=batch_size,
            template=template,
            template_args=template_args,
            tokenizer=tokenizer,
            patience=patience,
            gone=server.gone,
        )
        self._server, self._path, self._dtype = server, path, f"torch.{dtype}"
        self._where = "vLLM, started for this"

    def describe(self) -> dict[str, str]:
        """Return provenance: the version is vLLM's own word."""
        return super().describe() | {"served_model": self._path.name}

    def machine(self) -> dict[str, str]:
        """Return facts about the machine, with the kernels that the server says it uses."""
        quantization = memory.quantization(self._path).get("quant_method", "none")
        return {
            **super().machine(),
            "quantization": str(quantization),
            "kernels": self._server.kernels(),
        }
