"""Distances between means: what chance gives, against slow ways to find out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from listlens.learn.reference import Reference
from listlens.metrics.drift import Null, population_stability

SEEDS = st.integers(0, 2**32 - 1)


def clustered(rng: np.random.Generator, n: int, size: int, f: int, alike: float) -> np.ndarray:
    """n clusters of a size, whose rows share a part of their numbers."""
    shared = rng.normal(size=(n, 1, f)) * np.sqrt(alike)
    own = rng.normal(size=(n, size, f)) * np.sqrt(1 - alike)
    return np.asarray((shared + own).reshape(n * size, f))


@given(SEEDS, st.integers(1, 2000), st.floats(1e-6, 0.5))
def test_a_threshold_is_exceeded_as_often_as_it_says(seed: int, n: int, p: float) -> None:
    rng = np.random.default_rng(seed)
    null = Null.of(rng.normal(size=(60, 4)), np.arange(60) // 3)
    assert null.p_value(null.threshold(n, p), n) == pytest.approx(p, rel=1e-6)
    assert null.threshold(n, p / 2) >= null.threshold(n, p) >= null.threshold(n + 1, p)


@pytest.mark.parametrize("alike", [0.0, 0.7], ids=["single", "of-one-listing"])
def test_chance_is_found_as_often_as_is_said_and_more_photos_of_a_listing_are_allowed_for(
    alike: float,
) -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(150):
        reference = clustered(rng, 150, 4, 12, alike)
        null = Null.of(reference, np.arange(600) // 4)
        for _ in range(4):
            now = clustered(rng, 50, 4, 12, alike).mean(axis=0)
            found.append(null.p_value(float(((now - reference.mean(axis=0)) ** 2).sum()), 200))
    below = np.array(found)
    # Two standard errors above what is promised; and never more than twice too careful.
    assert 0.02 <= (below < 0.05).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 600)
    assert (below < 0.001).mean() <= 0.006


def test_a_p_value_is_near_that_of_permutations() -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(400, 6)) * np.array([3, 2, 1, 1, 0.5, 0.1])
    now = rng.normal(size=(80, 6)) * np.array([3, 2, 1, 1, 0.5, 0.1]) + 0.25
    squared = float(((now.mean(axis=0) - rows.mean(axis=0)) ** 2).sum())
    p = Null.of(rows, np.arange(400)).p_value(squared, 80)
    together, by_chance = np.concatenate([rows, now]), []
    for _ in range(2000):
        order = rng.permutation(480)
        difference = together[order[:80]].mean(axis=0) - together[order[80:]].mean(axis=0)
        by_chance.append((difference**2).sum())
    permuted = float(np.mean(np.array(by_chance) >= squared))
    assert p == pytest.approx(permuted, abs=0.04) and 0.005 < permuted < 0.5


@given(SEEDS, st.integers(2, 12), st.integers(1, 500))
def test_stability_is_zero_for_equal_rates_and_grows_with_each_move(
    seed: int, k: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    before = rng.dirichlet(np.ones(k)) * 0.9 + 0.1 / k
    same, added = population_stability(before * n, n, before)
    assert same == pytest.approx(0, abs=1e-9) and added.shape == (k,)
    now = rng.multinomial(n, rng.dirichlet(np.ones(k)))
    index, added = population_stability(now, n, before)
    assert index >= 0 and (added >= -1e-12).all() and index == pytest.approx(added.sum())
    halfway = population_stability((now + before * n) / 2, n, before)[0]
    assert halfway <= index + 1e-12
    drawn = (now + k / 2 * before) / (n + k / 2)
    both = stats.entropy(drawn, before) + stats.entropy(before, drawn)
    assert index == pytest.approx(both)


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.sampled_from(["single", "multi", "score"]), st.integers(2, 100))
def test_days_add_up_in_any_order_and_held_out_answers_are_like_themselves(
    seed: int, kind: str, k: int
) -> None:
    rng = np.random.default_rng(seed)
    n = 240
    embeddings = rng.normal(size=(n, 40)).astype(np.float32)
    probs = rng.dirichlet(np.full(k, 0.3), n).astype(np.float32)
    review = rng.random(n) < 0.1
    clusters = np.arange(n) // 4
    made = Reference.fit(embeddings, probs, review, clusters, np.arange(k) + 7, kind)  # type: ignore[arg-type]
    rows = made.rows(embeddings, probs, review)
    assert rows.shape == (n, made.n_columns) and np.isfinite(rows).all()
    alone = np.vstack([made.rows(embeddings[i : i + 1], probs[i : i + 1], review[i : i + 1])
                       for i in range(20)])  # fmt: skip
    np.testing.assert_allclose(alone, rows[:20], atol=1e-4)
    order = rng.permutation(n)
    sums = sum(rows[part].sum(axis=0) for part in np.array_split(order, 7))
    moved = made.compare(sums, n)
    assert [one.part for one in moved] == ["look", "classes", "sureness", "review"]
    whole = made.compare(rows.sum(axis=0), n)
    assert [one.distance for one in moved] == pytest.approx([one.distance for one in whole])
    assert all(one.distance < 0.02 and not one.found for one in moved[1:])
    assert all(0 <= one.p <= 1 and one.distance >= 0 for one in moved)
    shares = made.shares(sums, n)
    if kind != "multi":
        assert sum(now for _, _, now in shares) == pytest.approx(1)
    assert len(shares) == min(k, 64) + (kind == "multi")
