"""What earlier versions wrote, whose digests had an older form, counts as before."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from comptrust import digests
from comptrust.cli.app import comptrust
from comptrust.gate.signing import attestations
from tests.support.enforcement.exceptions import backdate
from tests.support.enforcement.inprocess import a_pass, log, promote, refused
from tests.support.enforcement.world import BAD, GOOD, World

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@contextlib.contextmanager
def earlier_version() -> Iterator[None]:
    """Digest as before. What was signed had its present form already."""
    with pytest.MonkeyPatch.context() as patch:
        canonical = digests.canonical
        patch.setattr(digests, "rfc8785", lambda value: canonical(value).encode())
        patch.setattr(digests, "canonical", digests.older)
        assert digests.rfc8785(1.0) == b"1" != digests.canonical(1.0).encode()
        yield


def audited(world: World) -> list[str]:
    place = world.folder / "mlflow.db"
    command = ["audit", "--log", f"{place}.audit.jsonl", "--registry", f"sqlite:///{place}"]
    result = CliRunner().invoke(comptrust, command, catch_exceptions=False)
    return [line for line in result.output.splitlines() if line.startswith(("PROBLEM", "NOTE"))]


def test_what_was_granted_gated_and_blocked(request: pytest.FixtureRequest) -> None:
    with earlier_version():
        world: World = request.getfixturevalue("inside")
        better = world.register(GOOD)
        former = world.register(GOOD)
        world.gate(former, now=NOW - 80 * DAY, siblings=[better])
        promote(world, former)
        backdate(world, days=40)
        blocked = world.register(BAD)
        assert (verdict := world.gate(blocked)) and verdict.verdict.outcome == "block"
        successor = a_pass(world, name=former.name)
    (line,) = log(world).lines
    signed = attestations.read(former.evidence / attestations.NAME)
    assert line.grant and signed.digests.index(line.grant.attestation) == 1
    assert audited(world) == []  # the chain, the grant, its evidence and its policy
    promote(world, successor)
    assert world.promoted(successor) == ["champion"]
    promote(world, former)
    assert log(world).lines[-1].finding.startswith("passes policy production")
    # Its block is of the same evaluation, so judging that again is no second one.
    world.gate(blocked)
    assert "earlier" not in refused(promote, world, blocked)
    assert log(world).problem is None and audited(world) == []
