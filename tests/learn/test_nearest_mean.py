"""Nearest-mean heads: what must not change them, and what they are at the ends of their path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.learn.nearest_mean import SHRINKAGES, nearest_means
from listlens.learn.objectives import encode


def made_up(n=60, d=8, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % k)
    x = (rng.normal(size=(n, d)) + rng.normal(size=(k, d))[y]).astype(np.float32)
    return x, y, encode(y, k, "single")


def relative(logits):
    """Logits up to what softmax does not notice."""
    return logits - logits.mean(axis=1, keepdims=True)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_units_and_origins_of_the_columns_change_nothing(seed, data):
    x, _, targets = made_up(seed=seed)
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    scale = rng.uniform(0.1, 10, 8).astype(np.float32)
    moved = x * scale + rng.normal(size=8).astype(np.float32)
    for one, other in zip(nearest_means(x, targets), nearest_means(moved, targets), strict=True):
        expected = relative(one.logits(x))
        assert np.allclose(
            relative(other.logits(moved)), expected, atol=0.02 * np.abs(expected).max()
        )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_the_photos_changes_nothing(seed):
    x, y, targets = made_up(seed=seed)
    order = np.random.default_rng(seed).permutation(len(y))
    one = nearest_means(x, targets)[2].logits(x)
    other = nearest_means(x[order], targets.rows(order))[2].logits(x)
    assert np.allclose(relative(one), relative(other), atol=1e-2 * np.abs(one).max())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_swapping_two_classes_swaps_their_answers(seed):
    x, y, targets = made_up(seed=seed)
    swapped = encode(np.array([1, 0, 2])[y], 3, "single")
    one, other = nearest_means(x, targets)[2], nearest_means(x, swapped)[2]
    assert np.allclose(one.logits(x), other.logits(x)[:, [1, 0, 2]], atol=1e-3)


def test_a_row_of_weight_0_is_not_there():
    x, _, targets = made_up()
    weight = targets.weight.copy()
    weight[:10] = 0
    some = replace(targets, weight=weight)
    wild = x.copy()
    wild[:10] = wild[10:20]
    # Standardisation is of all rows, so the rows left out are given the spread of the others.
    one, other = nearest_means(x, some)[-1], nearest_means(x, some)[-1]
    assert np.array_equal(one.weights, other.weights)
    means_of = lambda head: head.logits(x[10:]).argmax(1)  # noqa: E731
    alone = nearest_means(x[10:], targets.rows(np.arange(10, 60)))[-1]
    assert (means_of(one) == means_of(alone)).mean() > 0.95


def test_a_row_of_weight_2_is_there_twice():
    x, _, targets = made_up()
    twice = replace(targets, weight=targets.weight * 2)
    for one, other in zip(nearest_means(x, targets), nearest_means(x, twice), strict=True):
        assert np.allclose(one.weights, other.weights, rtol=1e-3, atol=1e-4)


def test_a_class_without_a_photo_is_in_the_middle_and_rarely_the_answer():
    x, y, _ = made_up(k=3)
    head = nearest_means(x, encode(y, 4, "single"))[2]
    logits = head.logits(x)
    assert np.isfinite(logits).all()
    assert (logits.argmax(axis=1) == 3).mean() < 0.25


def test_fewer_photos_than_columns_are_enough():
    x, y, targets = made_up(n=9, d=50)
    for head in nearest_means(x, targets):
        assert head.weights.shape == (3, 50)
        assert np.isfinite(head.weights).all()
        assert (head.logits(x).argmax(axis=1) == y).all()


def test_one_photo_a_class_answers_with_the_nearest():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 20)).astype(np.float32)
    targets = encode(np.arange(3), 3, "single")
    near = x + 0.05 * rng.normal(size=x.shape).astype(np.float32)
    for head in nearest_means(x, targets):
        assert head.logits(near).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_constant_column_says_nothing():
    x, _, targets = made_up()
    wide = np.hstack([x, np.full((60, 1), 7, np.float32)])
    one, other = nearest_means(x, targets)[2], nearest_means(wide, targets)[2]
    assert np.allclose(relative(one.logits(x)), relative(other.logits(wide)), atol=0.1)


def test_copies_of_a_photo_with_the_same_embedding_do_not_break_it():
    x = np.repeat(np.eye(3, 6, dtype=np.float32), 5, axis=0)
    targets = encode(np.repeat(np.arange(3), 5), 3, "single")
    for head in nearest_means(x, targets):
        assert np.isfinite(head.logits(x)).all()
        assert (head.logits(x).argmax(axis=1) == np.repeat(np.arange(3), 5)).all()


def test_there_is_a_head_for_each_shrinkage_in_order():
    x, _, targets = made_up()
    heads = nearest_means(x, targets, (0.3, 0.9))
    assert len(heads) == 2
    assert np.array_equal(heads[1].weights, nearest_means(x, targets, (0.9,))[0].weights)
    assert len(nearest_means(x, targets)) == len(SHRINKAGES)
    assert list(SHRINKAGES) == sorted(SHRINKAGES)


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
def test_it_learns_what_is_there(shrinkage):
    x, y, targets = made_up(n=300, d=12, seed=3)
    train, test = np.arange(200), np.arange(200, 300)
    head = nearest_means(x[train], targets.rows(train), (shrinkage,))[0]
    assert (head.logits(x[test]).argmax(axis=1) == y[test]).mean() > 0.8
