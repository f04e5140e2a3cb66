"""Banners and second objects cover what they should, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.types import Preprocessing
from listlens.images.additions import with_banner, with_second
from listlens.images.prepare import input_of, prepare, upright_pixels


def photo(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (height, width, 3), dtype=np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 1), st.integers(1, 90), st.integers(1, 90))
def test_a_banner_covers_its_share_of_the_top_or_the_bottom(seed, share, height, width) -> None:
    before = photo(height, width)
    after = with_banner(before, share, seed)
    assert after.shape == before.shape
    bar = max(1, round(height * share))
    rows = (after != before).any(axis=(1, 2))
    assert not rows[bar : height - bar].any()
    assert rows[:bar].any() != rows[height - bar :].any() or 2 * bar > height
    assert np.array_equal(after, with_banner(before, share, seed))


def test_a_banner_says_something() -> None:
    bar = with_banner(photo(), 0.25, 1)
    rows = (bar != photo()).any(axis=(1, 2))
    assert len(np.unique(bar[rows].reshape(-1, 3), axis=0)) > 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 0.7))
def test_a_second_object_covers_its_share_of_the_area(seed, share) -> None:
    before, other = photo(), np.full((90, 70, 3), 255, np.uint8)
    after = with_second(before, other, share, seed)
    covered = (after == 255).all(axis=2)
    assert covered.mean() == pytest.approx(share, abs=0.02)
    assert np.array_equal(after[~covered], before[~covered])


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (3, 2)], ids=str)
def test_tiny_photos_are_written_over_too(size) -> None:
    tiny = photo(*size)
    assert with_second(tiny, tiny, 0.25).shape == tiny.shape
    assert with_banner(tiny, 0.1).shape == tiny.shape


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_a_decoded_photo_becomes_the_input_that_its_bytes_become(draw_photo, fit) -> None:
    import io

    stream = io.BytesIO()
    draw_photo("disc", 1).save(stream, "PNG")
    how = Preprocessing(size_px=64, fit=fit)
    pixels = upright_pixels(stream.getvalue(), 512)
    assert np.array_equal(input_of(pixels, how), prepare(stream.getvalue(), how).pixels)
    assert max(upright_pixels(stream.getvalue(), 40).shape) == 40
