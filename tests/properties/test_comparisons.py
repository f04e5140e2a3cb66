"""Strengths from comparisons: the likeliest ones, in the order that made the comparisons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import spearmanr

from listlens.metrics.comparisons import bradley_terry


def some(n: int, m: int, seed: int) -> tuple[Any, ...]:
    """Strengths, and m comparisons that they made."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, n)
    one = rng.integers(0, n, m)
    two = (one + rng.integers(1, n, m)) % n
    won = rng.random(m) < 1 / (1 + np.exp(true[two] - true[one]))
    return true, one, two, won.astype(float), 1.0 - won


def loss(s: Any, one: Any, two: Any, ahead: Any, behind: Any, prior: float) -> float:
    """Minus the log likelihood, with `prior` wins and losses against strength 1."""
    gap = s[one] - s[two]
    seen = ahead @ np.logaddexp(0, -gap) + behind @ np.logaddexp(0, gap)
    return float(seen + prior * (np.logaddexp(0, -s) + np.logaddexp(0, s)).sum())


@settings(max_examples=15, deadline=None)
@given(n=st.integers(2, 6), m=st.integers(0, 20), seed=st.integers(0, 999))
def test_no_other_strengths_are_likelier(n: int, m: int, seed: int) -> None:
    _, *pairs = some(n, m, seed)
    found = bradley_terry(*pairs, n)
    best = minimize(loss, np.zeros(n), args=(*pairs, 0.5), method="BFGS")
    assert np.abs(found - best.x).max() < 1e-3
    assert loss(found, *pairs, 0.5) <= best.fun + 1e-6


def test_with_hardly_a_prior_it_is_maximum_likelihood() -> None:
    one, two = np.array([0, 1, 0]), np.array([1, 2, 2])
    ahead, behind = np.array([3.0, 4.0, 5.0]), np.array([2.0, 1.0, 2.0])
    found = bradley_terry(one, two, ahead, behind, 3, prior=1e-4)
    args = (one, two, ahead, behind, 0.0)
    best = minimize(lambda s: loss(np.r_[0, s], *args), np.zeros(2), method="BFGS").x
    assert np.abs((found - found[0])[1:] - best).max() < 1e-2


@pytest.mark.parametrize("seed", range(3))
def test_the_order_that_made_the_comparisons_is_found_again(seed: int) -> None:
    true, *pairs = some(60, 1500, seed)
    assert spearmanr(bradley_terry(*pairs, 60), true).statistic > 0.95


def test_what_never_lost_and_what_never_met_stay_finite() -> None:
    found = bradley_terry([0, 2], [1, 3], [9, 1], [0, 0], 5)
    assert np.isfinite(found).all()
    assert found[0] > found[2] > 0 > found[3] > found[1]
    assert found[4] == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999))
def test_whichever_stands_first_makes_no_difference(seed: int) -> None:
    _, one, two, ahead, behind = some(5, 20, seed)
    turned = bradley_terry(two, one, behind, ahead, 5)
    assert np.abs(bradley_terry(one, two, ahead, behind, 5) - turned).max() < 1e-5


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="itself"):
        bradley_terry([1], [1], [1], [0], 2)
    with pytest.raises(ValueError, match="0 or more"):
        bradley_terry([0], [1], [-1], [0], 2)
