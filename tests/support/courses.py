"""A suite of two dimensions, and the plan of its courses."""

from __future__ import annotations

from benchmarks import sequential as simulation
from comptrust.gate.sequential import plan as plans
from comptrust.records import Message, Prompt, Suite


def suite(items: int) -> Suite:
    """Ask so many questions of two dimensions."""
    acts = [
        Prompt(
            id=f"{scenario}#{n}",
            dimension="ethics",
            scenario=scenario,
            messages=(Message(role="user", content=f"{n}"),),
            target="wrong",
            extra={"cluster": f"{scenario} {n}"},
        )
        for scenario in ("zero_shot", "few_shot", "jailbreak/1", "evasive/1")
        for n in range(items // 4)
    ]
    return Suite(name="t", revision="1", required={}, prompts=(*simulation.questions(items), *acts))


SUITE = suite(480)
MARGINS = {"mmlu": 5.0, "ethics": 5.0}
PLAN = plans.plan(SUITE, MARGINS, changed=0.02)
