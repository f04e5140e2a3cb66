"""What splits and galleries rely on: groups are exact, stable, and never swallow a data set."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.duplicates.groups import (
    CHAIN,
    MOST_LISTINGS,
    RULES,
    duplicate_groups,
    join_groups,
    match,
)
from listlens.duplicates.search import near_pairs

LABELS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=25)


class Sets:
    """Union-find, in its plainest form."""

    def __init__(self) -> None:
        self.parent: dict[object, object] = {}

    def find(self, x: object) -> object:
        self.parent.setdefault(x, x)
        while self.parent[x] != x:
            x = self.parent[x]
        return x

    def join(self, x: object, y: object) -> None:
        self.parent[self.find(x)] = self.find(y)


def partition(labels) -> set[frozenset[int]]:
    """The groups themselves, whatever they are called."""
    labels = list(labels)
    return {frozenset(i for i, x in enumerate(labels) if x == y) for y in set(labels)}


def coarsening(listings, duplicates) -> set[frozenset[int]]:
    """The finest partition in which neither a listing nor a picture is cut."""
    sets = Sets()
    for listing, picture in zip(listings, duplicates, strict=True):
        sets.join(("listing", listing), ("picture", picture))
    return partition([sets.find(("listing", x)) for x in listings])


def is_numbered_by_first_appearance(labels) -> bool:
    seen = list(dict.fromkeys(int(x) for x in labels))
    return seen == list(range(len(seen)))


@settings(max_examples=150, deadline=None)
@given(LABELS)
def test_joined_groups_are_the_finest_that_cut_neither_listing_nor_picture(rows):
    listings, duplicates = [a for a, _ in rows], [b for _, b in rows]
    joined = join_groups(listings, duplicates)
    assert partition(joined) == coarsening(listings, duplicates)
    assert is_numbered_by_first_appearance(joined)


@settings(max_examples=60, deadline=None)
@given(LABELS, st.randoms())
def test_joining_does_not_depend_on_the_order_of_photos_or_the_names(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    plain = join_groups([a for a, _ in rows], [b for _, b in rows])
    mixed = join_groups([f"home {rows[i][0]}" for i in order], [-rows[i][1] for i in order])
    assert partition(mixed) == partition(plain[order])


@given(LABELS)
def test_joining_again_changes_nothing(rows):
    listings = [a for a, _ in rows]
    joined = join_groups(listings, [b for _, b in rows])
    assert np.array_equal(join_groups(listings, joined), joined)


@pytest.mark.parametrize(
    ("n_listings", "glued"), [(MOST_LISTINGS, True), (MOST_LISTINGS + 1, False)], ids=str
)
def test_a_picture_joins_up_to_fifty_listings_and_no_more(n_listings, glued):
    """Each listing has a photo of its own and the shared one."""
    listings = np.repeat(np.arange(n_listings), 2)
    pictures = np.where(np.arange(2 * n_listings) % 2, np.arange(2 * n_listings) + 1, 0)
    groups = join_groups(listings, pictures)
    assert len(set(groups.tolist())) == (1 if glued else n_listings + 1)


def test_a_placeholder_leaves_other_shared_pictures_joined():
    n = MOST_LISTINGS + 5
    listings = [*range(n), 0, 1, 2]
    pictures = [-1] * n + [7, 7, 8]
    groups = join_groups(listings, pictures)
    assert groups[n] == groups[n + 1] != groups[n + 2]
    assert len(set(groups[:n].tolist())) == 1
    assert groups[0] != groups[n]


def test_many_photos_of_one_listing_are_no_placeholder():
    groups = join_groups(["a"] * 200 + ["b"], [3] * 200 + [3])
    assert set(groups.tolist()) == {0}


def far(n: int, d: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def hashes(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


def copies(n_pictures: int, n_each: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Slightly altered copies: hashes of up to 2 other bits, embeddings of cosine about .995."""
    rng = np.random.default_rng(seed)
    picture = np.repeat(np.arange(n_pictures), n_each)
    vectors = far(n_pictures, seed=seed)[picture] + rng.normal(0, 0.1, (len(picture), 48))
    flips = np.array([1 << int(rng.integers(64)) for _ in picture], dtype=np.uint64)
    return hashes(n_pictures, seed)[picture] ^ flips, vectors, picture.tolist()


@pytest.mark.parametrize("level", ["same", "similar"])
@pytest.mark.parametrize("seed", range(4))
def test_altered_copies_are_found_and_nothing_else_is_joined(seed, level):
    phashes, vectors, picture = copies(12, 5, seed)
    groups = duplicate_groups(range(60), phashes, vectors, level=level)
    assert partition(groups) == partition(picture)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), random=st.randoms())
def test_groups_do_not_depend_on_the_order_of_photos(seed, random):
    phashes, vectors, _ = copies(5, 4, seed)
    ids = np.arange(20) // 2 * 3
    order = np.arange(20)
    random.shuffle(order)
    phashes[1::2], vectors[1::2] = phashes[::2], vectors[::2]  # equal ids are one content
    plain = duplicate_groups(ids, phashes, vectors)
    mixed = duplicate_groups(ids[order], phashes[order], vectors[order])
    assert partition(mixed) == partition(plain[order])
    assert is_numbered_by_first_appearance(mixed)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 6), min_size=1, max_size=20))
def test_equal_contents_are_always_one_group(ids):
    n = len(ids)
    groups = duplicate_groups(ids, hashes(n), far(n))
    assert partition(groups) == partition(ids)


