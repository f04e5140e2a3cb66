"""What a class looks for, found exactly; and explanations drawn where they belong."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from listlens.core.types import Preprocessing
from listlens.explain.looking import HIGH, LOW, directions, most_liked, peak_box
from listlens.explain.masking import stretched
from listlens.explain.pictures import seen_part, strongest, with_box, with_regions


def jpeg(width: int = 160, height: int = 120, colour=(90, 90, 90)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "JPEG", quality=95)
    return out.getvalue()


def chessboard(side: int, per_side: int) -> np.ndarray:
    """Labels of `per_side` squared regions `(side, side)`."""
    return stretched(np.arange(per_side**2).reshape(per_side, per_side), side)


def pixels_of(photo: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(photo)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB")).astype(int)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 40))
def test_the_most_liked_are_those_of_one_large_sort_however_they_come(seed, n, size) -> None:
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(50, 8))
    ids = rng.permutation(1000)[:50]
    wanted = rng.normal(size=(3, 8))
    blocks = [(ids[i : i + size], embeddings[i : i + size]) for i in range(0, 50, size)]
    found = most_liked(blocks, wanted, n)
    products = embeddings @ wanted.T
    for row, column in zip(found, products.T, strict=True):
        order = np.argsort(-column)[:n]
        assert [like.content_id for like in row] == ids[order].tolist()
        assert [like.contribution for like in row] == pytest.approx(
            (column[order] - column.mean()).tolist()
        )


def test_no_stored_photo_is_liked_by_none() -> None:
    assert most_liked([], np.eye(2), 3) == [[], []]


def test_directions_are_the_heads_own_for_many_answers_and_differences_for_one() -> None:
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    multi = directions("multi", ("a", "b", "c"), weights)
    assert multi["b"].tolist() == [0, 1]
    single = directions("single", ("a", "b", "c"), weights)
    assert single["a"].tolist() == [1, -0.5]
    assert np.allclose(sum(single.values()), 0)


@given(st.integers(0, 10**6))
def test_high_and_low_scores_lie_opposite_and_high_ones_raise_the_high_steps(seed) -> None:
    weights = np.random.default_rng(seed).normal(size=(5, 6))
    found = directions("score", ("1", "2", "3", "4", "5"), weights)
    assert list(found) == [HIGH, LOW]
    assert np.array_equal(found[HIGH], -found[LOW])
    logits = weights @ found[HIGH]
    assert np.arange(-2, 3) @ logits >= 0


@pytest.mark.parametrize("cell", [(0, 0), (3, 5), (6, 6)], ids=str)
def test_the_frame_is_around_the_peak_and_not_around_other_high_places(cell) -> None:
    heat = np.zeros((7, 7))
    heat[cell] = 1.0
    heat[(cell[0] + 3) % 7, (cell[1] + 3) % 7] = 0.95  # high, but not joined to the peak
    left, top, right, bottom = peak_box(heat)
    assert (left, top) == (cell[1] / 7, cell[0] / 7)
    assert (right, bottom) == ((cell[1] + 1) / 7, (cell[0] + 1) / 7)


def test_a_flat_map_frames_the_whole_photo() -> None:
    assert peak_box(np.ones((4, 5))) == (0.0, 0.0, 1.0, 1.0)


def test_regions_for_are_orange_against_blue_and_the_rest_grey() -> None:
    values = np.array([0.5, -0.5, 0.0, 0.0])
    drawn = pixels_of(with_regions(jpeg(200, 200), chessboard(200, 2), values))
    # Corners of the regions, away from edges and numbers.
    red_less_blue = drawn[..., 0] - drawn[..., 2]
    assert red_less_blue[10:40, 10:40].mean() > 60
    assert red_less_blue[10:40, 160:190].mean() < -60
    assert abs(red_less_blue[160:190, 10:40].mean()) < 6


def test_the_strongest_are_numbered_first_whether_for_or_against() -> None:
    assert strongest(np.array([0.1, -0.9, 0.4, 0.4])) == [1, 2, 3, 0]
    numbered = pixels_of(with_regions(jpeg(200, 200), chessboard(200, 3), np.eye(9)[4]))
    assert numbered[70:130, 70:130].min() < 30  # the outline of the number in the middle


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (160, 120)], ids=str)
def test_any_thumbnail_can_be_drawn_on(size) -> None:
    photo = jpeg(*size)
    for drawn in (
        with_box(photo, (0.25, 0.25, 0.75, 0.75)),
        with_regions(photo, chessboard(50, 2), np.zeros(4)),
    ):
        assert pixels_of(drawn).shape == (size[1], size[0], 3)


def test_a_frame_lies_where_its_box_is() -> None:
    drawn = pixels_of(with_box(jpeg(200, 100), (0.5, 0.2, 0.9, 0.8)))
    changed = np.abs(drawn - 90).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert (columns.min(), rows.min()) == (pytest.approx(100, abs=3), pytest.approx(20, abs=3))
    assert (columns.max(), rows.max()) == (pytest.approx(179, abs=3), pytest.approx(79, abs=3))
    assert not changed[40:60, 120:160].any()  # what is inside stays to be seen


def test_what_a_cropping_backbone_sees_is_the_square_in_the_middle() -> None:
    pixels = np.zeros((80, 200, 3), np.uint8)
    pixels[:, 60:140] = 255
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    whole = out.getvalue()
    assert seen_part(whole, Preprocessing(fit="squash")) == whole
    seen = pixels_of(seen_part(whole, Preprocessing(fit="crop")))
    assert seen.shape == (80, 80, 3)
    assert seen[:, 4:-4].mean() > 245
