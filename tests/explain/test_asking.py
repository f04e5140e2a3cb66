"""What is asked about masked photos: maps find what counts, shares add up, false maps lose."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.explain.faithfulness import area, faithfulness, random_map, ranks
from listlens.explain.maps import occlusion, rise
from listlens.explain.masking import BATCH, Masked, blurred, mean_colour, stretched
from listlens.explain.segments import boxes, slic
from listlens.explain.shapley import shapley

SIDE = 56
PATCH = (slice(8, 24), slice(32, 48))
"""Rows and columns of the planted patch, whose centre is at (16, 40)."""


def planted() -> np.ndarray:
    """A grey photo with a bright patch."""
    pixels = np.full((SIDE, SIDE, 3), 90, np.uint8)
    pixels[PATCH] = 250
    return pixels


def brightness_of_patch(images: np.ndarray) -> np.ndarray:
    return np.asarray(images[:, PATCH[0], PATCH[1]].mean(axis=(1, 2, 3)) / 255)


def chessboard(side: int, per_side: int) -> np.ndarray:
    """Labels of `per_side` squared regions `(side, side)`."""
    return stretched(np.arange(per_side**2).reshape(per_side, per_side), side)


def question(pixels: np.ndarray, fill: np.ndarray | None = None) -> Masked:
    black = np.zeros_like(pixels)
    return Masked(pixels, black if fill is None else fill, brightness_of_patch)


def test_what_is_kept_is_untouched_and_what_is_taken_away_is_filled() -> None:
    seen = []

    def look(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return np.zeros(len(images))

    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    photo = Masked(pixels, mean_colour(pixels), look)
    photo(np.stack([np.ones((2, 2)), np.zeros((2, 2)), np.eye(2)]))
    whole, nothing, half = seen[0]
    assert np.array_equal(whole, pixels)
    assert np.array_equal(nothing, mean_colour(pixels))
    assert np.array_equal(half[:28, :28], pixels[:28, :28])
    assert np.array_equal(half[:28, 28:], mean_colour(pixels)[:28, 28:])


def test_masks_are_asked_in_batches_and_answered_in_order() -> None:
    sizes = []

    def count(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return np.asarray(images[:, 0, 0, 0], np.float64)

    photo = Masked(np.full((4, 4, 3), 200, np.uint8), np.zeros((4, 4, 3), np.uint8), count)
    shares = np.linspace(0, 1, BATCH + 9)
    answers = photo(shares[:, None, None] * np.ones((1, 4, 4)))
    assert sizes == [BATCH, 9]
    assert np.allclose(answers, 200 * shares, atol=0.51)


def test_a_blurred_photo_has_its_light_and_no_detail() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    soft = blurred(noise)
    assert abs(float(soft.mean()) - float(noise.mean())) < 2
    assert soft.std() < 0.2 * noise.std()


def test_rise_and_occlusion_point_at_what_counts() -> None:
    photo = question(planted())
    heat = rise(photo, 400, np.random.default_rng(0))
    inside = heat[PATCH].mean()
    outside = np.ones_like(heat, bool)
    outside[0:32, 24:56] = False
    assert inside > heat[outside].mean() + 3 * heat[outside].std()
    windows = occlusion(photo, 7)
    row, column = np.unravel_index(windows.argmax(), windows.shape)
    assert abs((row + 0.5) * 8 - 16) <= 8
    assert abs((column + 0.5) * 8 - 40) <= 8
    assert windows.min() == pytest.approx(0, abs=1e-9)


def test_the_true_map_beats_random_maps_and_the_false_map_loses_to_them() -> None:
    pixels = planted()
    delete, insert = question(pixels), question(pixels, blurred(pixels))
    true = np.zeros((SIDE, SIDE))
    true[PATCH] = 1
    rng = np.random.default_rng(0)
    found = faithfulness(true, delete, insert)
    by_chance = [faithfulness(random_map(rng), delete, insert) for _ in range(8)]
    assert found.deletion_auc < min(f.deletion_auc for f in by_chance)
    assert found.insertion_auc > max(f.insertion_auc for f in by_chance)
    reversed_map = faithfulness(-true, delete, insert)
    assert reversed_map.deletion_auc > max(f.deletion_auc for f in by_chance)
    assert found.as_dict() == {
        "deletion": pytest.approx(found.deletion_auc, abs=1e-6),
        "insertion": pytest.approx(found.insertion_auc, abs=1e-6),
    }


def test_what_one_curve_takes_away_the_other_puts_in() -> None:
    pixels = planted()
    heat = random_map(np.random.default_rng(0))
    curves = faithfulness(heat, question(pixels), question(pixels))
    assert curves.deletion[0] == pytest.approx(250 / 255)
    assert curves.deletion[-1] == 0
    assert np.allclose(curves.insertion + curves.deletion, 250 / 255)


def test_every_pixel_has_a_place_of_its_own_the_strongest_the_first() -> None:
    heat = np.random.default_rng(0).normal(size=(12, 12))
    order = ranks(heat, 12)
    assert sorted(order.ravel().tolist()) == list(range(144))
    assert order[np.unravel_index(heat.argmax(), heat.shape)] == 0
    assert sorted(ranks(heat[:7, :7], 30).ravel().tolist()) == list(range(900))
    assert area(np.array([1.0, 1.0, 1.0])) == 1


def exact_shapley(value: dict[frozenset[int], float], k: int) -> np.ndarray:
    """By the definition, over all subsets."""
    out = np.zeros(k)
    for one in range(k):
        others = [i for i in range(k) if i != one]
        for size in range(k):
            weight = factorial(size) * factorial(k - size - 1) / factorial(k)
            for some in combinations(others, size):
                out[one] += weight * (value[frozenset((*some, one))] - value[frozenset(some)])
    return out


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_shares_add_up_and_equal_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = chessboard(4, 2)
    pixels = np.full((4, 4, 3), 255, np.uint8)
    subsets = [frozenset(s) for n in range(5) for s in combinations(range(4), n)]
    value = {s: float(rng.normal()) for s in subsets}

    def answer(images: np.ndarray) -> np.ndarray:
        seen = images[:, ::2, ::2, 0].reshape(len(images), 4) > 0
        return np.array([value[frozenset(np.flatnonzero(row).tolist())] for row in seen])

    photo = Masked(pixels, np.zeros_like(pixels), answer)
    shares = shapley(photo, labels, 1500, seed)
    whole, nothing = value[frozenset(range(4))], value[frozenset()]
    assert shares.values.sum() == pytest.approx(whole - nothing)
    assert (shares.whole, shares.nothing) == (whole, nothing)
    off = np.abs(shares.values - exact_shapley(value, 4))
    assert (off < 5 * shares.errors + 1e-9).all()


def test_a_sum_of_regions_is_shared_out_exactly_by_one_pair_of_orders() -> None:
    pixels = planted()
    photo = Masked(pixels, np.zeros_like(pixels), lambda i: np.asarray(i.mean(axis=(1, 2, 3))))
    labels = chessboard(SIDE, 4)
    shares = shapley(photo, labels, 0)
    expected = [pixels[labels == i].sum() / pixels.size for i in range(16)]
    assert shares.values.tolist() == pytest.approx(expected)
    assert np.isnan(shares.errors).all()
    assert shares.n_masks == 2 + 2 * 15


def test_one_region_alone_gets_everything() -> None:
    shares = shapley(question(planted()), np.zeros((SIDE, SIDE), np.int64), 50)
    assert shares.values.tolist() == pytest.approx([250 / 255])


def test_regions_are_whole_cover_the_photo_and_follow_its_edges(draw_photo) -> None:
    from scipy import ndimage

    pixels = np.asarray(draw_photo("disc", 3, (224, 224)))
    labels = slic(pixels)
    k = int(labels.max()) + 1
    assert labels.shape == (224, 224)
    assert 8 <= k <= 16
    assert sorted(np.unique(labels).tolist()) == list(range(k))
    assert all(ndimage.label(labels == i)[1] == 1 for i in range(k))
    dark = pixels.mean(axis=2) < 140
    share = np.array([dark[labels == i].mean() for i in range(k)])
    blurry = np.minimum(share, 1 - share) * np.bincount(labels.ravel())
    assert blurry.sum() / labels.size < 0.04  # hardly any region is half disc, half background
    chess = chessboard(224, 4)
    mixed = np.array([dark[chess == i].mean() for i in range(16)])
    assert blurry.sum() < (np.minimum(mixed, 1 - mixed) * np.bincount(chess.ravel())).sum()


@pytest.mark.parametrize("n", [1, 4, 9, 16, 40])
def test_any_number_of_regions_on_any_photo(n: int) -> None:
    flat = slic(np.full((32, 32, 3), 128, np.uint8), n)
    noise = slic(np.random.default_rng(n).integers(0, 256, (97, 97, 3), dtype=np.uint8), n)
    for labels in (flat, noise):
        assert labels.min() == 0
        assert labels.max() < max(1, round(n**0.5)) ** 2
        for i, (left, top, right, bottom) in enumerate(boxes(labels)):
            rows, columns = np.nonzero(labels == i)
            side = len(labels)
            assert (left, right) == (columns.min() / side, (columns.max() + 1) / side)
            assert (top, bottom) == (rows.min() / side, (rows.max() + 1) / side)


def test_a_stretched_grid_keeps_its_cells_whole() -> None:
    assert stretched(np.arange(9).reshape(3, 3), 7).shape == (7, 7)
    assert np.unique(stretched(np.arange(9).reshape(3, 3), 7)).tolist() == list(range(9))