def brute_force(phashes, vectors, level) -> set[frozenset[int]]:
    """Compare all with all, and join whatever matches."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    sets = Sets()
    for i in range(len(unit)):
        sets.find(i)
        for j in range(i):
            if match(int(phashes[i] ^ phashes[j]).bit_count(), unit[i] @ unit[j], level):
                sets.join(i, j)
    return partition([sets.find(i) for i in range(len(unit))])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, CHAIN), st.sampled_from(["same", "similar"]))
def test_small_sets_equal_joining_all_that_match(seed, n, level):
    """Up to CHAIN contents, where no guard can act."""
    rng = np.random.default_rng(seed)
    vectors = far(1, seed=seed) + rng.normal(0, 0.45, (n, 48))
    flips = np.array([(1 << int(rng.integers(0, 14))) - 1 for _ in range(n)], dtype=np.uint64)
    phashes = hashes(1, seed) ^ flips
    groups = duplicate_groups(range(n), phashes, vectors, level=level)
    assert partition(groups) == brute_force(phashes, vectors, level)


def chain(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Each matches its neighbours only: cosine .95 one step on, .80 two."""
    angle = np.arange(n) * np.arccos(0.95)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    turn = (angle // (2 * np.pi)).astype(int)  # a second turn lies in other dimensions
    vectors = np.zeros((n, 2 * (turn.max() + 1)))
    for k in range(n):
        vectors[k, 2 * turn[k] : 2 * turn[k] + 2] = circle[k]
    phashes = np.array([sum(0b111 << (6 * (k % 10)) for _ in "a") for k in range(n)], np.uint64)
    return phashes, vectors


def test_a_short_chain_is_joined_and_a_long_one_is_cut_into_stars():
    short = duplicate_groups(range(CHAIN), *(part[:CHAIN] for part in chain(30)))
    assert set(short.tolist()) == {0}
    long = duplicate_groups(range(30), *chain(30))
    sizes = np.bincount(long)
    assert sizes.max() <= 5  # a centre and what matches it directly
    assert sizes.sum() == 30


def test_within_a_large_group_every_content_matches_the_centre():
    rng = np.random.default_rng(0)
    vectors = far(1, 16) + rng.normal(0, 0.35, (60, 16))
    phashes = np.zeros(60, np.uint64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = match(np.zeros((60, 60)), unit @ unit.T)
    for group in partition(duplicate_groups(range(60), phashes, vectors)):
        members = sorted(group)
        assert near[np.ix_(members, members)].all(axis=1).any()


def test_a_flat_picture_joins_neither_its_like_nor_a_photo():
    vectors = np.repeat(far(1), 4, axis=0)
    phashes = np.repeat(hashes(1), 4)
    groups = duplicate_groups([1, 2, 3, 4], phashes, vectors, flat=[True, True, False, False])
    assert groups.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize("level", RULES)
@pytest.mark.parametrize("step", [0, 1], ids=["first rule", "second rule"])
def test_a_rule_holds_up_to_its_ends_and_not_beyond(level, step):
    bits, cosine = RULES[level][step]
    assert match(bits, cosine, level)
    assert not match(bits + 1, cosine, level) or step == 0
    assert not match(bits, cosine - 0.001, level) or step == 1
    assert not match(65, 1.0, level)


@given(st.integers(0, 64), st.floats(-1, 1))
def test_what_is_the_same_is_also_similar(bits, cosine):
    assert match(bits, cosine, "similar") or not match(bits, cosine, "same")


@given(st.integers(0, 63), st.floats(-1, 0.9))
def test_nearer_never_stops_a_match(bits, cosine):
    for level in RULES:
        if match(bits + 1, cosine, level):
            assert match(bits, cosine, level)
            assert match(bits + 1, cosine + 0.1, level)


@pytest.mark.parametrize("block", [1, 3, 7, 64])
def test_blocks_of_any_size_find_the_same_pairs(monkeypatch, block):
    monkeypatch.setattr("listlens.duplicates.search._BLOCK", block)
    vectors = np.random.default_rng(2).normal(size=(40, 4))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = {(i, j) for i in range(40) for j in range(i + 1, 40) if unit[i] @ unit[j] >= 0.8}
    found = [(int(a), int(b)) for i, j, _ in near_pairs(vectors, 0.8)
             for a, b in zip(i, j, strict=True)]  # fmt: skip
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("length", [0.01, 1.0, 200.0])
def test_cosines_do_not_depend_on_length_or_precision(dtype, length):
    vectors = (far(10, 8) * length).astype(dtype)
    vectors[7] = vectors[2]
    pairs = [p for i, j, c in near_pairs(vectors, 0.99) for p in zip(i, j, c, strict=True)]
    assert [(int(i), int(j)) for i, j, _ in pairs] == [(2, 7)]
    assert pairs[0][2] == pytest.approx(1.0, abs=1e-3)


def test_what_is_not_worth_comparing_is_not_compared():
    vectors = np.ones((6, 4))
    asked = []

    def worth(i, j):
        asked.extend(zip(i.tolist(), j.tolist(), strict=True))
        return (i + j) % 2 == 0

    found = {(int(a), int(b)) for i, j, _ in near_pairs(vectors, 0.9, worth)
             for a, b in zip(i, j, strict=True)}  # fmt: skip
    assert len(asked) == len(set(asked)) == 15
    assert found == {(i, j) for i, j in asked if (i + j) % 2 == 0}


def test_ten_thousand_photos_are_grouped_in_seconds():
    phashes, vectors, _ = copies(5000, 2, 0)
    start = time.process_time()
    groups = duplicate_groups(range(10_000), phashes, vectors.astype(np.float16))
    assert time.process_time() - start < 15
    assert len(set(groups.tolist())) == 5000
