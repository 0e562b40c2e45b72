"""Rows and next tokens that score options, computed by hand."""

from __future__ import annotations

import math

import pytest

from comptrust.models import option_scores

PAIRS = [((1, 2), (7,)), ((1, 2), (8, 9)), ((1, 2), (8, 4, 5)), ((1,), (3,))]


def test_each_beginning_is_one_row() -> None:
    assert option_scores.rows(PAIRS) == {
        (1, 2): {7, 8},
        (1, 2, 8): {9, 4},
        (1, 2, 8, 4): {5},
        (1,): {3},
    }


def test_options_share_the_scores_of_what_they_share() -> None:
    known = {
        (1, 2): {7: -1.0, 8: -2.0},
        (1, 2, 8): {9: -3.0, 4: -4.0},
        (1, 2, 8, 4): {5: -6.0},
        (1,): {3: -0.5},
    }
    assert option_scores.means(PAIRS, known) == [-1.0, -2.5, -4.0, -0.5]
    with pytest.raises(KeyError):
        option_scores.means(PAIRS, known | {(1, 2): {7: -1.0}})


def test_requests_ask_no_more_tokens_than_vllm_takes() -> None:
    wanted = {(1, 2): set(range(300)), (1,): {5}}
    sent = list(option_scores.requests(wanted))
    assert all(len(tokens) <= option_scores.MOST_TOKENS for _, tokens in sent)
    for row, tokens in wanted.items():
        assert tokens <= {token for rows, asked in sent if row in rows for token in asked}


def test_no_chance_is_not_a_number_of_vllms() -> None:
    values = {"token_id:3": -1.5, "token_id:4": -9999.0}
    found = option_scores.next_tokens({"logprobs": {"top_logprobs": [values]}})
    assert found == {3: -1.5, 4: -math.inf}
