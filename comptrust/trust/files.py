"""Score one file of answers, with the suite.json that says which prompts were asked."""

import json
from pathlib import Path

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Score, Scoring, SuiteManifest
from comptrust.trust.fields import FieldError
from comptrust.trust.generations import each, lines
from comptrust.trust.scoring import score


def score_file(
    path: Path, *, scoring: Scoring | None = None, allow_partial: bool = False
) -> tuple[Score, ...]:
    """Score every dimension that a file has answers to; no model is loaded.

    A suite.json beside the file, or above its generations/ folder, says what was asked; without one
    the published scenarios are required. Raises UserError naming the line of a broken answer.
    """
    suite = _suite(path)
    scoring = scoring or (suite.scoring if suite else "compressed-trust")
    try:
        return score(each(path), suite=suite, scoring=scoring, allow_partial=allow_partial)
    except FieldError as error:
        where = f"{path}, line {_line(path, error)}"
        raise UserError(f"{where}: field '{error.field}': {error.problem}") from error


def _suite(path: Path) -> SuiteManifest | None:
    above = path.parent.resolve().name == "generations"
    for folder in [path.parent, path.parent.parent] if above else [path.parent]:
        manifest = folder / "suite.json"
        if manifest.is_file():
            return config.parse(config.read_json(manifest), SuiteManifest, where=str(manifest))
    return None


def _line(path: Path, error: FieldError) -> int:
    numbered = ((number, line) for number, line in enumerate(lines(path), 1) if line.strip())
    return next(number for number, line in numbered if json.loads(line)["id"] == error.prompt_id)
