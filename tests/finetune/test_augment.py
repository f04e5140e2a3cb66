"""Photos are changed as a seed says, never beyond what the task allows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from listlens.finetune.augment import Augmentation, cutmix, mixup, perspective

STILL = Augmentation(flip=False, crop=0, tilt=0, perspective=0, light=0, colour=0, blur=0, jpeg=0,
                     mix=0)  # fmt: skip


def photo(seed: int, side: int = 40) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return coarse.repeat(side // 8, 0).repeat(side // 8, 1)


def batch(augmentation: Augmentation, threads: int, seed: int = 3) -> Any:
    with ThreadPoolExecutor(threads) as pool:
        return augmentation.batch(photo, np.arange(6), 32, (seed, 0), pool)


def test_a_seed_gives_the_same_batch_whatever_the_threads() -> None:
    (one, rows, share), (two, others, again) = (batch(Augmentation(), n) for n in (1, 3))
    assert one.dtype == np.uint8
    assert one.shape == (6, 32, 32, 3)
    assert np.array_equal(one, two)
    assert (rows.tolist(), share) == (others.tolist(), again)
    assert not np.array_equal(one, batch(Augmentation(), 2, seed=4)[0])


def test_without_any_strength_a_photo_is_only_resized() -> None:
    flat = np.full((40, 40, 3), (200, 10, 90), np.uint8)
    assert np.array_equal(STILL.one(flat, 32, np.random.default_rng(0)), flat[:32, :32])


def test_no_photo_shows_what_is_beside_it() -> None:
    """Tilt and perspective stay inside the photo: no black corner."""
    white = np.full((40, 40, 3), 255, np.uint8)
    strong = Augmentation(crop=0.3, tilt=20, perspective=0.2, light=0, colour=0, blur=0, jpeg=0)
    for seed in range(30):
        assert strong.one(white, 32, np.random.default_rng(seed)).min() == 255


def test_half_of_the_photos_are_mirrored_where_that_is_allowed() -> None:
    ramp = np.linspace(0, 255, 40).astype(np.uint8)[None, :, None].repeat(40, 0).repeat(3, 2)
    mirroring = Augmentation(**{**vars(STILL), "flip": True})
    falls = [
        bool(x[0, 0, 0] > x[0, -1, 0])
        for x in (mirroring.one(ramp, 32, np.random.default_rng(s)) for s in range(60))
    ]
    assert 15 < sum(falls) < 45


@pytest.mark.parametrize(
    ("classes", "flip"),
    [(["front", "rear"], True), (["Left side", "front"], False), (["von_links"], False),
     (["aleft"], True)],
)  # fmt: skip
def test_no_photo_is_mirrored_where_a_class_says_left_or_right(
    classes: list[str], flip: bool
) -> None:
    assert Augmentation.fitting("single", classes).flip is flip


def test_what_people_judge_is_left_alone_for_scores() -> None:
    gentle = Augmentation.fitting("score", ["1", "2", "3"])
    assert gentle.flip
    assert (gentle.light, gentle.blur, gentle.jpeg, gentle.mix, gentle.tilt) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_mixing_takes_the_stated_share_of_each_photo(mix: Any) -> None:
    black_and_white = np.stack(
        [np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)]
    )
    for seed in range(10):
        mixed, share = mix(black_and_white, np.random.default_rng(seed))
        assert 0 <= share <= 1
        assert mixed[1].mean() / 255 == pytest.approx(share, abs=0.01)
        assert mixed[0].mean() / 255 == pytest.approx(1 - share, abs=0.01)


def test_mixed_batches_name_the_photos_that_they_were_mixed_with() -> None:
    always = Augmentation(**{**vars(STILL), "mix": 1.0})
    _, others, share = batch(always, 2)
    assert others.tolist() == [5, 0, 1, 2, 3, 4]
    assert 0 <= share < 1


def test_a_view_takes_the_corners_where_it_says() -> None:
    corners = np.array([[3.0, 1.0], [30.0, 2.0], [28.0, 31.0], [1.0, 27.0]])
    a, b, c, d, e, f, g, h = perspective(16, corners)
    for (x, y), (u, v) in zip([(0, 0), (16, 0), (16, 16), (0, 16)], corners, strict=True):
        below = g * x + h * y + 1
        assert ((a * x + b * y + c) / below, (d * x + e * y + f) / below) == pytest.approx((u, v))
