"""Which engine answers, and a backend of it for as long as a block lasts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comptrust.errors import UserError, unknown
from comptrust.models import chat, gpus, precision, servers, serving, vllm_program
from comptrust.models.base import BACKENDS, Backend, Loaded
from comptrust.models.own_template import Arguments
from comptrust.records import Dtype, Recipe

AUTO = "auto"


@dataclass(frozen=True)
class EngineOptions:
    """How a model is to answer."""

    engine: str = AUTO
    """`auto` (see `asks`), `vllm` (a server started here), `openai` or another backend."""
    dtype: Dtype = "auto"
    batch_size: int | None = None
    base_url: str | None = None
    template: str | None = None
    """Chat format; None means the model's own."""
    template_args: Arguments = field(default_factory=dict)
    tokenizer: str | None = None
    """Folder or id of the tokenizer of a model on somebody else's server."""
    patience: float = 120.0
    at_once: int = 1
    """Models that are asked at the same time; a server takes its part of the GPUs' memory."""

    @property
    def asks(self) -> str:
        """The name of the backend that answers.

        `auto` is openai with a base_url, vllm where a GPU and vLLM are there, and else hf.
        """
        if self.engine != AUTO:
            return self.engine
        if self.base_url:
            return "openai"
        return "vllm" if gpus.count() and vllm_program.found() else "hf"

    def check(self) -> None:
        """Raise UserError for options that do not go together, before anything is loaded."""
        if self.template:
            chat.named(self.template)
        if self.template_args and self.base_url and not self.tokenizer:
            raise UserError(
                f"template_args {', '.join(self.template_args)}: the server fills its own chat"
                " template. Give the tokenizer (a folder or an id), so that it is filled here."
            )
        if self.engine not in (known := (AUTO, *BACKENDS.names())):
            raise unknown("engine", self.engine, known)
        asks = self.asks
        for option in ("base_url", "tokenizer"):
            if (value := getattr(self, option)) and asks != "openai":
                raise UserError(
                    f"{option} {value} needs engine openai; engine {asks} "
                    + ("starts its own server." if asks == "vllm" else "asks the model itself.")
                )
        if asks == "vllm":
            vllm_program.program()
        if asks == "openai" and not self.base_url:
            raise UserError(
                "Engine openai needs base_url, the root of the server's API, such as"
                " http://localhost:8000/v1. To start a server, use engine vllm."
            )
        if self.dtype != "auto" and asks not in ("hf", "vllm"):
            raise UserError(
                f"dtype {self.dtype} cannot be set with engine {asks}. Leave it out, or use engine"
                " hf or vllm."
            )

    def check_own(self, recipe: Recipe | None = None) -> None:
        """Do the same for a checkpoint of ours, made from this recipe.

        Somebody else's server cannot prove that it serves it.
        """
        if self.asks == "openai":
            raise UserError(
                "Engine openai asks a server whose weights cannot be seen, so its answers are not"
                " proven to be the checkpoint's. Use engine vllm, which serves the checkpoint; for"
                " the server's own answers: comptrust evaluate NAME --base-url URL"
            )
        self.check()
        if recipe and self.asks == "vllm":
            server = "vllm" if gpus.count() else "vllm-cpu"
            fields = recipe.model_dump(include={"method", "bits", "format", "options"})
            why, kind = servers.answer(server, **fields)
            if why:  # what is not known, vLLM itself tells
                raise UserError(
                    f"{servers.SERVERS[server]} cannot load {kind}: {why}; or use engine hf."
                )
            if server == "vllm-cpu" and recipe.method in servers.INTEGERS:
                serving.check_processor()


@contextmanager
def opened(
    folder: Path,
    options: EngineOptions,
    *,
    name: str,
    log: Path,
    loaded: Callable[[], Loaded] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Backend]:
    """Load a model folder, or serve it under a name, while the block lasts.

    A server is ready when the block begins, writes to `log`, and ends with the block. `loaded`
    returns the model if it may be in memory; only the engine hf calls it. Raises UserError for a
    folder that the engine cannot load, ServiceError if memory or the server fails.
    """
    if note := precision.slow_here(options.dtype, accelerator=gpus.count() > 0):
        say(note)
    if options.asks != "vllm":
        new: dict[str, Any] = {} if options.dtype == "auto" else {"dtype": options.dtype}
        if options.template_args:
            new["template_args"] = options.template_args
        if loaded and options.asks == "hf":
            new["loaded"] = loaded()
        # a backend of another package need not know these
        backend = BACKENDS.get(options.asks)
        yield backend(folder, batch_size=options.batch_size, template=options.template, **new)
        return
    from comptrust.models import loading
    from comptrust.models.backends.vllm import Vllm

    dtype = serving.computed(folder, options.dtype)
    share = gpus.SHARE / options.at_once
    with serving.vllm(folder, name=name, dtype=dtype, share=share, log=log, say=say) as server:
        yield Vllm(
            folder,
            batch_size=options.batch_size,
            template=options.template,
            template_args=options.template_args,
            dtype=dtype,
            tokenizer=loading.tokenizer(folder),
            server=server,
            patience=options.patience,
        )
