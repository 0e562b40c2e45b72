"""Option shift: a person must look when the model likes one option better as such.

Compression can add the same amount to one option of every question. Comparing two texts cancels
that, so no score shows it, but whoever uses a single answer of the model gets it in full.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from comptrust.gate.rule import Evidence, Finding, Rule, matching
from comptrust.records import Generation


class OptionShift(Rule):
    """Return inconclusive when the bias toward an option moved more than `spreads`.

    - {rule: option_shift, spreads: 1}

    The bias of a scenario is the mean log-likelihood of one option less that of the other, in nats,
    over all its texts. The unit is the dense model's standard deviation over the texts of one
    scenario, as a root mean square over the scenarios of the dimension.
    """

    spreads: float = Field(default=1.0, gt=0)
    """Largest change, in dense standard deviations."""
    dimensions: tuple[str, ...] = ()
    """Dimensions to look at, or patterns such as `lm-eval/*`; all by default."""

    def check(self, evidence: Evidence) -> Finding:
        """Compare the bias of each scenario that both models answered."""
        if (baseline := evidence.comparable_baseline) is None:
            return self.inconclusive("Cannot compute a shift: no comparable dense baseline.")
        ours, dense = evidence.candidate.generations, baseline.generations
        scores = baseline.scorecard.scores
        names = matching(self.dimensions, (score.dimension for score in scores))
        unread = [name for name in names if not (ours.get(name) and dense.get(name))]
        if unread or not names:
            return self.inconclusive(
                f"The answers are not available for: {', '.join(unread) or 'any dimension'}."
            )
        shifts: dict[str, dict[str, float]] = {}
        for name in names:
            after, before = _margins(ours[name]), _margins(dense[name])
            scenarios = after.keys() & before.keys()
            spread = math.sqrt(np.mean([before[scenario].var() for scenario in scenarios] or [0]))
            for scenario in scenarios:
                nats = float(after[scenario].mean() - before[scenario].mean())
                times = nats / spread if spread else np.copysign(np.inf, nats) if nats else 0.0
                shifts[f"{name}/{scenario}"] = {"nats": nats, "spreads": float(times)}
        if not shifts:
            return self.finding("pass", "Does not apply: no two options were compared.")
        largest = max(shifts, key=lambda name: abs(shifts[name]["spreads"]))
        row = shifts[largest]
        return self.finding(
            "inconclusive" if abs(row["spreads"]) > self.spreads else "pass",
            f"The largest shift toward an option is that of {largest}: {row['nats']:+.2f} nats,"
            f" {abs(row['spreads']):.1f} times the dense model's spread"
            f" (limit {self.spreads:g}).",
            shifts=dict(sorted(shifts.items())),
        )


def _margins(answers: Sequence[Generation]) -> dict[str, np.ndarray]:
    """Return scenario -> margins of one option over the other after each text, in nats.

    Only scenarios count whose prompts all have the same two options.
    """
    rows: dict[str, list[Generation]] = defaultdict(list)
    for answer in answers:
        rows[answer.scenario].append(answer)
    margins = {}
    for scenario, members in rows.items():
        tables: list[dict[str, float]] = [
            answer.extra.get(context) or {}
            for answer in members
            for context in ("after_prompt", "after_reference")
        ]
        options = sorted(tables[0])
        if len(options) == 2 and all(sorted(table) == options for table in tables):
            margins[scenario] = np.array(
                [table[options[0]] - table[options[1]] for table in tables]
            )
    return margins
