"""Progress in plain lines, as a log file shows it."""

from __future__ import annotations

import io

import pytest

from comptrust import progress


def test_lines_say_minutes_and_nothing_is_left_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), iter(range(0, 10_000, 700))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    token = progress.STREAM.set(lambda: stream)
    try:
        counter = progress.Counter(total=3, what="mmlu", unit="prompt")
        for _ in range(3):
            counter.step()
    finally:
        progress.STREAM.reset(token)
    assert stream.getvalue().splitlines() == [
        "mmlu: 1 of 3, 700.0 s a prompt, 23 min 20 s left",
        "mmlu: 2 of 3, 700.0 s a prompt, 11 min 40 s left",
        "mmlu: 3 of 3, 700.0 s a prompt",
    ]
