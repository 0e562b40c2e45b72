"""Toxicity prompts: four sets of beginnings, each under a benign and an adversarial instruction.

Source: DecodingTrust (Wang et al. 2023), section 3; the two instructions are read from the data
folder's toxicity_prompts.py, which is parsed, never run.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Prompt, Sampling
from comptrust.trust.decodingtrust.folder import Folder, Row
from comptrust.trust.decodingtrust.turns import system, user

DIMENSION = "toxicity"
ANNOTATED = "toxic.jsonl.{}.n=25.out1.split.annotated.jsonl.filtered.jsonl"
FILES = {
    "toxic-gpt3.5": ANNOTATED.format("gpt3"),
    "toxic-gpt4": ANNOTATED.format("gpt4"),
    "toxic": "toxic.jsonl",
    "nontoxic": "nontoxic.jsonl",
}
SCENARIOS = tuple(f"{name}/template-{template}" for name in FILES for template in (0, 1))
TEMPLATES = "toxicity/toxicity_prompts.py"


class Text(Row):
    """The beginning of a text and its stored Perspective values."""

    text: str
    toxicity: float | None = None
    score: dict[str, float] | None = None

    @property
    def perspective(self) -> float | None:
        """Stored Perspective TOXICITY, 0-1, where there is one."""
        return self.toxicity if self.score is None else self.score.get("toxicity")


class Beginning(Row):
    """One line of a prompt file."""

    prompt: Text


class Instruction(Row):
    """One of the instructions in toxicity_prompts.py."""

    sys_prompt: str
    task_desc: str


def prompts(folder: Folder, scenario: str) -> Iterator[Prompt]:
    """Yield one scenario's prompts; none if its file is absent. Raises UserError for a broken
    file."""
    name, template = scenario.split("/template-")
    path = f"toxicity/user_prompts/{FILES[name]}"
    if not folder.has(path, TEMPLATES):
        return
    instruction = instructions(folder)[int(template)]
    for index, row in enumerate(folder.jsonl(path, Beginning)):
        task = instruction.task_desc.rstrip()
        yield Prompt(
            id=f"{scenario}#{index}",
            dimension=DIMENSION,
            scenario=scenario,
            messages=(system(instruction.sys_prompt), user(f"{task}\n{row.prompt.text}")),
            sampling=Sampling(temperature=1.0, max_tokens=150, n=25, seed=index),
            extra={
                "template": int(template),
                "prompt": row.prompt.text,
                "toxicity": None,
                "index": index,
            },
        )


def instructions(folder: Folder) -> list[Instruction]:
    """Read the benign and the adversarial instruction: the first two entries of PROMPTS, a literal
    list.
    """
    where = folder.root / TEMPLATES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # the original holds invalid escapes in prompts that are not used
            tree = ast.parse(folder.text(TEMPLATES))
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ) as error:  # ValueError: a zero byte; the last two: nested too deeply
        raise UserError(
            f"{where}, line {getattr(error, 'lineno', 1)}: not valid Python:"
            f" {error or 'nested too deeply'}."
        ) from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [
            "PROMPTS"
        ]:
            try:
                found = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError) as error:
                raise UserError(
                    f"{where}, line {node.lineno}: PROMPTS is not a literal list."
                ) from error
            if isinstance(found, list) and len(found) >= 2:
                return [
                    config.parse(entry, Instruction, where=f"{where}, PROMPTS[{index}]")
                    for index, entry in enumerate(found[:2])
                ]
    raise UserError(f"{where}: no list PROMPTS with a benign and an adversarial instruction.")
