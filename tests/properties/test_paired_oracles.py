"""Paired differences and the sign test against the slow ways to the same numbers."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.evaluate.comparison import Side, compare
from listlens.metrics.hierarchy import hierarchical_f1
from listlens.metrics.ordinal import srcc
from listlens.metrics.paired import by_chance, difference

SEEDS = st.integers(0, 10**6)
NODES = ("Fruit", "Fruit > Apple", "Fruit > Pear", "Bread")
PARENT, LEAF = [-1, 0, 0, -1], np.array([1, 2, 3])


def drawn_listings(listings: np.ndarray, n_draws: int, seed: int) -> list[np.ndarray]:
    """Rows of the photos of each draw of whole listings, by the generator that is promised."""
    names = np.unique(listings)
    chosen = np.random.default_rng(seed).integers(0, len(names), (n_draws, len(names)))
    return [np.concatenate([np.flatnonzero(listings == names[i]) for i in draw]) for draw in chosen]


def headline(kind: str, truth: np.ndarray, probs: np.ndarray) -> float:
    """The metric of a kind on some photos, computed plainly."""
    if kind == "single":
        return float(np.mean(probs.argmax(axis=1) == truth))
    if kind == "tree":
        return hierarchical_f1(PARENT, LEAF[probs.argmax(axis=1)], truth)
    steps = np.arange(1, 4)
    return srcc(probs @ steps, truth @ steps)


@pytest.mark.parametrize("kind", ["single", "tree", "score"])
@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_the_interval_is_that_of_drawing_listings_and_judging_both_models_again(kind, seed) -> None:
    rng = np.random.default_rng(seed)
    n = 30
    listings = rng.integers(0, 8, n)
    classes = {"single": ("a", "b", "c"), "tree": NODES, "score": ("1", "2", "3")}[kind]
    truth = {
        "single": rng.integers(0, 3, n),
        "tree": rng.integers(0, 4, n),
        "score": rng.dirichlet(np.ones(3), n),
    }[kind]
    known = NODES[1:] if kind == "tree" else classes
    probs = [rng.dirichlet(np.ones(3), n) for _ in range(2)]
    sides = tuple(Side(i, known, p, p > 0.5) for i, p in enumerate(probs))
    found = compare(
        kind, classes, truth, [str(i) for i in range(n)], listings, sides,
        seed=seed, n_resamples=60,
    )  # fmt: skip
    gains = []
    for rows in drawn_listings(listings, 60, seed):
        first, second = (headline(kind, truth[rows], p[rows]) for p in probs)
        gains.append(second - first)
    value = headline(kind, truth, probs[1]) - headline(kind, truth, probs[0])
    low, high = np.nanpercentile(gains, [2.5, 97.5])
    assert found.gain.value == pytest.approx(value)
    assert found.gain.low == pytest.approx(min(low, value), abs=1e-6)
    assert found.gain.high == pytest.approx(max(high, value), abs=1e-6)


@pytest.mark.parametrize(("mended", "broken"), [(0, 1), (1, 3), (4, 4), (6, 2), (7, 0)], ids=str)
def test_chance_is_the_share_of_coin_rows_at_least_as_one_sided(mended, broken) -> None:
    n = mended + broken
    rows = [sum(coins) for coins in product((0, 1), repeat=n)]
    extreme = [heads for heads in rows if abs(2 * heads - n) >= abs(mended - broken)]
    assert by_chance(mended, broken) == pytest.approx(len(extreme) / 2**n)


@given(st.integers(0, 300), st.integers(0, 300))
def test_chance_is_a_share_and_does_not_care_which_model_comes_first(mended, broken) -> None:
    found = by_chance(mended, broken)
    assert 0 < found <= 1
    assert found == pytest.approx(by_chance(broken, mended))
    if not broken and mended:
        assert found == pytest.approx(2 * comb(mended, mended) / 2**mended)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 40), st.floats(0, 0.9))
def test_draws_that_leave_one_side_undefined_are_left_out_of_both(seed, n_draws, gone) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, n_draws))
    first[rng.random(n_draws) < gone] = np.nan
    second[rng.random(n_draws) < gone] = np.nan
    found = difference((0.4, first), (0.5, second), 7)
    both = [b - a for a, b in zip(first, second, strict=True) if not np.isnan(a + b)]
    if not both:
        assert found is None
        return
    low, high = np.percentile(both, [2.5, 97.5])
    assert (found.low, found.high) == (min(low, found.value), max(high, found.value))
    assert found.value == pytest.approx(0.1)
    assert found.n == 7


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_swapping_the_models_turns_the_difference_round(seed) -> None:
    rng = np.random.default_rng(seed)
    one, two = [(float(rng.random()), rng.random(50)) for _ in range(2)]
    there, back = difference(one, two, 5), difference(two, one, 5)
    assert back.value == -there.value
    assert (back.low, back.high) == (pytest.approx(-there.high), pytest.approx(-there.low))
    assert there.low <= there.value <= there.high


@pytest.mark.parametrize("undefined", [float("nan"), float("inf")], ids=str)
def test_a_value_that_is_no_number_has_no_difference_either_way(undefined) -> None:
    draws = np.full(9, 0.5)
    assert difference((0.5, draws), (undefined, draws), 3) is None
    assert difference((undefined, draws), (0.5, draws), 3) is None
