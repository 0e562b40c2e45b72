"""Every Eval Ever: the JSON lines of its instance-level schema 0.2 and 0.3, read and written."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from comptrust import __version__, config, digests
from comptrust.errors import UserError
from comptrust.imports.log import Log, Row, digest, lines, only
from comptrust.imports.log import cluster as cluster_of
from comptrust.trust import base
from comptrust.trust.evaluation import Evaluation

WRITTEN = "0.3.0"


class Part(BaseModel):
    """A record of the schema; fields that are not read here may have any value."""

    model_config = ConfigDict(extra="allow")


class Input(Part):
    """What was asked."""

    raw: str = Field(min_length=1)
    formatted: str | None = None
    reference: str | list[str]
    """A text in 0.2, several in 0.3."""


class Result(Part):
    """How the answer was judged."""

    score: float | None


class Instance(Part):
    """One answer, with the fields that are read here."""

    schema_version: str = Field(pattern=r"(^|_)0\.[23](\.|$)")
    model_id: str
    evaluation_name: str
    evaluation_result_id: str | None = None
    sample_id: int | str
    interaction_type: Literal["single_turn", "multi_turn", "agentic"]
    input: Input
    output: dict[str, Any] | None = None
    evaluation: Result
    error: str | None = None
    metadata: dict[str, Any] | None = None


class EveryEvalEver:
    """Reader of Every Eval Ever."""

    def read(self, path: Path, *, cluster: str | None) -> Log:
        """Return the rows of an instance-level file. Raises UserError naming a broken line."""
        file = only(path, "*.jsonl", what="instance-level file")
        log = Log(file, "every-eval-ever")
        for where, fields in lines(file):
            one = config.parse(fields, Instance, where=where)
            log.facts["harness_model"] = one.model_id
            about = {**(one.metadata or {}), "sample_id": one.sample_id}
            metric = one.evaluation_result_id or "score"
            log.add(
                Row(
                    task=one.evaluation_name,
                    document=digest(one.input.raw, _texts(one.input.reference)),
                    asked=digest(one.input.formatted) if one.input.formatted else "",
                    scores={metric: None if one.error else one.evaluation.score},
                    text="\n".join(_texts((one.output or {}).get("raw"))),
                    target="\n".join(_texts(one.input.reference)),
                    cluster=cluster_of(about, cluster, where=where),
                ),
                where=where,
                sample_id=one.sample_id,
                metric=metric,
            )
        return log


def _texts(value: Any) -> list[str]:
    return [] if value is None else list(map(str, value)) if isinstance(value, list) else [value]


def write(evaluation: Evaluation, folder: Path) -> None:
    """Write `evaluation.json`, the scores, and `samples.jsonl`, what each answer earned (0-1).

    Answers that earn nothing by themselves are left out. Ids stand for the prompts, whose texts an
    evaluation does not have.
    """
    card, suite = evaluation.scorecard, evaluation.suite
    name = suite.name if suite else "unknown"
    identity = f"{name}/{evaluation.ref}/{card.digest_of_fields()[:16]}"
    scored = [score for score in card.scores if score.value is not None]
    about = {
        "schema_version": WRITTEN,
        "evaluation_id": identity,
        "retrieved_timestamp": str(int(time.time())),
        "source_metadata": {
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "model_info": {
            "name": evaluation.ref,
            "id": evaluation.ref,
            "additional_details": {
                "deployment_type": "unknown",
                "model_availability": "unknown",
                "checkpoint_digest": card.checkpoint_digest,
            },
        },
        "eval_library": {"name": "comptrust", "version": __version__},
        "evaluation_results": [
            {
                "evaluation_name": score.dimension,
                "source_data": {"dataset_name": name, "source_type": "other"},
                "metric_config": {"lower_is_better": False, "metric_unit": "points of 100"},
                "score_details": {"score": score.value},
            }
            for score in scored
        ],
    }
    instances = (json.dumps(one) + "\n" for one in _instances(evaluation, identity))
    digests.write_atomic(folder / "samples.jsonl", "".join(instances))
    digests.write_atomic(folder / "evaluation.json", json.dumps(about, indent=2) + "\n")


def _instances(evaluation: Evaluation, identity: str) -> Iterator[dict[str, Any]]:
    for name, answers in evaluation.generations.items():
        table = evaluation.table(name)
        assert table
        try:
            merits = base.get(name, scoring=evaluation.scoring).merit(table)
        except UserError:
            continue  # a score of which no answer earns a share, such as fairness
        merits = np.where(table.given, merits, np.nan)
        for answer, cluster, merit in zip(answers, table.cluster, merits.tolist(), strict=True):
            if not np.isfinite(merit):
                continue
            yield {
                "schema_version": WRITTEN,
                "evaluation_id": identity,
                "model_id": evaluation.ref,
                "evaluation_name": name,
                "sample_id": answer.id,
                "interaction_type": "single_turn",
                "input": {
                    "raw": answer.id,
                    "reference": [] if answer.target is None else [str(answer.target)],
                },
                "output": {"raw": list(answer.texts)},
                "answer_attribution": [],
                "evaluation": {"score": merit, "is_correct": merit == 1},
                "metadata": {"scenario": answer.scenario, "cluster": str(cluster)},
            }
