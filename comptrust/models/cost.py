"""A short probe of speed and memory: a warm-up, then a few answers to prompts of one length."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from comptrust.errors import ComptrustError
from comptrust.serving_cost import ServingCost

TEXT = (
    "The harbor office opens at seven, but the pilots are awake long before that. Every morning"
    " they read the water level, the wind and the list of ships that wait outside the breakwater,"
    " and then they agree on an order. A loaded tanker needs the deep channel at high tide; a ferry"
    " keeps its timetable and goes first. In 1987 the town built a second lock, which cut the"
    " waiting time from four hours to ninety minutes. Not everyone was pleased. Fishermen said that"
    " the new gates changed the current, and a biologist who counted eels for twelve years found"
    " that they were right: fewer young fish reached the river. The council paid for a small side"
    " channel with low steps of stone. It cost less than a month of dredging, and within three"
    " summers the eels were back.\n\nVisitors often ask how a pilot learns the work. There is a"
    " school, of course, with a simulator and an exam of 200 questions. But most of it is learned"
    " on the bridge, next to somebody older, in fog. You listen to the engine, you watch the buoys,"
    " and you say aloud what you expect to happen next. If you are wrong three times, you go home"
    " and sleep.\n"
)
"""Plain prose written for this project, so it is in no training set on purpose."""
PROMPT_TOKENS, NEW_TOKENS = 128, 17
REPEATS, BUDGET_SECONDS = 3, 10.0
"""Answers that are measured, and when to stop before that; one is always measured."""
SECONDS_BETWEEN_SAMPLES = 0.02
"""Of memory."""

Answer = Callable[[int, int], int]
"""Answers a prompt of this number with so many tokens; returns how many came."""


def measure(
    answer: Answer, *, how: str, where: str, memory: Callable[[], int] | None
) -> ServingCost:
    """Return what answers cost; a figure is missing if the model fails or ends too early.

    `memory` returns the bytes in use now. No two prompts begin alike, so no cache shortens one.
    """
    firsts, totals, counts = [], [], []
    started = time.monotonic()
    with _peak(memory) as peaks:
        try:
            answer(0, 2)
            for number in range(REPEATS):
                firsts.append(_seconds(answer, 2 * number + 1, 1)[0])
                seconds, count = _seconds(answer, 2 * number + 2, NEW_TOKENS)
                totals.append(seconds)
                counts.append(count)
                if time.monotonic() - started > BUDGET_SECONDS:
                    break
        except (ComptrustError, RuntimeError, MemoryError):
            return ServingCost(how=how, where=where)
    first, total = statistics.median(firsts), statistics.median(totals)
    measured = min(counts) > 1 and len(set(counts)) == 1 and total > first
    return ServingCost(
        tokens_per_second=(counts[0] - 1) / (total - first) if measured else None,
        first_token_seconds=first,
        peak_bytes=max(peaks, default=None),
        how=how,
        where=where,
    )


def _seconds(answer: Answer, number: int, tokens: int) -> tuple[float, int]:
    started = time.perf_counter()
    count = answer(number, tokens)
    return time.perf_counter() - started, count


@contextmanager
def _peak(memory: Callable[[], int] | None) -> Iterator[list[int]]:
    """Collect the bytes in use while the body runs, whose peak counters others read, too."""
    samples: list[int] = []
    done = threading.Event()

    def sample() -> None:
        while memory:
            samples.append(memory())
            if done.wait(SECONDS_BETWEEN_SAMPLES):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
