"""lm-evaluation-harness 0.4: the output folder of a run with --log_samples."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comptrust import config
from comptrust.errors import UserError
from comptrust.imports.log import Log, Row, digest, lines, number, only
from comptrust.imports.log import cluster as cluster_of

TASK_SETTINGS = (
    *("output_type", "doc_to_text", "doc_to_target", "doc_to_choice", "description"),
    *("target_delimiter", "fewshot_delimiter", "generation_kwargs", "filter_list", "repeats"),
)
"""Settings of a task that change what is asked or how answers are taken."""
RUN_SETTINGS = (
    *("lm_eval_version", "chat_template_sha", "system_instruction_sha", "fewshot_as_multiturn"),
)
REQUIRED = {"doc_id", "doc", "filter", "metrics", "doc_hash", "prompt_hash", "target_hash"}


class LmEval:
    """Reader of lm-evaluation-harness."""

    def read(self, path: Path, *, cluster: str | None) -> Log:
        """Return the rows of every task.

        `path` is the results_*.json, or a folder with one. Raises UserError for results without
        samples, samples of another run, and rows that cannot be identified.
        """
        file = only(path, "results_*.json", what="results file")
        results = config.read_json(file)
        if not isinstance(results, dict) or not isinstance(results.get("configs"), dict):
            raise UserError(f"{file} is not a results file of lm-evaluation-harness.")
        log, stamp = Log(file, "lm-eval"), file.stem.removeprefix("results_")
        settings = results.get("config") or {}
        _facts(log, results, settings)
        for task, about in sorted(results["configs"].items()):
            samples = file.with_name(f"samples_{task}_{stamp}.jsonl")
            if not samples.is_file():
                raise UserError(
                    f"{file} has results of {task}, but there is no {samples.name} beside it. Run"
                    " the harness with --log_samples."
                )
            log.asked(
                task,
                version=str(results.get("versions", {}).get(task)),
                num_fewshot=str(results.get("n-shot", {}).get(task)),
                fewshot_seed=settings.get("fewshot_seed"),
                gen_kwargs=settings.get("gen_kwargs"),
                **{name: about.get(name) for name in TASK_SETTINGS},
                **{name: results.get(name) for name in RUN_SETTINGS},
            )
            log.lower |= {
                (task, metric)
                for metric, better in results.get("higher_is_better", {}).get(task, {}).items()
                if better is False
            }
            _add(log, task, samples, results, name=cluster)
        return log


def _facts(log: Log, results: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    environment = str(results.get("pretty_env_info", ""))
    torch = re.search(r"PyTorch version: (\S+)", environment)
    log.facts = {
        name: str(value)
        for name, value in (
            ("harness", f"lm-eval {results.get('lm_eval_version')}"),
            ("backend", settings.get("model") and f"lm-eval/{settings['model']}"),
            ("dtype", str(settings.get("model_dtype") or "").removeprefix("torch.")),
            ("torch", torch and torch[1]),
            ("transformers", results.get("transformers_version")),
            ("harness_model", results.get("model_name")),
        )
        if value
    }


def _add(
    log: Log, task: str, samples: Path, results: Mapping[str, Any], *, name: str | None
) -> None:
    """Add the rows of one task, one for each document and filter."""
    documents: set[str] = set()
    hashes = hashlib.sha256()
    for where, fields in lines(samples):
        missing = REQUIRED - set(fields)
        if missing:
            raise UserError(
                f"{where}: no field '{sorted(missing)[0]}'. Needs lm-eval 0.4.3 or newer."
            )
        kind = str(fields["filter"])
        scores = {
            _label(metric, kind): number(fields[metric], where=f"{where}, metric {metric}")
            for metric in fields["metrics"]
            if isinstance(fields.get(metric), bool | int | float)
        }
        target = fields.get("target")
        row = Row(
            task=task,
            document=digest(fields["doc_hash"], fields["target_hash"]),
            asked=digest(fields["prompt_hash"]),
            scores=scores,
            text=_text(fields.get("filtered_resps")),
            target=None if target is None else str(target),
            cluster=cluster_of(fields["doc"], name, where=where),
        )
        log.add(row, where=where, doc_id=fields["doc_id"], filter=kind)
        documents.add(str(fields["doc_id"]))
        for part in ("doc_hash", "prompt_hash", "target_hash"):
            hashes.update(str(fields[part]).encode())
    effective = results.get("n-samples", {}).get(task, {}).get("effective")
    if effective is not None and len(documents) != effective:
        raise UserError(
            f"{samples} has {len(documents)} documents, but the results are of {effective}. Fetch"
            " the file again."
        )
    stated = results.get("task_hashes", {}).get(task)
    if stated is not None and stated != hashes.hexdigest():
        raise UserError(
            f"{samples} has other documents or prompts than the results state (task_hashes.{task})."
            " It is of another run or task, or was changed."
        )
    for metric, value in results["results"].get(task, {}).items():
        label, _, kind = metric.partition(",")
        if kind and not label.endswith("_stderr") and isinstance(value, int | float):
            log.stated[task, _label(label, kind)] = float(value)


def _label(metric: str, kind: str) -> str:
    return metric if kind == "none" else f"{metric}.{kind}"


def _text(responses: Any) -> str:
    """Return an answer as text; that of a choice is the log-likelihood of each option."""
    if isinstance(responses, list) and len(responses) == 1 and isinstance(responses[0], str):
        return responses[0]
    return "" if responses is None else str(responses)
