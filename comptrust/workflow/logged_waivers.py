"""The waivers of a candidate: of a file, on its run, and accepted by its verdict."""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from comptrust.errors import UserError
from comptrust.gate.signing import attestations
from comptrust.gate.signing import waivers as waiving
from comptrust.gate.signing.waivers import Waiver
from comptrust.records import Verdict
from comptrust.tracking import evaluations, promotion, registry, runs

LOG = logging.getLogger(__name__)


def read(candidate: str, *, file: Path | None = None, accepted: bool = False) -> tuple[Waiver, ...]:
    """Return the waivers of a file and those logged on the candidate's run.

    With `accepted` also those that its logged verdict accepted, which may have come from a file.
    Anybody may log them: each counts by its own signature alone, and a file that cannot be read
    counts for nothing.
    """
    given = waiving.read(file) if file else ()
    if not candidate.startswith(evaluations.REMOTE):
        return given
    run_id, names = registry.run_of(candidate), (waiving.NAME, attestations.VERDICT)
    with runs.files(run_id, *names) as folder:
        logged, verdict = (folder / name for name in names)
        try:
            given += waiving.read(logged) if logged.exists() else ()
        except UserError as error:
            why = str(error).replace(str(logged), waiving.NAME)
            LOG.warning("The waivers logged on run %s do not count. %s", run_id, why)
        if accepted:
            with contextlib.suppress(UserError, ValueError, KeyError, TypeError):  # anybody's text
                given += waiving.accepted(promotion.read(folder, verdict.name, Verdict).findings)
    return tuple(dict.fromkeys(given))


def log(ref: str, kept: Sequence[Waiver]) -> str:
    """Log the waivers of a candidate on its run and return where they are."""
    run_id = registry.run_of(ref)
    runs.Run(run_id).text(waiving.NAME, waiving.dumps(kept))
    return f"runs:/{run_id}/{waiving.NAME}"
