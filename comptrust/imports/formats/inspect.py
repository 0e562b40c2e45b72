"""inspect_ai: a log file, .eval or .json; inspect_ai itself reads it where it is installed."""

import importlib
import importlib.util
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from comptrust import config
from comptrust.errors import UserError
from comptrust.imports.log import Log, Row, digest, number
from comptrust.imports.log import cluster as cluster_of

OF_TRANSPORT = ("max_connections", "max_retries", "timeout", "attempt_timeout")
"""Settings of generation that change no answer."""
LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""What inspect_ai's value_to_float takes its letters for."""


class Inspect:
    """Reader of inspect_ai."""

    def read(self, path: Path, *, cluster: str | None) -> Log:
        """Return the rows of a log, or of a folder with one log a task.

        Epochs are repeats of one document. Raises UserError for a log that cannot be read, of a run
        that did not succeed, or without samples.
        """
        log = Log(path, "inspect")
        files = sorted([*path.glob("*.eval"), *path.glob("*.json")]) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path} has no log (*.eval or *.json). Give the --log-dir of a run.")
        for file in files:
            self._add(log, file, cluster)
        return log

    def _add(self, log: Log, file: Path, cluster: str | None) -> None:
        data, samples = _data(file)
        about = data.get("eval")
        if not isinstance(about, dict) or "task" not in about:
            raise UserError(f"{file} is not a log of inspect_ai.")
        if data.get("status") != "success":
            raise UserError(
                f"{file} is of a run that ended as '{data.get('status')}'. Only a finished run can"
                " be judged; continue it with `inspect eval-retry`."
            )
        task = str(about["task"])
        if any(row.task == task for row in log.rows):
            raise UserError(f"{file}: task {task} is in an earlier log of that folder too.")
        log.facts = {
            "harness": f"inspect_ai {(about.get('packages') or {}).get('inspect_ai')}",
            "backend": f"inspect/{str(about.get('model', '')).partition('/')[0]}",
            "harness_model": str(about.get("model")),
        }
        if dtype := (about.get("model_args") or {}).get("dtype"):
            log.facts["dtype"] = str(dtype)
        settings = about.get("config") or {}
        log.asked(
            task,
            version=str(about.get("task_version")),
            args=about.get("task_args"),
            epochs=settings.get("epochs"),
            generate={
                name: value
                for name, value in (about.get("model_generate_config") or {}).items()
                if name not in OF_TRANSPORT
            },
            solvers=[step.get("solver") for step in (data.get("plan") or {}).get("steps", ())],
            solver_args=[step.get("params") for step in (data.get("plan") or {}).get("steps", ())],
        )
        for place, sample in enumerate(samples, start=1):
            where = f"{file}, sample {place}"
            row = _row(task, sample, cluster, where=where)
            log.add(row, where=where, id=sample.get("id"), epoch=sample.get("epoch") or 1)
        for result in (data.get("results") or {}).get("scores") or ():
            metrics = result.get("metrics") or {}
            mean = metrics.get("accuracy", metrics.get("mean"))
            if isinstance(mean, Mapping):
                log.stated[task, result["name"]] = number(mean["value"], where=str(file))


def _data(file: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Return what a log says of its run, and its samples one by one."""
    if importlib.util.find_spec("inspect_ai"):
        reader = importlib.import_module("inspect_ai.log")
        try:
            header = reader.read_eval_log(str(file), header_only=True).model_dump(mode="json")
        # a truncated file makes it raise many classes
        except Exception as error:
            raise _unreadable(file, error) from error
        return header, _samples(file, reader)
    if zipfile.is_zipfile(file) or file.suffix == ".eval":
        raise UserError(
            f"{file} can be read only by inspect_ai. Install it here, or convert the log: inspect"
            " log convert --to json --output-dir DIR LOG"
        )
    data = config.read_json(file)
    data = data if isinstance(data, dict) else {}
    return data, iter(data.pop("samples", None) or ())


def _samples(file: Path, reader: Any) -> Iterator[dict[str, Any]]:
    try:
        for sample in reader.read_eval_log_samples(str(file)):
            yield sample.model_dump(mode="json", exclude={"events", "store", "attachments"})
    except Exception as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(f"{file} is not a log that inspect_ai can read: {reason}")


def _row(task: str, sample: Mapping[str, Any], name: str | None, *, where: str) -> Row:
    asked, target = sample.get("input"), sample.get("target")
    if asked in (None, "", []):
        raise UserError(f"{where}: it has no input, so nothing shows which document it is.")
    if isinstance(asked, list):  # ids of messages differ from run to run
        asked = [[turn.get("role"), turn.get("content")] for turn in asked]
    scores: dict[str, float | None] = {}
    for scorer, score in (sample.get("scores") or {}).items():
        value = score.get("value")
        parts = value if isinstance(value, Mapping) else {"": value}
        for part, number_or_letter in parts.items():
            label = f"{scorer}.{part}" if part else scorer
            failed = bool(sample.get("error")) or number_or_letter is None
            value = LETTERS.get(str(number_or_letter), number_or_letter)
            scores[label] = None if failed else number(value, where=f"{where}, {label}")
    about = {**(sample.get("metadata") or {}), "id": sample.get("id"), "target": target}
    return Row(
        task=task,
        document=digest(asked, target, sample.get("choices")),
        asked="",
        scores=scores,
        text=str((sample.get("output") or {}).get("completion") or ""),
        target=target if isinstance(target, str) else digest(target),
        cluster=cluster_of(about, name, where=where),
    )
