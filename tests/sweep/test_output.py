"""The live view: one line that is rewritten on a terminal, plain lines otherwise."""

from __future__ import annotations

import io
from collections import deque

import pytest

from comptrust.sweep.output import Progress, View, duration, rate

STATE = Progress(total=9, done=3, running=2, failed=1, prompts_per_second=12.34, seconds_left=3700)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_says_everything() -> None:
    assert (
        STATE.line()
        == "3 of 9 cells done, 2 running, 1 failed, 12.3 prompts/s, time left: 1 h 1 min"
    )
    assert Progress(total=1, done=0, running=0, failed=0).line().endswith("time left: unknown")


def test_what_is_unknown_is_no_metric() -> None:
    metrics = Progress(total=1, done=0, running=0, failed=0).metrics()
    assert metrics == {
        "sweep/total": 1,
        "sweep/done": 0,
        "sweep/running": 0,
        "sweep/failed": 0,
        "sweep/prompts_per_second": 0,
    }
    assert STATE.metrics()["sweep/seconds_left"] == 3700


def test_plain_lines_are_few_and_whole() -> None:
    stream = io.StringIO()
    view = View(total=9, stream=stream)
    for _ in range(5):
        view.show(STATE)
    view.show(STATE, "done: dense")
    view.bar.close()
    assert stream.getvalue() == f"{STATE.line()}\ndone: dense; {STATE.line()}\n"


def test_a_terminal_shows_one_line_and_keeps_events() -> None:
    stream = Terminal()
    view = View(total=9, stream=stream)
    view.show(STATE)
    view.show(STATE, "done: dense")
    view.bar.close()
    shown = stream.getvalue()
    assert STATE.line() in shown and "\r" in shown and "done: dense\n" in shown


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([(0, 0)], 0.0), ([(0, 0), (10, 50)], 5.0), ([(0, 0), (60, 60), (120, 360)], 5.0)],
    ids=["one", "two", "last minute"],
)
def test_rate(counts: list[tuple[float, int]], expected: float) -> None:
    seen = deque[tuple[float, int]]()
    assert [rate(seen, prompts, now=now) for now, prompts in counts][-1] == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59.4, "59 s"), (61, "1 min 1 s"), (3700, "1 h 1 min"), (200_000, "2 d 7 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
