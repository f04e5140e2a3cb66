"""Starter tags: the word list is sound, and the numbers are sums of a softmax."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.backbones.registry import imagenet_head
from listlens.core.errors import NotFoundError
from listlens.labels.starter import N_IMAGENET, SHOW_AT, StarterTags

TAGS = StarterTags.load()


def test_there_are_between_120_and_250_words():
    assert 120 <= len(TAGS.names) <= 250


def test_every_word_gathers_imagenet_classes_and_no_class_has_two_words():
    ids = [i for classes in TAGS.classes.values() for i in classes]
    assert all(TAGS.classes.values())
    assert len(ids) == len(set(ids))
    assert 0 <= min(ids) <= max(ids) < N_IMAGENET


def test_words_are_plain_and_in_alphabetical_order():
    assert list(TAGS.names) == sorted(TAGS.names, key=str.lower)
    assert all("_" not in name and name == name.strip() for name in TAGS.names)


@pytest.mark.parametrize(
    ("word", "imagenet_names"),
    [
        ("sofa or bed", {"studio couch"}),
        ("bed", {"four-poster", "quilt"}),
        ("table", {"dining table"}),
        ("toilet", {"toilet seat"}),
        ("laptop", {"laptop", "notebook"}),
        ("cup", {"coffee mug", "cup"}),
        ("running shoe", {"running shoe"}),
        ("wheel", {"car wheel"}),
        ("pickup", {"pickup"}),
        ("cat", {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}),
        ("toilet paper", {"toilet tissue", "paper towel"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_indices_mean_what_the_backbone_means_by_them(word, imagenet_names):
    names = imagenet_head()[2]
    assert {names[i] for i in TAGS.classes[word]} == imagenet_names


def test_all_118_dogs_are_dogs():
    assert TAGS.classes["dog"] == tuple(range(151, 269))


@given(st.integers(0, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_numbers_equal_a_slow_softmax_summed_by_hand(n, seed):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(n, 8)).astype(np.float16)
    weights = rng.normal(size=(N_IMAGENET, 8)).astype(np.float32)
    bias = rng.normal(size=N_IMAGENET).astype(np.float32)
    got = TAGS.probs(embeddings, (weights, bias))
    assert got.shape == (n, len(TAGS.names))
    assert got.dtype == np.float32
    for row, embedding in zip(got, embeddings, strict=True):
        logits = (weights @ embedding.astype(np.float64) + bias).tolist()
        top = max(logits)
        exp = [math.exp(x - top) for x in logits]
        slow = [sum(exp[i] for i in ids) / sum(exp) for ids in TAGS.classes.values()]
        np.testing.assert_allclose(row, slow, atol=1e-5)


def test_numbers_stay_in_the_unit_interval_for_extreme_embeddings():
    weights = np.eye(N_IMAGENET, dtype=np.float32)
    embeddings = np.full((1, N_IMAGENET), -6e4, np.float16)
    embeddings[0, 831] = 6e4
    probs = TAGS.probs(embeddings, (weights, np.zeros(N_IMAGENET, np.float32)))
    assert probs[0, TAGS.column("sofa or bed")] == 1
    assert probs.sum() == 1


def test_an_unknown_word_is_answered_with_the_nearest_one():
    with pytest.raises(NotFoundError, match="Did you mean 'bookcase'"):
        TAGS.column("bookcases")


def test_words_shown_are_at_or_above_the_threshold_and_in_order():
    row = np.zeros(len(TAGS.names), np.float32)
    row[[3, 7, 9]] = 0.31, 0.6, SHOW_AT - 0.01
    assert [name for name, _ in TAGS.shown(row)] == [TAGS.names[7], TAGS.names[3]]
    assert TAGS.shown(np.zeros(len(TAGS.names))) == []


@pytest.mark.data
def test_most_pictures_of_cars_are_called_something_on_wheels(data_dir):
    from listlens.backbones.registry import load_backbone
    from listlens.images.prepare import prepare

    with (data_dir / "cars" / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::25]
    backbone = load_backbone()
    pixels = [
        prepare((data_dir / "cars" / row["image"]).read_bytes(), backbone.preprocessing).pixels
        for row in rows
    ]
    weights, bias, _ = imagenet_head()
    probs = TAGS.probs(backbone.embed(np.stack(pixels)), (weights, bias))
    vehicles = {"car", "pickup", "van", "off-road car", "truck", "car grille", "wheel", "camper"}
    right = sum(TAGS.names[row.argmax()] in vehicles for row in probs)
    assert right >= 0.9 * len(rows)
