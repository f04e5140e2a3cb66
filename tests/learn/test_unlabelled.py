"""Labels spread along look-alikes, never against what is given, and help where shapes are clear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.learn.heads import fit
from listlens.learn.objectives import encode
from listlens.learn.unlabelled import LookAlikes, neighbour_graph, normalised, spreading


def chains(n=150, d=10, seed=0):
    """Two long bent clouds that few labels cannot tell apart, but their shape does."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    t = rng.uniform(0, np.pi, n)
    x = np.c_[np.cos(t) + y, np.sin(t) * (1 - 2 * y) + 0.4 * y]
    return (x @ rng.normal(size=(2, d)) + 0.04 * rng.normal(size=(n, d))).astype(np.float32), y


def test_a_graph_is_symmetric_without_loops_and_each_photo_has_its_neighbours():
    x, _ = chains()
    graph = neighbour_graph(x)
    dense = graph.toarray()
    assert np.allclose(dense, dense.T)
    assert (np.diag(dense) == 0).all()
    assert ((dense > 0).sum(axis=1) >= 8).all()
    assert (dense >= 0).all()
    assert dense.max() <= 1.0001


def test_neighbours_are_those_that_sorting_all_distances_finds():
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    dense = neighbour_graph(x, 4).toarray()
    z = (x - x.mean(0)) / x.std(0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    cosine = z @ z.T
    np.fill_diagonal(cosine, -2)
    for i in range(40):
        for j in np.argsort(-cosine[i])[:4]:
            assert dense[i, j] == pytest.approx(max(cosine[i, j], 0) ** 3, abs=1e-5)


def test_blocks_change_nothing(monkeypatch):
    from listlens.learn import unlabelled

    x, _ = chains(60)
    whole = neighbour_graph(x).toarray()
    monkeypatch.setattr(unlabelled, "BLOCK", 7)
    assert np.allclose(neighbour_graph(x).toarray(), whole, atol=1e-5)


def test_two_photos_have_one_neighbour_each():
    dense = neighbour_graph(np.array([[1.0, 0.0], [2.0, 1.0]], np.float32)).toarray()
    assert dense.shape == (2, 2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_normalising_keeps_what_moves_within_bounds(seed):
    x = np.random.default_rng(seed).normal(size=(30, 5)).astype(np.float32)
    values = np.linalg.eigvalsh(normalised(neighbour_graph(x)).toarray())
    assert values.max() <= 1 + 1e-6
    assert values.min() >= -1 - 1e-6


def test_given_labels_stay_and_shares_sum_to_1():
    x, y = chains()
    alike = LookAlikes(x[:10], x[10:])
    yes = np.eye(2, dtype=np.float32)[y[:10]]
    shares = alike.spread(np.arange(10), yes)
    assert shares.shape == (150, 2)
    assert np.array_equal(shares[:10], yes)
    total = shares.sum(axis=1)
    assert np.allclose(total[total > 0], 1)


def test_labels_held_out_are_not_used():
    x, y = chains()
    alike = LookAlikes(x[:20], x[20:])
    targets = encode(y[:20], 2, "single")
    lied = encode(np.r_[y[:10], 1 - y[10:20]], 2, "single")
    rows = np.arange(10)
    one, other = (spreading(alike, t)(rows)[1] for t in (targets, lied))
    assert np.array_equal(one.weights, other.weights)


def test_labels_follow_the_shape_that_all_photos_show():
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    steps = rng.normal(size=(6, 40))  # each class is a string of six clouds
    at = rng.integers(0, 3, 300) + 3 * y
    x = (steps[at] * 2 + rng.normal(size=(300, 40))).astype(np.float32)
    labelled = np.array([np.flatnonzero(at == c)[0] for c in range(6)])
    order = np.r_[labelled, np.setdiff1d(np.arange(300), labelled)]
    x, y = x[order], y[order]
    shares = LookAlikes(x[:6], x[6:]).spread(np.arange(6), np.eye(2, dtype=np.float32)[y[:6]])
    assert (shares[6:].argmax(axis=1) == y[6:]).mean() > 0.95


def test_a_head_with_the_unlabelled_is_better_than_one_without_where_they_lie_in_clouds():
    rng = np.random.default_rng(1)
    y = np.arange(400) % 4
    x = (rng.normal(size=(4, 60))[y] * 0.8 + rng.normal(size=(400, 60))).astype(np.float32)
    rows, test = np.arange(4), np.arange(200, 400)
    targets = encode(y[:4], 4, "single")
    alone = fit(x[:4], targets, [0.1])
    both = spreading(LookAlikes(x[:4], x[4:200]), targets)(rows)[1]
    right = [(head.logits(x[test]).argmax(axis=1) == y[test]).mean() for head in (alone, both)]
    assert right[1] > right[0] + 0.05


def test_a_photo_that_nothing_reaches_has_no_share():
    x = np.r_[np.eye(2, 40)[np.arange(30) % 2] + 0.001, np.eye(2, 40, 20)[np.arange(30) % 2]]
    x = (x + 0.0001 * np.random.default_rng(0).normal(size=x.shape)).astype(np.float32)
    alike = LookAlikes(x[:2], x[2:])
    shares = alike.spread(np.arange(2), np.eye(2, dtype=np.float32))
    assert np.isfinite(shares).all()
    assert ((shares.sum(axis=1) < 1e-6) | np.isclose(shares.sum(axis=1), 1)).all()


def test_without_any_unlabelled_photo_it_is_a_head_like_any_other():
    x, y = chains(60)
    alike = LookAlikes(x, x[:0])
    heads = spreading(alike, encode(y, 2, "single"))(np.arange(60))
    assert len(heads) == 3
    assert np.isfinite(heads[0].logits(x)).all()
