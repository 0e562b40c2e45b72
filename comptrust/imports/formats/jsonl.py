"""Plain rows: one JSON object a line, with the fields that docs/imports.md explains."""

from pathlib import Path

from comptrust.errors import UserError
from comptrust.imports.log import Log, Row, digest, lines, number

FIELDS = (
    *("task", "id", "input", "input_hash", "score", "metric"),
    *("output", "target", "cluster", "repeat"),
)


class Jsonl:
    """Reader of plain rows."""

    def read(self, path: Path, *, cluster: str | None) -> Log:
        """Return the rows of a file. Raises UserError naming the line of a broken one."""
        log = Log(path, "jsonl")
        for where, fields in lines(path):
            if unknown := sorted(set(fields) - {*FIELDS, cluster}):
                raise UserError(f"{where}: unknown field '{unknown[0]}'. Known: {FIELDS}.")
            text = fields.get("input_hash", fields.get("input"))
            if "task" not in fields or "score" not in fields or text is None:
                raise UserError(f"{where}: needs task, score, and input or input_hash.")
            task, metric = str(fields["task"]), str(fields.get("metric", "score"))
            asked = digest("input_hash" in fields, str(text))
            document = digest(str(fields.get("id", asked)))
            score = fields["score"]
            shared = fields.get(cluster or "cluster")
            log.add(
                Row(
                    task=task,
                    document=document,
                    asked=asked,
                    scores={metric: None if score is None else number(score, where=where)},
                    text=str(fields.get("output", "")),
                    target=None if fields.get("target") is None else str(fields["target"]),
                    cluster=None if shared is None else str(shared),
                ),
                where=where,
                metric=metric,
                id=fields.get("id", asked),
                repeat=fields.get("repeat", 0),
            )
        return log
