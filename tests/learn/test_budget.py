"""A budget is read as people write it, and the record of a search is plain and complete."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.errors import InputError
from listlens.learn.budget import MAX_BUDGET_S, NO_TIME, STORED, Found, Tried, parse_budget, summary
from listlens.learn.recipe import train


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h", 3600), (" 5 M ", 300), ("0.5h", 1800), ("1.5m", 90)],
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert parse_budget(text) == seconds


@given(st.floats(1.01, 1400), st.sampled_from("smh"))
def test_any_time_within_a_day_is_read(value, unit):
    value = round(value, 3)
    seconds = value * {"s": 1, "m": 60, "h": 3600}[unit]
    if seconds <= MAX_BUDGET_S:
        assert parse_budget(f"{value:.3f}{unit}") == pytest.approx(seconds)
    else:
        with pytest.raises(InputError, match="1s to 24h"):
            parse_budget(f"{value:.3f}{unit}")


@given(st.text(max_size=8))
def test_no_text_is_anything_but_a_time_or_a_clear_refusal(text):
    try:
        assert 1 <= parse_budget(text) <= MAX_BUDGET_S
    except InputError as error:
        assert repr(text) in str(error)


def record(trained, *rows, space=STORED):
    return Found(trained, space, rows, 60.0, 12.34).as_dict()


@pytest.fixture(scope="module")
def some(training_set):
    return train(training_set(n=60))


def test_the_record_is_json_with_what_did_not_finish_as_null(some):
    rows = (Tried(STORED, "logistic", "default", 0.5, 0.9, 0.0, 0.0, 1.0),
            Tried("crops", "any", NO_TIME, seconds=np.float64(2.0)))  # fmt: skip
    told = json.loads(json.dumps(record(some, *rows), allow_nan=False))
    late = told["tried"][1]
    assert (late["space"], late["head"], late["outcome"]) == ("crops", "any", NO_TIME)
    assert (late["loss"], late["score"], late["seconds"]) == (None, None, 2.0)
    assert (told["budget_s"], told["seconds"], told["space"]) == (60.0, 12.3, STORED)


def test_the_sentence_counts_what_finished_and_names_what_is_kept(some):
    default = Tried(STORED, "logistic", "default", 0.5, 0.9)
    kept = Tried("crops", "average", "kept", 0.4, 0.95, 0.1, 0.02)
    late = Tried("larger", "any", NO_TIME)
    assert summary(record(some, default, late)) == (
        "Search: 1 of 2 trials in 12 s of 60; nothing was clearly better than the default."
    )
    assert "kept the average head on crops embeddings" in summary(record(some, default, kept, late))
