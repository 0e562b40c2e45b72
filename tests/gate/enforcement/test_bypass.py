"""A table of attempts to get past the gate of a real server.

None promotes a version that has not passed; the same attempts promote one that has.
"""

from __future__ import annotations

import pytest
import requests
from mlflow.exceptions import MlflowException

from tests.support.enforcement.attempts import TABLE, Attempt
from tests.support.enforcement.world import Candidate, World

pytestmark = pytest.mark.slow
NOT_A_ROUTE = "INTERNAL_ERROR: Permission denied"
"""How MLflow's accounts refuse an address that they do not know."""


def test_no_attempt_promotes_but_every_one_promotes_a_true_pass(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    # accounts change little of what is judged, so that a third is tried with them
    table = TABLE[::3] if world.auth else TABLE
    tried = {attempt.name: attack(world, attempt) for attempt in table}
    promoted = {
        name: held for name, (candidate, _) in tried.items() if (held := world.promoted(candidate))
    }
    with capsys.disabled():
        print(f"\n{len(table)} attempts without a pass: {len(promoted)} promoted", flush=True)
    assert len(tried) == len(table) >= 30
    assert promoted == {}
    assert {
        name: answer
        for name, (_, answer) in tried.items()
        if "PERMISSION_DENIED: comptrust refused: " not in answer and answer != NOT_A_ROUTE
    } == {}

    passed = {attempt.name: honest(world, attempt, tried[attempt.name][0]) for attempt in table}
    with capsys.disabled():
        print(
            "the same attempts with a true pass:"
            f" {sum(answer == 'promoted' for answer in passed.values())} promoted",
            flush=True,
        )
    assert {name: answer for name, answer in passed.items() if answer != "promoted"} == {}


def attack(world: World, attempt: Attempt) -> tuple[Candidate, str]:
    """Make the attempt; return what it tried to promote and how the server answered."""
    candidate, answer = attempt.make(world), "granted"
    for step in (attempt.trick, attempt.route):
        try:
            made = step(world, candidate)
            candidate = made if isinstance(made, Candidate) else candidate
            answer = "granted"
        except MlflowException as error:
            answer = f"{error.error_code}: {error.message.removeprefix('PERMISSION_DENIED: ')}"
        except requests.HTTPError as error:  # how MLflow's client says that an upload was refused
            assert "comptrust refused to write" in str(error)
    return candidate, answer


def honest(world: World, attempt: Attempt, candidate: Candidate) -> str:
    """Let the candidate earn a pass after the trick, then request its promotion the same way."""
    try:
        candidate = attempt.repair(world, candidate)
        attempt.route(world, candidate)
    except MlflowException as error:
        return str(error)
    return "promoted" if world.promoted(candidate) else "granted, but not promoted"
