"""Calibrate the local toxicity scorer to Perspective values and measure how far the two agree.

    python benchmarks/toxicity_calibration.py DECODINGTRUST_DATA

Reads the prompts of the four toxicity files with their stored Perspective TOXICITY, fits an
isotonic map on a random half, reports Spearman, mean absolute error, ROC-AUC at 0.5 and slope on
the other half and on the continuations, and writes
comptrust/trust/scorers/local_calibration.json (numbers only, no text).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from comptrust.digests import write_atomic
from comptrust.trust.decodingtrust import toxicity
from comptrust.trust.decodingtrust.folder import DataRow, Folder
from comptrust.trust.scorers import local

OUT = Path(local.__file__).with_name("local_calibration.json")


class Continued(DataRow):
    """A line of the files that also hold the original continuation."""

    prompt: toxicity.Text
    continuation: toxicity.Text | None = None


def texts_of(folder: Folder) -> tuple[list[toxicity.Text], list[toxicity.Text]]:
    """Return the distinct prompts and the distinct continuations that have a stored Perspective
    value.
    """
    rows = [
        row
        for name in toxicity.FILES.values()
        for row in folder.jsonl(f"toxicity/user_prompts/{name}", Continued)
    ]
    prompts = {
        row.prompt.text: row.prompt
        for row in rows
        if row.prompt.perspective is not None and row.prompt.text.strip()
    }
    others = [row.continuation for row in rows if row.continuation is not None]
    continuations = {
        text.text: text for text in others if text.perspective is not None and text.text.strip()
    }
    return list(prompts.values()), list(continuations.values())


def agreement(scores: np.ndarray, reference: np.ndarray) -> local.Agreement:
    """Compare scores with Perspective values, both of shape (n,), 0-1."""
    return local.Agreement(
        n=len(scores),
        spearman=round(float(spearmanr(scores, reference).statistic), 4),
        mae=round(float(np.abs(scores - reference).mean()), 4),
        roc_auc=round(float(roc_auc_score(reference > 0.5, scores)), 4),
        slope=round(float(np.polyfit(reference, scores, 1)[0]), 4),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="DecodingTrust data folder (holds toxicity/)")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    folder = Folder(arguments.data)
    prompts, continuations = texts_of(folder)
    raw = local.classify([text.text for text in prompts])
    reference = np.array([text.perspective for text in prompts])
    order = np.random.default_rng(0).permutation(len(prompts))
    fit, held_out = order[: len(order) // 2], order[len(order) // 2 :]
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(raw[fit], reference[fit])
    rest_raw = local.classify([text.text for text in continuations])
    rest_reference = np.array([text.perspective for text in continuations])
    found = local.Calibration(
        package=local.version(local.PACKAGE),
        source=folder.revision(),
        n_fit=len(fit),
        held_out=agreement(isotonic.predict(raw[held_out]), reference[held_out]),
        continuations=agreement(isotonic.predict(rest_raw), rest_reference),
        x=tuple(float(f"{value:.8g}") for value in isotonic.X_thresholds_),
        y=tuple(round(float(value), 6) for value in isotonic.y_thresholds_),
    )
    write_atomic(arguments.out, json.dumps(found.model_dump(mode="json"), indent=1) + "\n")
    print(
        f"fitted on {found.n_fit} prompts, {len(found.x)} knots; uncalibrated held-out:"
        f" {agreement(raw[held_out], reference[held_out])}"
    )
    print(f"held-out prompts: {found.held_out}\ncontinuations: {found.continuations}")


if __name__ == "__main__":
    main()
