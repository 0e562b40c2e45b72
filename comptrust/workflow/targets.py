"""The target of an evaluation: which model it is, and a backend that answers for it."""

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comptrust import digests
from comptrust.compression import checkpoint
from comptrust.errors import UserError
from comptrust.gate.policy import Policy
from comptrust.gate.signing import seals
from comptrust.models import engines, precision, presets, prompting, sources
from comptrust.models.base import Backend
from comptrust.models.engines import EngineOptions
from comptrust.records import Checkpoint, Stop, Suite
from comptrust.tracking.registry import local_model
from comptrust.trust import kept as kept_answers
from comptrust.trust import run
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow import early, measuring
from comptrust.workflow.side import Say


def check_out(out: Path, suite: Suite, *, model: str) -> None:
    """Raise UserError if a folder has anything but an evaluation of this suite and model digest."""
    kept_answers.check_owner(out, {"suite": suite.digest, "checkpoint": model})
    others = [path for path in out.glob("*") if path.name != seals.NAME]
    if out.is_file() or (others and not (out / kept_answers.OWNER).exists()):
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


def target(given: str, options: EngineOptions) -> Target:
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
    options: EngineOptions,
    suite: Suite,
    *,
    given: str,
    out: Path,
    allow_partial: bool = False,
    seal: Path | None = None,
    say: Say = lambda line: None,
) -> Evaluation:
    """Let a target answer a suite, as `trust.run.evaluate` does, and sign if there is a key."""
    witness = measuring.Witness(seal=seal)
    with asked(target, options, suite, witness, given=given, kept=out, say=say) as model:
        for name in suite.required:
            model.asking.ask(name)
        return model.finish(suite, out=out, allow_partial=allow_partial, say=say)


def evaluate_early(
    target: Target,
    dense: Target,
    options: EngineOptions,
    suite: Suite,
    *,
    policy: Policy,
    given: str,
    out: Path,
    seal: Path | None = None,
    say: Say = lambda line: None,
) -> tuple[Evaluation, Evaluation]:
    """Let a target and its dense source answer until a policy's margins are decided.

    Their evaluations go to `out`/candidate and `out`/dense, all answers to `out`/kept.
    """
    if target.record is None:
        raise UserError(
            f"{given} has no checkpoint.json, so nothing says how it was compressed and which"
            " margins apply. Use --stop full, or `comptrust register --evaluate`."
        )
    open_ = functools.partial(
        asked,
        options=dataclasses.replace(options, at_once=2),
        suite=suite,
        witness=measuring.Witness(seal=seal),
        stop="early",
        say=say,
    )
    with (
        open_(target, given=given, kept=out / "kept" / "candidate") as candidate,
        open_(dense, given=dense.name, kept=out / "kept" / "dense") as own,
    ):
        record = target.record
        part = early.ask(candidate.asking, own.asking, suite, policy, record=record, say=say)
        measured = candidate.finish(part, out=out / "candidate", say=say)
        return measured, own.finish(part, out=out / "dense", say=say)


@dataclass(frozen=True)
class Asked:
    """A target that is being asked."""

    target: Target
    backend: Backend
    asking: run.Asking
    witness: measuring.Witness

    def finish(
        self, suite: Suite, *, out: Path, allow_partial: bool = False, say: Say
    ) -> Evaluation:
        """Score and sign the answers to a suite, or to the part of it that was asked."""
        target, weights = self.target, {}
        if target.path:
            weights = {"weights": precision.weights(target.gguf or target.path)}
        if target.record:
            dense = target.record.recipe.method == "none"
        else:
            dense = weights.get("weights", "").startswith("dense")
        self.witness.place(out)
        self.asking.finish(suite, out=out, allow_partial=allow_partial, facts=weights, dense=dense)
        measuring.serving_cost(self.backend, out, say=say)
        if target.record:
            text = target.record.model_dump_json(indent=2) + "\n"
            digests.write_atomic(out / checkpoint.NAME, text)
        return self.witness.sign(out, self.asking.ledger)


@contextmanager
def asked(
    target: Target,
    options: EngineOptions,
    suite: Suite,
    witness: measuring.Witness,
    *,
    given: str,
    kept: Path,
    stop: Stop = "full",
    say: Say,
) -> Iterator[Asked]:
    """Load or reach a target to ask it a suite; its answers are kept in a folder."""
    if target.path:
        prompting.check(
            target.path,
            suite.prompts,
            template=target.template,
            arguments=options.template_args,
        )
    ledger = witness.ledger(suite, stop=stop)
    log = kept.with_name(f"{kept.name}-server.log")
    with backend(target, options, given=given, log=log, say=say) as answering:
        asking = run.Asking(
            answering,
            suite,
            kept=kept,
            checkpoint_digest=target.digest,
            ledger=ledger,
            say=say,
        )
        yield Asked(target, answering, asking, witness)


@contextmanager
def backend(
    target: Target,
    options: EngineOptions,
    *,
    given: str,
    log: Path,
    say: Say = lambda line: None,
) -> Iterator[Backend]:
    """Load the model, or reach its server, or run one, which writes to `log`, in the block."""
    if target.path is not None:
        options = dataclasses.replace(options, template=target.template)
        with engines.opened(target.path, options, name=target.name, log=log, say=say) as answering:
            yield answering
        return
    from comptrust.models import loading
    from comptrust.models.backends.openai import Openai

    named = options.tokenizer
    folder = sources.resolve(local_model(named)).path if named else None
    assert options.base_url is not None
    yield Openai(
        given,
        base_url=options.base_url,
        batch_size=options.batch_size,
        template=target.template,
        template_args=options.template_args,
        tokenizer=loading.tokenizer(folder) if folder else None,
        patience=options.patience,
    )
