"""What `--stop early` saves on the embedded model: `python benchmarks/early.py FOLDER`.

Each recipe in pipelines/recipes, and the two of `make demo`, run twice under the policy `demo`: in
full, on the half of the suite mini that `comptrust run` asks, and stopped early, in that order.
FOLDER keeps models and answers, so the second run asks little again; its prompts are counted, not
its time. A run that stops early may ask the other half, too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from _measure import ROOT, comptrust

RECIPES = ROOT / "pipelines" / "recipes"
DEMO = {
    "rtn-8bit": ("--method", "rtn", "--bits", "8"),
    "magnitude-2of4": ("--recipe", str(RECIPES / "magnitude-2of4.yaml")),
}


def run(folder: Path, *words: str) -> tuple[str, int]:
    """Return the outcome of `comptrust run` and the prompts that its candidate was asked."""
    shared = ("--policy", "demo", "--no-fail", "--json")
    printed = json.loads(comptrust("run", *words, *shared, folder=folder).out)
    return printed["outcome"], printed["prompts"]


def main() -> None:
    """Print a row for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in RECIPES.glob("*.yaml") if path.stem != "dense")
    recipes = DEMO | {path.stem: ("--recipe", str(path)) for path in files}
    print("| recipe | in full | stopped early | prompts | of the full run |\n|---|---|---|---|---|")
    blocked = []
    for name, words in recipes.items():
        full, every = run(folder, *words)
        early, asked = run(folder, *words, "--stop", "early")
        if early == "block":
            blocked.append(asked / every)
        share = f"{100 * asked / every:.1f}%"
        print(f"| {name} | {full} | {early} | {asked:,} of {every:,} | {share} |", flush=True)
    if blocked:
        mean = 100 * sum(blocked) / len(blocked)
        print(f"\nBlocked early: {len(blocked)} recipes, {mean:.1f}% of the prompts on average.")


if __name__ == "__main__":
    main()
