"""A broken control.json, or that of another scorecard, is refused in one line."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.trust import evaluation
from comptrust.trust.control import NAME, Control, Planted
from tests.support import samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    samples.evaluation(tmp_path)
    return tmp_path


def test_a_control_is_read_back_and_belongs_to_its_scorecard(folder: Path) -> None:
    card = evaluation.load(folder, ref="here").scorecard
    planted = Planted(dimension="mmlu", points=5.0, noticed=1.0)
    control = Control(
        scorecard_digest=card.digest_of_fields(),
        seeds=200,
        beyond=5.0,
        planted=(planted,),
        floors={"mmlu": 0.5},
    )
    path = folder / NAME
    path.write_text(control.model_dump_json())
    assert evaluation.load(folder, ref="here").control == control

    sound = json.loads(path.read_text())
    damaged = [json.dumps(value).encode() for value in samples.damages(sound)]
    chosen = random.Random(0).sample(damaged, 60)
    for content in itertools.chain(chosen, samples.broken(path.read_bytes())):
        path.write_bytes(content)
        try:
            evaluation.load(folder, ref="here")
        except UserError as error:
            assert NAME in str(error)
    for wrong in ({"floors": {"mmlu": -1}}, {"scorecard_digest": "0"}):
        path.write_text(json.dumps(sound | wrong))
        with pytest.raises(UserError, match=NAME):
            evaluation.load(folder, ref="here")
