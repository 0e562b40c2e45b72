"""What the C library does with freed memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

REUSE = """
import resource
import torch
from comptrust import process
from comptrust.models.inference import heap
process.prepare()
{before}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    for _ in range(20):
        torch.ones(12_000_000)
work()
begun = faults()
work()
print(faults() - begun)
{after}
"""
PAGES = 12_000_000 * 4 // os.sysconf("SC_PAGE_SIZE")


def printed(*, before: str = "", after: str = "") -> list[int]:
    """Run the script in a process of its own: the settings hold for as long as a process lives."""
    code = REUSE.format(before=before, after=after)
    return [
        int(line)
        for line in subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    ]


@pytest.fixture(scope="module")
def kept() -> list[int]:
    """Faults with memory kept, and the bytes that the process holds before and after it gives them
    back.
    """
    held = "import psutil\nprint(psutil.Process().memory_info().rss)"
    return printed(before="heap.keep()", after=f"{held}\nheap.give_back()\n{held}")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the hints are glibc's")
def test_kept_memory_is_not_asked_for_again(kept: list[int]) -> None:
    [plain] = printed()
    assert (
        plain >= 20 * PAGES / 512
    )  # one fault a page, or one for 512 where the system gives huge ones
    assert kept[0] < PAGES / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the hints are glibc's")
def test_kept_memory_can_be_given_back(kept: list[int]) -> None:
    _, before, after = kept
    assert after < before - PAGES * os.sysconf("SC_PAGE_SIZE") / 2


APART = """
import psutil
import torch
from comptrust import process
from comptrust.models.inference import heap
process.prepare()
torch.ones(7_000_000)  # once it is freed, glibc serves what is smaller from its heap
with {way}:
    large = [torch.ones(500_000) for _ in range(100)]
behind = [torch.ones(1000) for _ in range(1000)]
before = psutil.Process().memory_info().rss
large.clear()
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the hints are glibc's")
def test_large_tensors_apart_go_back_when_they_are_freed() -> None:
    def returned(way: str) -> int:
        code = f"from contextlib import nullcontext\n{APART.format(way=way)}"
        return int(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            ).stdout
        )

    assert returned("heap.apart()") > 0.9 * 100 * 500_000 * 4
    assert returned("nullcontext()") < 0.1 * 100 * 500_000 * 4


def test_another_c_library_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    from comptrust import process
    from comptrust.models.inference import heap

    monkeypatch.setenv(process.TUNE_MALLOC, "1")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    heap.keep()
    heap.give_back()
