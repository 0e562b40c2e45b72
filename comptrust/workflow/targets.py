"""The target of an evaluation: which model it is, and a backend that answers for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comptrust import digests
from comptrust.compression import checkpoint
from comptrust.errors import UserError, unknown
from comptrust.models import chat, presets, sources
from comptrust.models.base import BACKENDS, Backend
from comptrust.tracking.registry import local_model


@dataclass(frozen=True)
class BackendOptions:
    """How the target is to answer."""

    backend: str = "hf"
    batch_size: int | None = None
    base_url: str | None = None
    serve: str | None = None
    template: str | None = None
    tokenizer: str | None = None
    patience: float = 120.0

    def check(self) -> None:
        """Raise UserError for options that do not go together, before anything is loaded."""
        if self.template:
            chat.named(self.template)
        if self.backend not in BACKENDS.names():
            raise unknown("backend", self.backend, BACKENDS.names())
        if self.backend != "openai":
            needs_server = {
                "base_url": self.base_url,
                "serve": self.serve,
                "tokenizer": self.tokenizer,
            }
            for option, value in needs_server.items():
                if value:
                    raise UserError(
                        f"{option} {value} needs backend openai; backend {self.backend} asks the"
                        " model itself."
                    )
        elif self.serve and self.base_url:
            raise UserError(
                f"serve {self.serve} starts its own server; leave out base_url {self.base_url}."
            )
        elif not self.serve and not self.base_url:
            raise UserError(
                "Backend openai needs base_url, the root of the server's API, such as"
                " http://localhost:8000/v1, or serve vllm."
            )


@dataclass(frozen=True)
class Target:
    """The model that is asked."""

    name: str
    digest: str
    """Of the checkpoint's files; of server and model name where the files are not known."""
    path: Path | None
    """Folder of the model; None for one on somebody else's server."""
    template: str | None
    """Chat format: the given one, else the preset's; None means the model's own."""


def target(given: str, options: BackendOptions) -> Target:
    """Resolve a target.

    Raises UserError for a checkpoint that changed since it was written, or an unknown model.
    """
    template = options.template or presets.template(given)
    if options.base_url:
        digest = digests.of_value({"server": options.base_url.rstrip("/"), "model": given})
        return Target(given.replace("/", "--"), digest, None, template)
    source = sources.resolve(local_model(given))
    if not (source.path / checkpoint.NAME).exists():
        return Target(source.path.name, source.revision, source.path, template)
    if changed := checkpoint.verify(source.path):
        raise UserError(
            f"{given} is corrupt: {', '.join(changed)} changed since it was written. Compress"
            " again."
        )
    record = checkpoint.load(source.path)
    template = options.template or presets.template(record.recipe.base_model)
    return Target(source.path.name, record.digest, source.path, template)


@contextmanager
def backend(
    target: Target,
    options: BackendOptions,
    *,
    given: str,
    log: Path,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Backend]:
    """Load the model, or reach its server, or start a server and stop it afterwards.

    A server that is started here writes to `log`.
    """
    if options.backend != "openai" and target.path:
        yield BACKENDS.get(options.backend)(
            target.path, batch_size=options.batch_size, template=target.template
        )
        return
    from comptrust.models import loading, serving
    from comptrust.models.backends.openai import Openai

    folder = target.path
    if folder is None and options.tokenizer:
        folder = sources.resolve(local_model(options.tokenizer)).path
    settings: dict[str, Any] = {
        "batch_size": options.batch_size,
        "template": target.template,
        "tokenizer": loading.tokenizer(folder) if folder else None,
        "patience": options.patience,
    }
    if options.base_url:
        yield Openai(given, base_url=options.base_url, **settings)
        return
    assert target.path is not None
    with serving.vllm(target.path, name=target.name, log=log, say=say) as url:
        yield Openai(target.name, base_url=url, where="vLLM, started for this", **settings)
