"""The reasoning that a model writes before its answer: where it begins, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from comptrust.models.base import Tokenizer

MARKERS = (
    ("<think>", "</think>"),  # DeepSeek, Qwen, GLM, SmolLM, Nemotron, Phi, MiniMax
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),  # EXAONE
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),  # Mistral
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),  # Kimi
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("Here is my thought process:", "Here is my response:"),  # Granite
)
"""What opens and closes a block, by family."""


class Parts(NamedTuple):
    """A text in two parts."""

    thought: str
    answer: str
    finished: bool = True
    """Whether the block was closed; if not, there is no answer."""


def split(text: str, *, prompt: str) -> Parts:
    """Split a text into its reasoning and the answer after it.

    `prompt` is the text before it, which may have opened the block.
    """
    body = text.lstrip()
    for begin, end in MARKERS:
        # A server's template may have opened the block without our knowing.
        closes_first = end in body.partition(begin)[0]
        if closes_first or body.startswith(begin) or prompt.rstrip().endswith(begin):
            thought, closed, answer = body.removeprefix(begin).partition(end)
            return Parts(thought.strip(), answer.lstrip(), finished=bool(closed))
    return Parts("", text)


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens of a tokenizer, some of which may mark reasoning."""

    marking: tuple[str, ...] = ()
    """Those that decoding must keep, as they are parts of markers."""
    others: tuple[str, ...] = ()
    """The rest, which is then removed from the text; empty if none marks."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> SpecialTokens:
        """Sort the special tokens of a tokenizer."""
        tokens = {
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        }
        tokens |= set(tokenizer.all_special_tokens)
        parts = [part for marker in MARKERS for part in marker]
        marking = {token for token in tokens if any(token in part for part in parts)}
        return cls(tuple(sorted(marking)), tuple(sorted(tokens - marking)) if marking else ())

    def without_others(self, text: str) -> str:
        """Remove the tokens that do not mark from a text that was decoded with all of them."""
        for token in self.others:
            text = text.replace(token, "")
        return text
