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
            read = parsing.original_opinion if scoring == "original" else parsing.opinion
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
            return _or_refusal("answer", parsing.ethics(text, task))
        case "fairness", str(task):
            return _or_refusal("prediction", parsing.fairness(text, task))
        case "toxicity", _:
            return {"refusal": parsing.toxicity(text)}
        case _:
            return _or_refusal("answer", parsing.mmlu(text))


def _or_refusal(name: str, value: object) -> dict[str, Any]:
    return {name: value, "refusal": value is None}


def _target(kind: type[Any], target: str | int | None, dimension: str) -> Any:
    if not isinstance(target, kind) or isinstance(target, bool):
        raise UserError(
            f"Parsing {dimension} needs a target of type {kind.__name__} (got {target!r})."
        )
    return target
