"""The target of an evaluation: which model it is, and a backend that answers for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comptrust import digests
from comptrust.compression import checkpoint
from comptrust.errors import UserError, unknown
from comptrust.gate.signing import seals
from comptrust.models import chat, precision, presets, prompting, sources
from comptrust.models.base import BACKENDS, Backend
from comptrust.models.own_template import Arguments
from comptrust.records import Checkpoint, Dtype, Suite
from comptrust.tracking.registry import local_model
from comptrust.trust import run
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow import measuring

ENGINES = ("auto", "vllm")
"""Names of engines beside those of the backends."""


@dataclass(frozen=True)
class BackendOptions:
    """How the target is to answer."""

    engine: str = "auto"
    """`auto` (openai with a base_url, else hf), `vllm` (a server started here) or a backend."""
    dtype: Dtype = "auto"
    batch_size: int | None = None
    base_url: str | None = None
    serve: str | None = None
    template: str | None = None
    template_args: Arguments = field(default_factory=dict)
    tokenizer: str | None = None
    patience: float = 120.0

    @property
    def asks(self) -> str:
        """What answers: `vllm`, or the name of a backend."""
        if self.engine in ("auto", "openai", "vllm") and (self.serve or self.engine == "vllm"):
            return "vllm"
        if self.engine != "auto":
            return self.engine
        return "openai" if self.base_url else "hf"

    def check(self) -> None:
        """Raise UserError for options that do not go together, before anything is loaded."""
        if self.template:
            chat.named(self.template)
        if self.template_args and self.base_url and not self.tokenizer:
            raise UserError(
                f"template_args {', '.join(self.template_args)}: the server fills its own chat"
                " template. Give the tokenizer (a folder or an id), so that it is filled here."
            )
        if self.engine not in (*ENGINES, *BACKENDS.names()):
            raise unknown("engine", self.engine, (*ENGINES, *BACKENDS.names()))
        asks, server = self.asks, {"base_url": self.base_url}
        if asks not in ("openai", "vllm"):
            server |= {"serve": self.serve, "tokenizer": self.tokenizer}
            for option, value in server.items():
                if value:
                    raise UserError(
                        f"{option} {value} needs engine openai; engine {asks} asks the model"
                        " itself."
                    )
        elif asks == "vllm" and self.base_url:
            raise UserError(
                f"Engine vllm starts its own server; leave out base_url {self.base_url}."
            )
        elif asks == "vllm":
            from comptrust.models import serving

            serving.program()
        elif asks == "openai" and not self.base_url:
            raise UserError(
                "Engine openai needs base_url, the root of the server's API, such as"
                " http://localhost:8000/v1. To start a server, use engine vllm."
            )
        if self.dtype != "auto" and asks not in ("hf", "vllm"):
            raise UserError(
                f"dtype {self.dtype} cannot be set with engine {asks}. Leave it out, or use engine"
                " hf or vllm."
            )


def check_out(out: Path, suite: Suite, *, model: str) -> None:
    """Raise UserError if a folder has anything but an evaluation of this suite and model digest."""
    run.check_owner(out, {"suite": suite.digest, "checkpoint": model})
    others = [path for path in out.glob("*") if path.name != seals.NAME]
    if out.is_file() or (others and not (out / run.OWNER).exists()):
        raise UserError(
            f"{out} exists already and is not an evaluation. Choose another folder or remove it."
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
    record: Checkpoint | None = None
    """The checkpoint's record, if comptrust wrote the folder."""
    gguf: Path | None = None
    """The GGUF file that `path` was converted from."""


def target(given: str, options: BackendOptions) -> Target:
    """Resolve a target. Raises UserError for an unknown model or a changed checkpoint."""
    template = options.template or presets.template(given)
    if options.base_url:
        digest = digests.of_value({"server": options.base_url.rstrip("/"), "model": given})
        return Target(given.replace("/", "--"), digest, None, template)
    source = sources.resolve(local_model(given))
    folder = source.gguf.parent if source.gguf else source.path
    if not (folder / checkpoint.NAME).exists():
        return Target(source.path.name, source.revision, source.path, template, gguf=source.gguf)
    if changed := checkpoint.verify(folder):
        raise UserError(
            f"{given} is corrupt: {', '.join(changed)} changed since it was written. Compress"
            " again."
        )
    record = checkpoint.load(folder)
    template = options.template or presets.template(record.recipe.base_model)
    return Target(folder.name, record.digest, source.path, template, record, source.gguf)


def evaluate(
    target: Target,
    options: BackendOptions,
    suite: Suite,
    *,
    given: str,
    out: Path,
    allow_partial: bool = False,
    seal: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Let a target answer a suite, as `trust.run.evaluate` does, and sign if there is a key."""
    witness = measuring.Witness(seal=seal)
    if target.path:
        prompting.check(
            target.path,
            suite.prompts,
            template=target.template,
            arguments=options.template_args,
        )
    ledger = witness.ledger(suite)
    witness.place(out)
    log = out.with_name(f"{out.name}-server.log")
    with backend(target, options, given=given, log=log, say=say) as answering:
        # loading comes first: it says best what is wrong with a folder
        weights = {"weights": precision.weights(target.gguf or target.path)} if target.path else {}
        if target.record:
            dense = target.record.recipe.method == "none"
        else:
            dense = weights.get("weights", "").startswith("dense")
        run.evaluate(
            answering,
            suite,
            out=out,
            checkpoint_digest=target.digest,
            allow_partial=allow_partial,
            facts=weights,
            dense=dense,
            ledger=ledger,
            say=say,
        )
        measuring.serving_cost(answering, out, say=say)
    if target.record:
        text = target.record.model_dump_json(indent=2) + "\n"
        digests.write_atomic(out / checkpoint.NAME, text)
    return witness.sign(out, ledger)


@contextmanager
def backend(
    target: Target,
    options: BackendOptions,
    *,
    given: str,
    log: Path,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Backend]:
    """Load the model, or reach its server, or run one, which writes to `log`, in the block."""
    asks, path = options.asks, target.path
    if asks not in ("openai", "vllm") and path:
        # a backend of another package need not know these
        new: dict[str, Any] = {} if options.dtype == "auto" else {"dtype": options.dtype}
        if options.template_args:
            new["template_args"] = options.template_args
        yield BACKENDS.get(asks)(
            path, batch_size=options.batch_size, template=target.template, **new
        )
        return
    from comptrust.models import loading, serving
    from comptrust.models.backends.openai import Openai

    folder = path
    if folder is None and options.tokenizer:
        folder = sources.resolve(local_model(options.tokenizer)).path
    settings: dict[str, Any] = {
        "batch_size": options.batch_size,
        "template": target.template,
        "template_args": options.template_args,
        "tokenizer": loading.tokenizer(folder) if folder else None,
        "patience": options.patience,
    }
    if options.base_url:
        yield Openai(given, base_url=options.base_url, **settings)
        return
    assert path is not None
    computed = serving.computed(path, options.dtype)
    with serving.vllm(path, name=target.name, dtype=computed, log=log, say=say) as url:
        settings |= {"where": "vLLM, started for this", "dtype": f"torch.{computed}"}
        yield Openai(target.name, base_url=url, **settings)
