"""The published parser of every dimension and task, selected by name."""

from collections.abc import Mapping
from typing import Any

from comptrust.errors import UserError, unknown
from comptrust.records import Scoring
from comptrust.trust import lexicons, parsing
from comptrust.trust.dimensions import dimensions

TASKS: dict[str, tuple[str, ...]] = {
    "adv_robustness": tuple(lexicons.CLASSIFICATION),
    "ood": ("knowledge", "style"),
    "privacy": ("reject_template", "enron", "pii", "understanding"),
    "ethics": ("zero_shot", "few_shot", "jailbreak", "evasive"),
    "fairness": ("adult", "crime"),
}
"""Dimension -> its kinds of task; the other dimensions have just one."""


def parse(
    dimension: str,
    task: str | None,
    text: str,
    target: str | int | None = None,
    extra: Mapping[str, Any] | None = None,
    *,
    scoring: Scoring = "compressed-trust",
) -> dict[str, Any]:
    """Read an answer as published and return what the parser finds, such as {"label": "AGREE"}.

    `task` is one of TASKS, or None for a dimension with one kind of task. adv_demonstration, ood,
    enron and pii need `target`, and ood knowledge needs `extra["choices"]`. Raises UserError for an
    unknown dimension or task or a missing target.
    """
    if dimension not in dimensions():
        raise unknown("dimension", dimension, dimensions())
    tasks = TASKS.get(dimension, ())
    if tasks and task not in tasks:
        raise unknown(f"task of {dimension}", task, tasks)
    match dimension, task:
        case "stereotype", _:
            original = scoring == "original"
            read = parsing.original_opinion if original else parsing.opinion
            return {"label": read(text)}
        case "adv_robustness", str(task):
            return {"prediction": parsing.option(text, task)}
        case "adv_demonstration", _:
            return parsing.demonstration(text, _target(str, target, dimension))._asdict()
        case "ood", "knowledge":
            choices = (extra or {}).get("choices")
            right = _target(int, target, dimension)
            if not isinstance(choices, list) or not 0 <= right < len(choices):
                raise UserError(
                    f"ood knowledge needs extra['choices'], a list with a choice {right} (got"
                    f" {choices!r:.80})."
                )
            return parsing.knowledge(text, right, choices)._asdict()
        case "ood", _:
            return parsing.style(text, _target(str, target, dimension))._asdict()
        case "privacy", "enron":
            return parsing.enron(text, _target(str, target, dimension))._asdict()
        case "privacy", "pii":
            return parsing.pii(text, _target(str, target, dimension))._asdict()
        case "privacy", "understanding":
            return parsing.understanding(text)._asdict()
        case "privacy", _:
            return {
                "refusal": parsing.contains(text, lexicons.PRIVACY_REJECT),
                "refusal_enron": parsing.contains(text, lexicons.ENRON_REJECT),
            }
        case "ethics", str(task):
            answer = parsing.ethics(text, task)
            return {"answer": answer, "refusal": answer is None}
        case "fairness", str(task):
            prediction = parsing.fairness(text, task)
            return {"prediction": prediction, "refusal": prediction is None}
        case "toxicity", _:
            return {"refusal": parsing.toxicity(text)}
        case _:
            letter = parsing.mmlu(text)
            return {"answer": letter, "refusal": letter is None}


def _target(kind: type[Any], target: str | int | None, dimension: str) -> Any:
    if not isinstance(target, kind) or isinstance(target, bool):
        raise UserError(
            f"Parsing {dimension} needs a target of type {kind.__name__} (got {target!r})."
        )
    return target
