"""Show how figures changed from one kept file to another: `python benchmarks/compare.py OLD.json
NEW.json`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
NOISE = 0.1
"""Relative changes up to this are not marked: machines are noisier than that."""
MORE_IS_BETTER = ("records/s", "prompts/s", "x")


@dataclass(frozen=True)
class Kept:
    """The figures of one version."""

    version: str
    measured: str
    """When, UTC."""
    machine: dict[str, str]
    figures: list[dict[str, Any]]
    """Each with name, value, unit and perhaps goal."""

    @classmethod
    def read(cls, path: Path) -> Kept:
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def latest() -> Kept | None:
    """Return the figures that were kept last, if any were."""
    kept = [Kept.read(path) for path in RESULTS.glob("*.json")]
    return max(kept, key=lambda one: one.measured, default=None)


def table(old: Kept, new: Kept) -> str:
    """Return the change of every figure; a figure of one side alone is shown with a dash for the
    other.
    """
    before, after = ({one["name"]: one for one in kept.figures} for kept in (old, new))
    lines = ["| figure | before | after | change | |", "|---|---|---|---|---|"]
    for name in sorted(before | after):
        one = after.get(name) or before[name]
        unit = one["unit"]
        was, now = (side[name]["value"] if name in side else None for side in (before, after))
        change, mark = "", ""
        if was is not None and now is not None and unit == "%":
            change = f"{now - was:+.1f} points"
        elif was and now is not None:
            relative = now / was - 1
            change = f"{relative:+.0%}"
            if abs(relative) > NOISE:
                more = unit in MORE_IS_BETTER or one["goal"].startswith(">=")
                mark = "better" if (relative > 0) == more else "worse"
        lines.append(f"| {name} | {_shown(was)} | {_shown(now)} {unit} | {change} | {mark} |")
    if old.machine != new.machine:
        differing = [
            f"{key}: {old.machine.get(key)} -> {value}"
            for key, value in new.machine.items()
            if old.machine.get(key) != value
        ]
        lines += ["", f"Not the same machine or packages ({'; '.join(differing)})."]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def main() -> None:
    """Compare two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    given = parser.parse_args()
    print(table(Kept.read(given.old), Kept.read(given.new)))


if __name__ == "__main__":
    main()
