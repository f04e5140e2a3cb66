"""Clusters are what lies together, in a stable order, named by what is more frequent in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.learn import clusters as module
from listlens.learn.clusters import Clusters, find_clusters, names_of, number_for


def blobs(sizes=(40, 25, 10), d=20, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), d)) * 4
    return (centres[y] + 0.3 * rng.normal(size=(len(y), d))).astype(np.float16), y


def test_what_lies_together_is_one_cluster_the_largest_first():
    x, y = blobs()
    found = find_clusters(x, 3)
    assert np.array_equal(found.label, y)
    assert found.sizes.tolist() == [40, 25, 10]


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_photos_does_not_change_who_is_together(seed):
    x, y = blobs()
    order = np.random.default_rng(seed).permutation(len(y))
    found = find_clusters(x[order], 3)
    assert np.array_equal(found.label, y[order])


def test_equal_seeds_give_equal_clusters():
    x = np.random.default_rng(0).normal(size=(200, 30))
    one, other = find_clusters(x, 6, seed=3), find_clusters(x, 6, seed=3)
    assert np.array_equal(one.label, other.label)
    assert np.array_equal(one.closeness, other.closeness)


@pytest.mark.parametrize("n_clusters", [None, 2, 5, 300])
def test_every_photo_is_in_one_cluster_and_none_is_empty(n_clusters):
    x = np.random.default_rng(1).normal(size=(90, 12))
    found = find_clusters(x, n_clusters)
    assert found.sizes.sum() == 90
    assert (found.sizes > 0).all()
    assert np.array_equal(np.bincount(found.label), found.sizes)
    assert (np.diff(found.sizes) <= 0).all()
    assert (np.abs(found.closeness) <= 1 + 1e-5).all()


def test_equal_photos_are_together_and_more_clusters_than_kinds_are_not_made_up():
    x = np.repeat(np.eye(3, 8), 10, axis=0)
    found = find_clusters(x, 3)
    assert len(set(map(tuple, np.reshape(found.label, (3, 10)).tolist()))) == 3
    assert all(len(set(row)) == 1 for row in np.reshape(found.label, (3, 10)).tolist())


def test_two_photos_are_enough():
    found = find_clusters(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert sorted(found.label.tolist()) == [0, 1]


def test_many_photos_are_clustered_by_some_of_them(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 40)
    x, y = blobs((200, 100, 50))
    found = find_clusters(x, 3)
    assert np.array_equal(found.label, y)


def test_typical_photos_are_the_closest_of_their_cluster():
    found = Clusters(
        np.array([0, 1, 0, 0, 1]),
        np.array([0.1, 0.9, 0.8, 0.5, 0.95], np.float32),
        np.array([3, 2]),
    )
    assert found.typical(0, 2).tolist() == [2, 3]
    assert found.typical(1, 5).tolist() == [4, 1]


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 10_000_000))
def test_so_many_clusters_can_be_looked_through(n):
    assert 2 <= number_for(n) <= module.MOST
    assert number_for(n) <= number_for(n + 1)


def slow_names(clusters, has, names, n):
    """The same by counting."""
    out = []
    for c in range(len(clusters.sizes)):
        rows = [i for i in range(len(has)) if clusters.label[i] == c]
        ranked = []
        for j, name in enumerate(names):
            share = sum(has[i][j] for i in rows) / len(rows)
            overall = sum(row[j] for row in has) / len(has)
            if overall and share >= 0.1 and share / overall >= module.SEEN_TWICE:
                worth = share * np.log(share / overall)
                ranked.append((-worth, j, name, round(share, 4)))
        out.append([(name, share) for _, _, name, share in sorted(ranked)[:n]])
    return out


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 4), m=st.integers(0, 6))
def test_names_are_those_that_counting_finds(seed, k, m):
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.arange(k), rng.integers(0, k, 30)])
    found = Clusters(label, np.ones(len(label), np.float32), np.bincount(label, minlength=k))
    has = rng.random((len(label), m)) < rng.random(m)
    names = [f"name {j}" for j in range(m)]
    assert names_of(found, has, names) == slow_names(found, has.tolist(), names, 3)


def test_what_all_photos_have_names_no_cluster():
    found = Clusters(np.array([0, 0, 1, 1]), np.ones(4, np.float32), np.array([2, 2]))
    has = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], bool)
    assert names_of(found, has, ["photo", "bed"]) == [[("bed", 1.0)], []]
