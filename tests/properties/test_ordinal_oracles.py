"""Scores of distributions over ordered steps, against scipy and slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from listlens.metrics.intervals import Bootstrap
from listlens.metrics.ordinal import (
    emd,
    lcc,
    lcc_estimate,
    mean_estimate,
    means,
    middle,
    pairs_in_order,
    percentile,
    percentiles_within,
    spreads,
    srcc,
    srcc_estimate,
)

NUMBERS = st.lists(
    st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.integers(0, 6)), min_size=3, max_size=30
)


def distributions(n, k, seed):
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.5), n)


@given(st.integers(2, 11), st.integers(0, 1000))
def test_emd_equals_the_optimal_transport_of_the_votes(k, seed):
    p, q = distributions(4, k, seed), distributions(4, k, seed + 1)
    steps = np.arange(k)
    slow = [stats.wasserstein_distance(steps, steps, a, b) / k for a, b in zip(p, q, strict=True)]
    assert emd(p, q) == pytest.approx(slow, abs=1e-9)
    gaps = np.cumsum(p - q, axis=1)
    assert emd(p, q, r=2) == pytest.approx(np.sqrt((gaps**2).mean(axis=1)))
    assert emd(p, p) == pytest.approx(np.zeros(4))


@given(st.integers(2, 8), st.integers(0, 1000))
def test_mean_and_spread_are_those_of_drawing_votes(k, seed):
    counts = np.random.default_rng(seed).integers(0, 5, k) + 1
    scale = np.cumsum(np.random.default_rng(seed).random(k) + 0.1)
    votes = np.repeat(scale, counts)
    p = (counts / counts.sum())[None, :]
    assert means(p, scale)[0] == pytest.approx(votes.mean())
    assert spreads(p, scale)[0] == pytest.approx(votes.std())


@given(NUMBERS)
def test_correlations_equal_scipys(rows):
    a, b, _ = (np.array(x, float) for x in zip(*rows, strict=True))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(srcc(a, b))
        assert np.isnan(lcc(a, b))
    else:
        assert srcc(a, b) == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-9)
        assert lcc(a, b) == pytest.approx(stats.pearsonr(a, b)[0], abs=1e-9)


@settings(max_examples=25)
@given(NUMBERS, st.integers(0, 99))
def test_intervals_are_those_of_drawing_listings_and_ranking_again(rows, seed):
    a, b, group = (np.array(x, float) for x in zip(*rows, strict=True))
    draws = Bootstrap(group, n_resamples=12, seed=seed)
    names = np.unique(group)
    slow = {"spearman": [], "pearson": []}
    for block in draws.blocks():
        for weights in block:
            times = dict(zip(names, weights.astype(int), strict=True))
            rows_of = np.repeat(np.arange(len(a)), [times[g] for g in group])
            x, y = a[rows_of], b[rows_of]
            if np.ptp(x) > 0 and np.ptp(y) > 0:
                slow["spearman"].append(stats.spearmanr(x, y)[0])
                slow["pearson"].append(stats.pearsonr(x, y)[0])
    for name, estimate in (("spearman", srcc_estimate), ("pearson", lcc_estimate)):
        got = estimate(a, b, draws)
        if got is None:
            assert np.ptp(a) == 0 or np.ptp(b) == 0
        elif len(names) > 1 and np.ptp(slow[name]) > 1e-6:
            ends = np.percentile(slow[name], [2.5, 97.5])
            assert got.low == pytest.approx(min(ends[0], got.value), abs=1e-6)
            assert got.high == pytest.approx(max(ends[1], got.value), abs=1e-6)


def test_the_interval_of_a_correlation_holds_the_truth_about_95_times_in_100():
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=200)
        y = 0.6 * x + 0.8 * rng.normal(size=200)
        e = lcc_estimate(x, y, Bootstrap(np.arange(200), n_resamples=300, seed=seed))
        held += e.low <= 0.6 <= e.high
    assert 88 <= held <= 100


def test_perfect_order_is_not_certain_and_reversed_order_is_minus_one():
    x = np.arange(30.0)
    up = srcc_estimate(x, x**3, Bootstrap(x))
    down = srcc_estimate(x, -x, Bootstrap(x))
    assert up.value == up.high == pytest.approx(1)
    assert 0.5 < up.low < 1
    assert down.value == down.low == pytest.approx(-1)
    assert -1 < down.high < -0.5


def test_a_large_offset_does_not_hide_a_correlation():
    x = np.random.default_rng(0).random(50)
    assert lcc(x + 1e6, 2 * x) == pytest.approx(1, abs=1e-6)


@given(NUMBERS)
def test_percentile_counts_what_is_below_and_half_of_what_is_equal(rows):
    values, reference, group = (np.array(x, float) for x in zip(*rows, strict=True))
    slow = [np.mean(reference < v) + np.mean(reference == v) / 2 for v in values]
    assert percentile(values, reference) == pytest.approx(slow)
    within = percentiles_within(values, group)
    for g in np.unique(group):
        own = values[group == g]
        assert within[group == g] == pytest.approx((stats.rankdata(own) - 0.5) / len(own))


@pytest.mark.parametrize(
    ("scale", "cut"), [((1, 2, 3, 4, 5), 3), (range(1, 11), 5), ((0, 0.5, 1), 0.5), ((1, 2), 1.5)]
)
def test_a_scale_is_cut_half_way_and_avas_at_5(scale, cut):
    assert middle(list(scale)) == cut


def test_pairs_in_order_is_the_share_over_all_pairs_of_two_listings():
    rng = np.random.default_rng(0)
    a, b, group = rng.integers(0, 4, 20), rng.integers(0, 4, 20), rng.integers(0, 9, 20)
    agree = [
        1.0 if (a[i] - a[j]) * (b[i] - b[j]) > 0 else 0.5 if a[i] == a[j] else 0.0
        for i in range(20)
        for j in range(20)
        if group[i] != group[j] and b[i] != b[j]
    ]
    assert pairs_in_order(a, b, group) == pytest.approx(np.mean(agree), abs=0.01)
    assert np.isnan(pairs_in_order([1, 2], [3, 3], [0, 1]))
    assert np.isnan(pairs_in_order([], [], []))


@given(st.lists(st.floats(0, 3), min_size=1, max_size=20))
def test_a_mean_lies_in_its_interval_in_its_own_unit(values):
    e = mean_estimate(values, 3.0, Bootstrap(range(len(values)), n_resamples=40))
    assert e.value == pytest.approx(np.mean(values))
    assert 0 <= e.low <= e.value <= e.high <= 3 + 1e-9
