"""The functions for programs and notebooks; `import comptrust` offers them all.

They do what the command line does, without MLflow: what they return is what you keep. They print
nothing, or with `progress=True` their own progress alone: what other libraries print while they
run is dropped, as on the command line.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust import config, digests
from comptrust import progress as shown
from comptrust.errors import UserError, unknown
from comptrust.gate import policy as policies
from comptrust.gate import statistics, verdict
from comptrust.gate.evidence import Evidence, differences
from comptrust.gate.statistics import Drop
from comptrust.records import Checkpoint, Dtype, Limit, Score, Scoring, Verdict
from comptrust.tracking import evaluations, registry
from comptrust.trust import base, generations
from comptrust.trust import suite as suites
from comptrust.trust.evaluation import Evaluation

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """How far each dimension of a candidate is below its baseline."""

    drops: Mapping[str, Drop | None]
    """Dimension -> paired drop in points (0-100); None where it was not measured."""

    def __getitem__(self, dimension: str) -> Drop | None:
        if dimension not in self.drops:
            raise unknown("dimension", dimension, self.drops)
        return self.drops[dimension]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per dimension; what was not measured is missing, never 0."""
        import pandas as pd

        names = [name for name in Drop.model_fields if name != "dimension"]
        rows = {
            dimension: {name: getattr(drop, name, None) for name in names}
            for dimension, drop in self.drops.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("dimension")


def compress(
    model: str | Path,
    method: str,
    *,
    bits: int | None = None,
    sparsity: float | None = None,
    structure: str | None = None,
    group_size: int | str = "auto",
    calibration: str = "builtin",
    calibration_samples: int | None = None,
    seed: int = 0,
    options: Mapping[str, bool | int | float | str] | None = None,
    format: str = "compressed-tensors",
    save_dtype: str = "source",
    out: str | Path | None = None,
    progress: bool = False,
) -> Checkpoint:
    """Compress a model and return the checkpoint's record; the files are in `checkpoint.path`.

    The files were loaded again and compared with the model in memory. Without `out` they are kept
    in the cache and made only once. Raises UserError for options that do not fit together.
    """
    from comptrust.compression import recipe
    from comptrust.models import sources
    from comptrust.workflow import checkpoints

    with _quietly(progress):
        name = registry.local_model(str(model))
        built = recipe.build(
            model=name,
            method=method,
            bits=bits,
            sparsity=sparsity,
            structure=structure,
            group_size=group_size,
            calibration=calibration,
            calibration_samples=calibration_samples,
            seed=seed,
            options=dict(options or {}),
            format=format,
            save_dtype=save_dtype,
        )
        folder = Path(out) if out is not None else None
        return checkpoints.get(built, sources.resolve(name), out=folder)


def evaluate(
    target: str | Path | Checkpoint,
    *,
    suite: str = "mini",
    dimensions: Sequence[str] | None = None,
    limit: Limit | None = None,
    scoring: Scoring = "compressed-trust",
    engine: str = "auto",
    dtype: Dtype = "auto",
    base_url: str | None = None,
    template: str | None = None,
    template_args: Mapping[str, bool | int | float | str] | None = None,
    batch_size: int | None = None,
    allow_partial: bool = False,
    seal: str | Path | None = None,
    out: str | Path | None = None,
    progress: bool = False,
) -> Evaluation:
    """Let a model answer the prompts of a suite, and return its scores with the answers.

    `target` is a checkpoint, a folder, `builtin:NAME`, a Hugging Face id, `models:/NAME/VERSION`,
    or with `base_url` the model's name on a server. `engine` is auto, hf, vllm or openai; a `dtype`
    of auto is float32 on a CPU and the checkpoint's own on an accelerator. Answers are kept in
    `out` (default: in the cache), and a second call continues there. With a signing key they are
    signed (measurement.json), under the file `seal` if one is given. Raises UserError for an
    unknown name or a changed checkpoint, ServiceError if the model or its server fails.
    """
    from comptrust.models.engines import EngineOptions
    from comptrust.workflow import targets

    options = EngineOptions(
        engine=engine,
        dtype=dtype,
        batch_size=batch_size,
        base_url=base_url,
        template=template,
        template_args=dict(template_args or {}),
    )
    with _quietly(progress):
        options.check()
        questions = suites.load(suite, dimensions=dimensions, scoring=scoring, limit=limit)
        name = target.path if isinstance(target, Checkpoint) else str(target)
        model = targets.target(name, options)
        answering = [base_url, options.asks, dtype, template, sorted(options.template_args.items())]
        asked = [model.digest, questions.digest, digests.of_code(), *answering]
        key = digests.of_value(asked)
        folder = Path(out) if out is not None else config.cache_dir() / "evaluations" / key[:24]
        return targets.evaluate(
            model,
            options,
            questions,
            given=name,
            out=folder,
            allow_partial=allow_partial,
            seal=Path(seal) if seal is not None else None,
        )


def score(
    *files: str | Path, scoring: Scoring | None = None, allow_partial: bool = False
) -> dict[str, Score]:
    """Score files of answers as published (dimension -> score); no model is loaded.

    A suite.json beside a file, or above its generations/ folder, says which prompts were asked.
    Raises UserError naming file and line, also if two files have answers to one dimension.
    """
    scores: dict[str, Score] = {}
    for path in map(Path, files):
        for one in generations.score_file(path, scoring=scoring, allow_partial=allow_partial):
            if one.dimension in scores:
                raise UserError(
                    f"{path} holds {one.dimension} answers, and so does an earlier file. Score"
                    " them separately."
                )
            scores[one.dimension] = one
    return scores


def compare(
    candidate: Evaluation | str, baseline: Evaluation | str, *, seed: int = 0
) -> Comparison:
    """Return the paired drop of every dimension of the candidate below the baseline.

    Both are evaluations, or the names of some: `models:/NAME/VERSION`, `runs:/ID` or a scorecard
    file. Raises UserError if they did not answer the same prompts, rendered and scored alike.
    """
    judged, dense = _evaluation(candidate), _evaluation(baseline)
    if different := differences(judged, dense):
        raise UserError(
            f"{judged.ref} and {dense.ref} cannot be compared: {', '.join(different)} differ."
            " Evaluate both on the same suite."
        )
    scores = (*dense.scorecard.scores, *judged.scorecard.scores)
    same_model = Evidence(judged, dense).same_model
    drops = {}
    for name in dict.fromkeys(score.dimension for score in scores):
        answers, reference = judged.table(name), dense.table(name)
        drops[name] = (
            statistics.compare(
                answers,
                reference,
                dimension=base.get(name, scoring=judged.scoring),
                seed=seed,
                same_model=same_model,
                fidelity=dense.fidelity(name),
            )
            if answers is not None and reference is not None
            else None
        )
    return Comparison(drops)


def judge(
    candidate: Evaluation | str,
    baseline: Evaluation | str | None,
    *,
    policy: str | Path | None = None,
    siblings: Sequence[Evaluation] = (),
) -> Verdict:
    """Judge a candidate against its dense baseline under a policy (a name or a YAML file).

    By default it is the one that runs of the candidate's suite are judged under: `demo` for mini,
    else `staging`.
    The verdict is not signed and moves nothing. Anything that is not measured keeps it from
    passing. Raises UserError for an unknown policy or name.
    """
    measured = _evaluation(candidate)
    asked = measured.suite.name if measured.suite else ""
    evidence = Evidence(
        measured,
        None if baseline is None else _evaluation(baseline),
        siblings=tuple(siblings),
        model=evaluations.model_of(measured),
    )
    return verdict.judge(evidence, policies.load(str(policy or policies.default(asked))))


def _evaluation(given: Evaluation | str) -> Evaluation:
    return given if isinstance(given, Evaluation) else evaluations.load(given)


@contextlib.contextmanager
def _quietly(progress: bool) -> Iterator[None]:
    """Show our own progress alone, if it was asked for."""
    stderr = sys.stderr
    token = shown.STREAM.set(lambda: stderr if progress else None)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        shown.STREAM.reset(token)
