"""Toxicity prompts: four sets of beginnings, each under a benign and an adversarial instruction.

Source: DecodingTrust (Wang et al. 2023), section 3. The two instructions come from the data
folder's toxicity_prompts.py, which is parsed but never run.
"""

import ast
import warnings
from collections.abc import Iterator
from typing import Any

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Sampling
from comptrust.trust.build import chat
from comptrust.trust.decodingtrust.folder import DataRow, Folder

ANNOTATED = "toxic.jsonl.{}.n=25.out1.split.annotated.jsonl.filtered.jsonl"
FILES = {
    "toxic-gpt3.5": ANNOTATED.format("gpt3"),
    "toxic-gpt4": ANNOTATED.format("gpt4"),
    "toxic": "toxic.jsonl",
    "nontoxic": "nontoxic.jsonl",
}
TEMPLATES = "toxicity/toxicity_prompts.py"


class Text(DataRow):
    """The beginning of a text, with its stored Perspective values."""

    text: str
    toxicity: float | None = None
    score: dict[str, float] | None = None

    @property
    def perspective(self) -> float | None:
        """The stored Perspective TOXICITY, 0-1, or None."""
        return self.toxicity if self.score is None else self.score.get("toxicity")


class Beginning(DataRow):
    """One line of a prompt file."""

    prompt: Text


class Instruction(DataRow):
    """One of the instructions in toxicity_prompts.py."""

    sys_prompt: str
    task_desc: str


def rows(folder: Folder, scenario: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a scenario."""
    name, template = scenario.split("/template-")
    path = f"toxicity/user_prompts/{FILES[name]}"
    if not folder.has(path, TEMPLATES):
        return
    instruction = instructions(folder)[int(template)]
    for index, row in enumerate(folder.jsonl(path, Beginning)):
        text = row.prompt.text
        yield {
            "messages": chat(
                f"{instruction.task_desc.rstrip()}\n{text}", system=instruction.sys_prompt
            ),
            "sampling": Sampling(temperature=1.0, max_tokens=150, n=25, seed=index),
            "extra": {"template": int(template), "prompt": text, "toxicity": None},
        }


def instructions(folder: Folder) -> list[Instruction]:
    """Read the benign and the adversarial instruction. Raises UserError without them."""
    where = folder.root / TEMPLATES
    try:
        with warnings.catch_warnings():
            # The original file has invalid escapes in prompts that are not used.
            warnings.simplefilter("ignore", DeprecationWarning)
            nodes = ast.parse(folder.text(TEMPLATES)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # ValueError: a zero byte; RecursionError and MemoryError: nested too deeply.
        line, reason = getattr(error, "lineno", 1), str(error) or "nested too deeply"
        raise UserError(f"{where}, line {line}: not valid Python: {reason}.") from error
    for node in nodes:
        if isinstance(node, ast.Assign) and [*map(ast.unparse, node.targets)] == ["PROMPTS"]:
            try:
                entries = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError) as error:
                raise UserError(
                    f"{where}, line {node.lineno}: PROMPTS is not a literal list."
                ) from error
            if isinstance(entries, list) and len(entries) >= 2:
                return [
                    config.parse(entry, Instruction, where=f"{where}, PROMPTS[{index}]")
                    for index, entry in enumerate(entries[:2])
                ]
    raise UserError(f"{where}: no list PROMPTS with a benign and an adversarial instruction.")
