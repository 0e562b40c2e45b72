"""What `evaluate` and `register` share: TARGET becomes a backend that answers, a name for its
results and the digest of what answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comptrust import digests
from comptrust.cli.options import say
from comptrust.compression import checkpoint
from comptrust.errors import UserError, unknown
from comptrust.models import chat, presets, sources
from comptrust.models.base import BACKENDS, Backend
from comptrust.workflow.models import local_model


@dataclass(frozen=True)
class Ask:
    """How TARGET is asked, as the options say."""

    backend: str
    batch_size: int | None
    base_url: str | None = None
    serve: str | None = None
    template: str | None = None
    tokenizer: str | None = None
    patience: float = 120.0

    def check(self) -> None:
        """Raise UserError for options that do not go together, before anything is loaded."""
        if self.template:
            chat.named(self.template)
        known = [
            name for name in BACKENDS.names() if name != "echo"
        ]  # which answers without a model, for tests
        if self.backend not in known:
            raise unknown("backend", self.backend, known)
        if self.backend != "openai":
            for option, value in (
                ("--base-url", self.base_url),
                ("--serve", self.serve),
                ("--tokenizer", self.tokenizer),
            ):
                if value:
                    raise UserError(
                        f"{option} {value} needs --backend openai; --backend {self.backend} asks"
                        " the model itself."
                    )
        elif self.serve and self.base_url:
            raise UserError(
                f"--serve {self.serve} starts a server of its own; leave out --base-url"
                f" {self.base_url}."
            )
        elif not self.serve and not self.base_url:
            raise UserError(
                "--backend openai needs --base-url, the root of the server's API, such as"
                " http://localhost:8000/v1, or --serve vllm."
            )


@dataclass(frozen=True)
class Target:
    """What is asked."""

    name: str
    digest: str
    """Of the checkpoint's bytes; of server and model name where the bytes are not known."""
    path: Path | None
    """Folder of the model, None for one that somebody else serves."""
    template: str | None
    """Chat format: the one asked for, else the preset's; None takes the model's own."""


def target(given: str, ask: Ask) -> Target:
    """Resolve TARGET. Raises UserError for a checkpoint that changed since it was written, or a
    name that is no model.
    """
    if ask.base_url:
        digest = digests.of_value({"server": ask.base_url.rstrip("/"), "model": given})
        return Target(
            given.replace("/", "--"), digest, None, ask.template or presets.template(given)
        )
    source = sources.resolve(local_model(given))
    if not (source.path / checkpoint.NAME).exists():
        return Target(
            source.path.name, source.revision, source.path, ask.template or presets.template(given)
        )
    if changed := checkpoint.verify(source.path):
        raise UserError(
            f"{given} is corrupt: {', '.join(changed)} changed since it was written. Compress"
            " again."
        )
    record = checkpoint.load(source.path)
    return Target(
        source.path.name,
        record.digest,
        source.path,
        ask.template or presets.template(record.recipe.base_model),
    )


@contextmanager
def backend(found: Target, ask: Ask, *, given: str, log: Path) -> Iterator[Backend]:
    """Load the model, or reach its server, or start one that writes to `log` and stop it
    afterwards.
    """
    if ask.backend != "openai" and found.path:
        yield BACKENDS.get(ask.backend)(
            found.path, batch_size=ask.batch_size, template=found.template
        )
        return
    from comptrust.models import loading, serving
    from comptrust.models.backends.openai import Openai

    folder = found.path or (
        sources.resolve(local_model(ask.tokenizer)).path if ask.tokenizer else None
    )
    tokenizer = loading.tokenizer(folder) if folder else None
    settings: dict[str, Any] = {
        "batch_size": ask.batch_size,
        "template": found.template,
        "tokenizer": tokenizer,
        "patience": ask.patience,
    }
    if ask.base_url:
        yield Openai(given, base_url=ask.base_url, **settings)
        return
    assert found.path is not None
    with serving.vllm(found.path, name=found.name, log=log, say=say) as url:
        yield Openai(found.name, base_url=url, where="vLLM, started for this", **settings)
