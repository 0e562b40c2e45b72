"""NVIDIA NeMo Evaluator 0.3: the results.jsonl of `nel eval run`, and the bundle beside it."""

from collections.abc import Mapping
from pathlib import Path

from comptrust import config
from comptrust.errors import UserError
from comptrust.imports.log import Log, Row, digest, lines, number, only
from comptrust.imports.log import cluster as cluster_of

SETTINGS = (
    *("temperature", "max_tokens", "top_p", "seed", "system_prompt"),
    *("repeats", "max_problems", "shuffle_seed"),
)
"""What the harness's own config hash covers, but for the model."""


class NemoEvaluator:
    """Reader of NeMo Evaluator."""

    def read(self, path: Path, *, cluster: str | None) -> Log:
        """Return the rows of a results file; the task is that of its bundle, or else its folder.

        Raises UserError for rows without a prompt: `problem_idx` alone does not show that two runs
        asked the same question.
        """
        file = only(path, "results.jsonl", what="results file")
        log, folder, problems = Log(file, "nemo-evaluator"), file.resolve().parent, set()
        bundles = [config.read_json(path) for path in folder.glob("eval-*.json")]
        bundle = bundles[0] if len(bundles) == 1 else {}
        about = bundle.get("benchmark", {})
        task = str(about.get("name", folder.name))
        settings = bundle.get("config") or {}
        log.asked(task, **{name: settings.get(name) for name in SETTINGS})
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
            reward, answer = fields["reward"], fields.get("expected_answer")
            named = {**_object(fields.get("metadata")), "problem_idx": fields["problem_idx"]}
            # A request, a check or a judge that failed is graded 0 there, which no model answered.
            details = _object(fields.get("scoring_details"))
            failed = reward is None or any(
                one.get("error") for one in (fields, details, _object(details.get("judge")))
            )
            log.add(
                Row(
                    task=task,
                    document=digest(prompt, answer),
                    asked="",
                    scores={"reward": None if failed else number(reward, where=where)},
                    text=str(fields.get("model_response") or fields.get("extracted_answer") or ""),
                    target=None if answer is None else str(answer),
                    cluster=cluster_of(named, cluster, where=where),
                ),
                where=where,
                problem_idx=fields["problem_idx"],
                repeat=repeat,
            )
            problems.add(fields["problem_idx"])
        if (expected := about.get("samples")) not in (None, len(problems)):
            raise UserError(
                f"{file} has {len(problems)} problems, but its bundle is of {expected}. Fetch the"
                " file again."
            )
        return log


def _object(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}
