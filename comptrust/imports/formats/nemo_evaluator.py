"""NVIDIA NeMo Evaluator 0.3: the results.jsonl of `nel eval run`."""

from collections.abc import Mapping
from pathlib import Path

from comptrust.errors import UserError
from comptrust.imports.log import Log, Row, digest, lines, number, only
from comptrust.imports.log import cluster as cluster_of


class NemoEvaluator:
    """Reader of NeMo Evaluator."""

    def read(self, path: Path, *, cluster: str | None) -> Log:
        """Return the rows of a results file; the task is the name of its folder.

        Raises UserError for rows without a prompt: `problem_idx` alone does not show that two runs
        asked the same question.
        """
        file = only(path, "results.jsonl", what="results file")
        log, task = Log(file, "nemo-evaluator"), file.resolve().parent.name
        seen: dict[tuple[object, int], str] = {}
        for where, fields in lines(file):
            if "problem_idx" not in fields or "reward" not in fields:
                raise UserError(f"{where}: needs problem_idx and reward.")
            prompt = fields.get("prompt")
            if not prompt:
                raise UserError(
                    f"{where}: it has no prompt. problem_idx alone does not show that two runs"
                    " asked the same question."
                )
            repeat = int(number(fields.get("repeat", 0), where=where))
            key = (fields["problem_idx"], repeat)
            if key in seen:
                raise UserError(f"{where}: problem {key[0]}, repeat {repeat}, as on {seen[key]}.")
            seen[key] = where
            reward, answer = fields["reward"], fields.get("expected_answer")
            about = {**_object(fields.get("metadata")), "problem_idx": fields["problem_idx"]}
            failed = reward is None or bool(fields.get("error"))
            log.add(
                Row(
                    task=str(fields.get("benchmark") or task),
                    document=digest(prompt, answer),
                    asked="",
                    scores={"reward": None if failed else number(reward, where=where)},
                    text=str(fields.get("model_response") or fields.get("extracted_answer") or ""),
                    target=None if answer is None else str(answer),
                    cluster=cluster_of(about, cluster, where=where),
                )
            )
        return log


def _object(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}
