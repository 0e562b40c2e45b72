"""The figures of a search: size against the worst bound, and the sensitivity of each unit."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from comptrust.report import drawing
from comptrust.report.drawing import BLUE, GRAY, INK, RED
from comptrust.search.result import Searched

WIDTH, HEIGHT = 620.0, 360.0
STYLES = {"pass": (BLUE, "o", "passed"), "block": (RED, "X", "blocked")}
OTHER = (GRAY, "s", "undecided")
LABELS = 0.7
"""Room above the bounds for the labels, as a share of their range."""
BLOCK = re.compile(r"\.(\d+)\.")
T = TypeVar("T")


@contextmanager
def folder_of(found: Searched) -> Iterator[Path]:
    """Yield a folder that holds the figures as PNG files, for the block."""
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in DRAWN.items():
            (Path(folder) / f"{name}.png").write_bytes(draw(found, drawing.png))
        yield Path(folder)


def html(found: Searched) -> str:
    """Return the figures as SVG elements."""
    drawn = "".join(
        draw(found, partial(drawing.svg, alternative=f"{name} of {found.model}"))
        for name, draw in DRAWN.items()
    )
    return f'<div style="max-width: {WIDTH:g}px">{drawn}</div>'


def _sizes(found: Searched, save: Callable[[Figure], T]) -> T:
    """Draw each candidate's size against its bound, with the sizes that could have been tried."""
    with drawing.canvas(WIDTH, HEIGHT) as figure:
        axes = figure.add_axes((0.09, 0.13, 0.88, 0.77))
        axes.set_title(f"{found.model}: size against points lost, search part")
        _draw_trials(axes, found)
        return save(figure)


def _draw_trials(axes: Axes, found: Searched) -> None:
    for margin in {trial.binding.margin for trial in found.trials if trial.binding}:
        axes.axhline(margin, color=INK, linewidth=0.8, dashes=(5, 3), zorder=1)
    sizes = [size / 1e6 for size, _ in found.frontier]
    low = axes.get_xaxis_transform()  # at the lower edge, whatever was lost
    axes.plot(sizes, [0.02] * len(sizes), "|", color=GRAY, label="frontier", transform=low)
    labels = set()
    for number, trial in enumerate(found.trials, start=1):
        color, marker, label = STYLES.get(trial.outcome, OTHER)
        size, one = trial.bytes / 1e6, trial.binding
        lost = top = 0.0  # if a rule stopped it before it was asked
        if one:
            lost, top = (one.upper if one.lost is None else one.lost), one.upper
            axes.plot([size, size], [one.lower, top], "-", color=color, linewidth=1, zorder=2)
        axes.plot(size, lost, marker, color=color, label=None if label in labels else label)
        labels.add(label)
        wins = found.winner == trial.recipe
        axes.annotate(
            f"{number} {trial.binds}{', chosen' if wins else ''}",
            (size, top),
            xytext=(0, 4),
            textcoords="offset points",
            rotation="vertical",  # candidates of nearly one size are next to each other
            horizontalalignment="center",
            fontsize=6.5,
        )
    low_end, high_end = axes.get_ylim()
    axes.set_ylim(low_end, high_end + LABELS * (high_end - low_end))
    axes.set_xlabel("size of the weight files, MB", loc="left")
    axes.set_ylabel("points lost with bounds, binding dimension")
    axes.legend(frameon=False, fontsize=7)


def _sensitivity(found: Searched, save: Callable[[Figure], T]) -> T:
    """Draw the loss of each unit at the fewest bits, by block and by kind of layer."""
    units = found.sensitivity.units
    fewest = min(units[0].losses)
    kinds: dict[str, list[tuple[int, float]]] = {}
    for unit in units:
        block = BLOCK.search(unit.layers[0])
        kind = unit.name.rpartition(".")[2]
        kinds.setdefault(kind, []).append((int(block[1]) if block else 0, unit.losses[fewest]))
    colors = [BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", INK, GRAY]
    with drawing.canvas(WIDTH, HEIGHT) as figure:
        axes = figure.add_axes((0.11, 0.13, 0.86, 0.77))
        axes.set_title(f"{found.model}: loss of rounding to {fewest} bits")
        for number, (kind, points) in enumerate(kinds.items()):
            axes.plot(
                [block for block, _ in points],
                [loss for _, loss in points],
                marker="osD^vXP"[number % 7],
                color=colors[number % len(colors)],
                linewidth=1,
                markersize=4,
                label=kind,
            )
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.set_xlabel("block", loc="left")
        axes.set_ylabel("estimated divergence, nats per token")
        axes.legend(frameon=False, fontsize=7)
        return save(figure)


DRAWN = {"search": _sizes, "sensitivity": _sensitivity}
"""Name of the file -> what draws it."""
