"""Tokens of a text and of the option after it, and the beginnings that rows of tokens share.

Each shared beginning (system text, demonstrations) is computed once, however many rows continue it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from comptrust.models.base import Tokenizer
from comptrust.records import Prompt

Ids = tuple[int, ...]
MIN_TOKENS_SAVED = 24
"""Tokens that a shared beginning must save, over all its rows, to be computed separately."""


def token_ids(text: str, *, tokenizer: Tokenizer) -> Ids:
    """Return the tokens of a text that already contains its special tokens."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def span(text: str, continuation: str, *, tokenizer: Tokenizer) -> tuple[Ids, Ids]:
    """Return the tokens of a text, and those of its continuation.

    A token that spans both belongs to the continuation.
    """
    return spans([(text, continuation)], tokenizer=tokenizer)[text, continuation]


def spans(
    pairs: Iterable[tuple[str, str]], *, tokenizer: Tokenizer
) -> dict[tuple[str, str], tuple[Ids, Ids]]:
    """Return the same of many texts and continuations; each text is read once, all in one call."""
    keys = dict.fromkeys(pairs)
    texts = list(dict.fromkeys(part for text, more in keys for part in (text, text + more)))
    if not texts:
        return {}
    ids = dict(zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True))
    found = {}
    for text, more in keys:
        context, whole = tuple(ids[text]), tuple(ids[text + more])
        begin = min(common_prefix([context, whole]), len(whole) - 1)
        found[text, more] = whole[:begin], whole[begin:]
    return found


def fits(prompt: Prompt, text: str, *, window: int | None, tokenizer: Tokenizer) -> bool:
    """Return whether a rendered prompt and its answer, at its longest, fit a window of tokens.

    None is a window that is not known.
    """
    longest = max((choice.continuation for choice in prompt.choices), key=len, default="")
    room = 0 if prompt.choices else prompt.sampling.max_tokens
    # A token is at least one byte, so most prompts fit without being tokenized.
    if window is None or len((text + longest).encode(errors="replace")) + room <= window:
        return True
    return len(token_ids(text + longest, tokenizer=tokenizer)) + room <= window


def common_prefix(rows: Sequence[Ids]) -> int:
    """Return how many leading tokens all rows share."""
    # what the smallest and the largest row share, all rows between them share too
    low, high = min(rows), max(rows)
    shared, most = 0, min(len(low), len(high))
    while shared < most:  # by halves, as comparing slices is fast
        middle = (shared + most + 1) // 2
        if low[shared:middle] == high[shared:middle]:
            shared = middle
        else:
            most = middle - 1
    return shared


@dataclass(frozen=True, eq=False)
class Beginning:
    """Tokens that several rows share, after those of a shorter shared beginning if there is one."""

    begin: int
    """Number of tokens before `ids`, in the shorter shared beginning."""
    ids: Ids

    @property
    def end(self) -> int:
        """Number of tokens up to the end of `ids`."""
        return self.begin + len(self.ids)


Beginnings = tuple[Beginning, ...]
"""All shared beginnings of a row, each a continuation of the one before; empty if it has none."""


def shared_beginnings(limits: Mapping[Ids, int]) -> dict[Ids, Beginnings]:
    """Return each row with its shared beginnings.

    `limits` gives, for each row, how many of its leading tokens may be shared. In the result, rows
    with a common beginning are neighbors, the shorter ones first.
    """
    # In sorted order, rows with a common beginning are neighbors, and what a range of rows shares
    # is the least that any two neighbors in it share.
    ordered = sorted(limits)
    shared = [common_prefix(pair) for pair in zip(ordered, ordered[1:], strict=False)]
    paths: dict[Ids, Beginnings] = {}
    ranges: list[tuple[int, int, Beginnings]] = [(0, len(ordered), ())]
    while ranges:
        low, high, path = ranges.pop()
        if high - low < 2:
            paths |= dict.fromkeys(ordered[low:high], path)
            continue
        least = min(shared[low : high - 1])
        end = min(least, *(limits[row] for row in ordered[low:high]))
        begin = path[-1].end if path else 0
        # all rows but one are spared these tokens
        if (high - low - 1) * (end - begin) >= MIN_TOKENS_SAVED:
            path = (*path, Beginning(begin, ordered[low][begin:end]))
        # Split the range where neighbors share no more than all do; each part may share more.
        cuts = [low, *(at + 1 for at in range(low, high - 1) if shared[at] == least), high]
        parts = [(first, last, path) for first, last in zip(cuts, cuts[1:], strict=False)]
        # `pop` takes the last part first: single rows, then larger parts, so that the rows of one
        # beginning stay together.
        ranges += sorted(parts, key=lambda part: (part[1] - part[0] < 2, -len(ordered[part[0]])))
    return paths
