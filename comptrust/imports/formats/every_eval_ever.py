"""Every Eval Ever: the JSON lines of its instance-level schema 0.2."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from comptrust import config
from comptrust.errors import UserError
from comptrust.imports.log import Log, Row, digest, lines, only
from comptrust.imports.log import cluster as cluster_of


class Input(BaseModel):
    """What was asked."""

    model_config = ConfigDict(extra="allow")

    raw: str
    formatted: str | None = None
    reference: str | list[str]


class Result(BaseModel):
    """How the answer was judged."""

    model_config = ConfigDict(extra="allow")

    score: float | None
    is_correct: bool | None = None


class Instance(BaseModel):
    """One answer, with the fields that are read here."""

    model_config = ConfigDict(extra="allow")

    schema_version: str
    model_id: str
    evaluation_name: str
    sample_id: int | str
    sample_hash: str | None = None
    interaction_type: Literal["single_turn", "multi_turn", "agentic"]
    input: Input
    output: dict[str, Any] | None = None
    evaluation: Result
    metadata: dict[str, Any] | None = None


class EveryEvalEver:
    """Reader of Every Eval Ever."""

    def read(self, path: Path, *, cluster: str | None) -> Log:
        """Return the rows of an instance-level file. Raises UserError naming a broken line."""
        file = only(path, "*.jsonl", what="instance-level file")
        log = Log(file, "every-eval-ever")
        seen: dict[tuple[str, str], str] = {}
        for where, fields in lines(file):
            one = config.parse(fields, Instance, where=where)
            key = (one.evaluation_name, str(one.sample_id))
            if key in seen:
                raise UserError(f"{where}: sample {key[1]} of {key[0]}, as on {seen[key]}.")
            seen[key] = where
            log.facts["harness_model"] = one.model_id
            about = {**(one.metadata or {}), "sample_id": one.sample_id}
            log.add(
                Row(
                    task=one.evaluation_name,
                    document=digest(one.input.raw, one.input.reference),
                    asked=digest(one.input.formatted) if one.input.formatted else "",
                    scores={"score": one.evaluation.score},
                    text=str((one.output or {}).get("raw") or ""),
                    target=str(one.input.reference),
                    cluster=cluster_of(about, cluster, where=where),
                )
            )
        return log
