"""Properties of reading and writing, with generated data.

Any plain data is a record or refused in one line, and a record survives being written and read.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from comptrust import config, records
from comptrust.errors import ComptrustError, UserError
from comptrust.gate import policy
from comptrust.sweep import grid
from comptrust.sweep.sweep_file import SweepFile
from comptrust.trust.generations import read_generations, write_generations
from tests.support.shell import Shell

KINDS = [
    kind
    for kind in vars(records).values()
    if isinstance(kind, type) and issubclass(kind, records.Record) and kind is not records.Record
]
TRIES = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
EXACT = st.integers(2 - 2**53, 2**53 - 2)  # others have no digest, since JSON readers round them
NUMBERS = st.one_of(st.integers(), FLOATS)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


def fields_of(record: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw values for some of a record's fields, and sometimes for a field it does not have."""
    optional = {name: JSON for name in (*record.model_fields, "strange")}
    return st.fixed_dictionaries({}, optional=optional)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_any_data_is_a_record_or_refused_in_one_line(kind: type[records.Record]) -> None:
    @TRIES
    @given(st.one_of(JSON, fields_of(kind)))
    def holds(data: Any) -> None:
        try:
            made = config.parse(data, kind, where="here")
        except UserError as error:
            assert str(error).startswith("here: field '")
            return
        assert (
            config.parse(
                config.json_value(made.model_dump_json(), where="again"), kind, where="again"
            )
            == made
        )

    holds()


@TRIES
@given(
    st.builds(
        records.Recipe,
        base_model=WORDS,
        method=WORDS,
        bits=EXACT,
        seed=EXACT,
        options=st.dictionaries(WORDS, st.one_of(EXACT, FLOATS)),
    )
)
def test_equal_recipes_have_equal_digests(recipe: records.Recipe) -> None:
    again = records.Recipe.model_validate_json(recipe.model_dump_json())
    assert again == recipe
    assert again.digest_of_fields() == recipe.digest_of_fields()
    assert (
        recipe.model_copy(update={"seed": recipe.seed + 1}).digest_of_fields()
        != recipe.digest_of_fields()
    )


ANSWERS = st.lists(
    st.builds(
        records.Generation,
        dimension=WORDS,
        scenario=WORDS,
        id=WORDS,
        texts=st.tuples(WORDS),
        extra=st.dictionaries(WORDS, JSON),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda answer: answer.id,
)


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    @TRIES
    @given(ANSWERS)
    def holds(answers: list[records.Generation]) -> None:
        write_generations(tmp_path / "answers.jsonl", answers)
        assert list(read_generations(tmp_path / "answers.jsonl")) == answers

    holds()


def test_any_bytes_are_answers_or_refused(shell: Shell, tell: Callable[[str], None]) -> None:
    alphabet = st.sampled_from(
        [
            *string.printable,
            '"id": ',
            '{"dimension": "mmlu"',
            "\x00",
            "\udcff",
            "\\ud800",
            "NaN",
            "[[[[",
            "9" * 5000,
        ]
    )
    path = shell.folder / "answers.jsonl"

    @TRIES
    @given(
        st.one_of(
            st.binary(max_size=60),
            st.lists(alphabet, max_size=12).map(
                lambda parts: "".join(parts).encode("utf-8", "surrogateescape")
            ),
        )
    )
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        shell.refused("score", path.name)

    holds()
    tell(
        f"bad input, hypothesis: {shell.tried['refused']} files of arbitrary bytes refused by"
        " `score` in one line"
    )


def test_any_policy_is_one_or_refused(tmp_path: Path) -> None:
    rules = st.sampled_from(policy.RULES.names())
    parameters = sorted(
        {name for rule in policy.RULES.names() for name in policy.RULES.get(rule).model_fields}
    )
    entry = st.builds(
        dict,
        st.fixed_dictionaries(
            {"rule": st.one_of(rules, JSON)}, optional={name: JSON for name in parameters}
        ),
    )
    _any_yaml(
        tmp_path,
        st.fixed_dictionaries(
            {},
            optional={
                "name": JSON,
                "rules": st.one_of(JSON, st.lists(entry, max_size=3)),
                "valid_days": JSON,
            },
        ),
        read=lambda path: policy.load(str(path)).digest,
    )


def test_any_sweep_is_one_or_refused(tmp_path: Path) -> None:
    likely = {
        "models": st.lists(st.sampled_from(["a", "./b", "org/name"]), max_size=2),
        "methods": st.lists(st.sampled_from(["gptq", "magnitude", "none", "gpt"]), max_size=2),
        "bits": st.lists(st.integers(2, 9), max_size=2),
        "sparsity": st.lists(NUMBERS, max_size=2),
        "structure": st.lists(st.sampled_from(["2:4", "4:2", "unstructured"]), max_size=2),
        "seeds": st.one_of(st.integers(), st.lists(st.integers(), max_size=2)),
    }
    drawn = {name: st.one_of(likely.get(name, JSON), JSON) for name in SweepFile.model_fields}
    _any_yaml(
        tmp_path, st.fixed_dictionaries({}, optional=drawn), read=lambda path: grid.load(str(path))
    )


def _any_yaml(
    folder: Path, data: st.SearchStrategy[Any], *, read: Callable[[Path], object]
) -> None:
    """Read many drawn files; an error must name the file, or be about an unknown name."""

    @TRIES
    @given(st.one_of(JSON, data))
    def holds(content: Any) -> None:
        path = folder / "drawn.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(content))))
        try:
            read(path)
        except ComptrustError as error:
            assert error.exit_code == UserError.exit_code
            assert str(path) in str(error) or "Known:" in str(error)

    holds()
