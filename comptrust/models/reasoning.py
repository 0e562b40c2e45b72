"""Reasoning blocks: what a model writes between <think> and </think> before its answer."""

OPEN, CLOSE = "<think>", "</think>"


def opens(rendered: str) -> bool:
    """Return whether a rendered prompt ends inside a block, as some chat templates do."""
    return rendered.rstrip().endswith(OPEN)


def split(text: str, *, opened: bool) -> tuple[str, str]:
    """Split a text into its reasoning and the answer after it.

    `opened` says that the prompt opened the block. A block that is not closed leaves no answer.
    """
    body = text.lstrip()
    # A server's template may have opened the block without our knowing.
    closes_first = CLOSE in body.partition(OPEN)[0]
    if not (opened or closes_first or body.startswith(OPEN)):
        return "", text
    thought, _, answer = body.removeprefix(OPEN).partition(CLOSE)
    return thought.strip(), answer.lstrip()
