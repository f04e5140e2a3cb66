"""Intervals: Wilson's closed form, and the bootstrap against a loop."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.metrics.classification import score
from listlens.metrics.intervals import Bootstrap, wilson


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_ends_solve_the_equation_they_come_from(pair):
    k, n = pair
    for end in wilson(k, n):
        if 0 < end < 1:
            z = abs(k / n - end) / np.sqrt(end * (1 - end) / n)
            assert z == pytest.approx(1.959964, abs=1e-3)


def test_wilson_of_all_right_is_not_certain():
    low, high = wilson(100, 100)
    assert low == pytest.approx(100 / (100 + 1.96**2), abs=1e-4)
    assert high == 1


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(k, n):
    with pytest.raises(ValueError, match="n_right"):
        wilson(k, n)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_totals_equal_those_of_drawing_groups_one_by_one(rows):
    groups, right = (np.array(x) for x in zip(*rows, strict=True))
    draws = Bootstrap(groups, n_resamples=5, seed=3)
    labels = np.unique(groups)
    slow = [
        sum(times * right[groups == g].sum() for g, times in zip(labels, weights, strict=True))
        for block in draws.blocks()
        for weights in block
    ]
    assert np.allclose(draws.totals(right)[:, 0], slow)
    assert all(w.sum() == len(labels) for block in draws.blocks() for w in block)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 3))
def test_the_value_lies_in_its_interval_and_the_interval_in_0_1(right, seed):
    e = Bootstrap(np.arange(len(right)), n_resamples=50, seed=seed).ratio(
        right, np.ones(len(right))
    )
    assert 0 <= e.low <= e.value <= e.high <= 1
    assert e.n == len(right)
    assert e.low < e.high


def test_all_right_counts_listings_and_not_photos():
    by_photo = Bootstrap(np.arange(100)).ratio(np.ones(100), np.ones(100))
    by_listing = Bootstrap(np.arange(100) // 10).ratio(np.ones(100), np.ones(100))
    assert by_photo.low == pytest.approx(wilson(100, 100)[0])
    assert by_listing.low == pytest.approx(wilson(10, 10)[0])


def test_one_listing_says_nothing_about_others():
    e = Bootstrap(np.zeros(50)).ratio(np.ones(50), np.ones(50))
    assert (e.low, e.high) == (0, 1)


def test_errors_that_come_in_whole_listings_widen_the_interval():
    right = np.repeat(np.arange(40) % 4 > 0, 10)
    photos = Bootstrap(np.arange(400)).ratio(right, np.ones(400))
    listings = Bootstrap(np.arange(400) // 10).ratio(right, np.ones(400))
    assert listings.high - listings.low > 2 * (photos.high - photos.low)


def test_nothing_to_divide_by_is_none():
    assert Bootstrap([1, 2]).ratio([0, 0], [0, 0]) is None


def test_blocks_give_the_same_draws_as_one_piece(monkeypatch):
    whole = Bootstrap(np.arange(50), n_resamples=40, seed=1).totals(np.arange(50))
    monkeypatch.setattr("listlens.metrics.intervals._KEPT_CELLS", 1)
    again = Bootstrap(np.arange(50), n_resamples=40, seed=1).totals(np.arange(50))
    assert (whole == again).all()


def test_the_interval_holds_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        listing = rng.random(60) < 0.8
        right = np.repeat(listing, 3) ^ (rng.random(180) < 0.1)
        e = Bootstrap(np.repeat(np.arange(60), 3), n_resamples=300, seed=seed).ratio(
            right, np.ones(180)
        )
        held += e.low <= 0.8 * 0.9 + 0.2 * 0.1 <= e.high
    assert 180 <= held <= 200


def test_two_thousand_photos_and_a_thousand_draws_take_seconds_at_most():
    rng = np.random.default_rng(0)
    probs = rng.random((2140, 4))
    yes = rng.random((2140, 4)) < probs
    start = time.perf_counter()
    score(yes, probs > 0.5, probs, np.ones_like(yes), Bootstrap(np.arange(2140) // 4))
    assert time.perf_counter() - start < 30
