"""Progress in plain lines, as a log file shows it."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest

from comptrust import progress


def lines(times: Iterable[float], monkeypatch: pytest.MonkeyPatch, *, of: int) -> list[str]:
    """Return what is printed if prompts are answered after so many seconds."""
    stream, clock = io.StringIO(), iter([0.0, *times])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    token = progress.STREAM.set(lambda: stream)
    try:
        counter = progress.Counter(total=of, what="mmlu", unit="prompt")
        for _ in times:
            counter.step()
    finally:
        progress.STREAM.reset(token)
    return stream.getvalue().splitlines()


def test_lines_say_minutes_and_nothing_is_left_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines([700, 1400, 2100], monkeypatch, of=3) == [
        "mmlu: 1 of 3",
        "mmlu: 2 of 3, 700.0 s a prompt, 11 min 40 s left",
        "mmlu: 3 of 3, 700.0 s a prompt",
    ]


def test_the_first_answers_of_a_batch_did_not_take_all_of_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches = [seconds + row / 1000 for seconds in (200.0, 400.0, 600.0) for row in range(100)]
    assert lines(batches, monkeypatch, of=400) == [
        "mmlu: 1 of 400",
        "mmlu: 101 of 400, 2.0 s a prompt, 9 min 58 s left",
        "mmlu: 201 of 400, 2.0 s a prompt, 6 min 38 s left",
    ]


def test_a_steady_stream_has_its_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = [row / 10 for row in range(1, 301)]
    assert lines(steady, monkeypatch, of=600) == ["mmlu: 200 of 600, 10.0 prompts/s, 40 s left"]
