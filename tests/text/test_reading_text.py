"""Text in photos: found where it is, not found where it is not, measured, never a trap."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from listlens.core.errors import PhotoError
from listlens.core.text import TextLine, text_measures
from listlens.images.overlay import overlay_measures
from listlens.images.text import MIN_CHARACTERS, TextReader


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return TextReader()


def test_a_line_is_read_where_it_stands(reader, photo):
    reading = reader.read(photo("SUMMER SALE"))
    (line,) = reading.lines
    assert line.text.replace(" ", "").lower() == "summersale"
    assert line.confidence > 0.9
    xs, ys = line.corners[::2], line.corners[1::2]
    assert 0.03 < min(xs) < 0.1 and 0.7 < min(ys) < max(ys) <= 1
    assert reading.measures["text_area"] == pytest.approx(line.area, abs=1e-4)
    assert reading.words == line.text.casefold()


def test_noise_and_stripes_hold_no_text(reader, photo, draw_photo):
    assert reader.read(photo()).lines == ()
    for shape in ("disc", "stripes", "speckle"):
        assert reader.read_pixels(np.asarray(draw_photo(shape, 3))).lines == ()


@pytest.mark.slow
def test_strings_shorter_than_three_characters_do_not_count(reader, photo):
    assert reader.read(photo("OK")).lines == ()
    assert len(reader.read(photo("OKAY")).lines) == 1
    assert MIN_CHARACTERS == 3


@pytest.mark.slow
def test_a_turned_photo_is_read_upright(reader, photo):
    image = Image.open(io.BytesIO(photo("SUMMER SALE")))
    exif = Image.Exif()
    exif[274] = 6  # shown turned right
    stream = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(stream, "JPEG", quality=92, exif=exif)
    (line,) = reader.read(stream.getvalue()).lines
    assert line.text.replace(" ", "") == "SUMMERSALE"


@pytest.mark.slow
@pytest.mark.parametrize("size", [(10, 10), (2000, 40), (40, 2000), (1100, 900)], ids=str)
def test_photos_of_any_size_are_read(reader, photo, size):
    reading = reader.read(photo(size=size))
    assert all(0 <= c <= 1 for line in reading.lines for c in line.corners)


@pytest.mark.slow
def test_text_on_a_narrow_strip_is_placed_on_the_strip(reader, photo):
    strip = np.zeros((90, 900, 3), np.uint8)
    full = np.asarray(Image.open(io.BytesIO(photo("SUMMER SALE"))))
    strip[:, :640] = full[345:435]
    (line,) = reader.read_pixels(strip).lines
    assert line.text.replace(" ", "") == "SUMMERSALE"
    assert 0 < min(line.corners[1::2]) < max(line.corners[1::2]) <= 1
    assert max(line.corners[::2]) < 0.75


def test_bytes_that_are_no_photo_fail_with_a_reason(reader):
    with pytest.raises(PhotoError, match="not_an_image"):
        reader.read(b"<html>")


def test_a_drawn_panel_raises_the_graphic_measures(photo):
    plain, drawn = (
        overlay_measures(np.asarray(Image.open(io.BytesIO(photo(text))))) for text in ("", "SALE")
    )
    for name in ("panel_area", "edge_across", "vivid_rim", "top_colour"):
        assert drawn[name] > plain[name] + 0.1, name


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_graphic_measures_are_shares_whatever_the_picture(height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert all(0 <= value <= 1 for value in overlay_measures(pixels).values())


def test_measures_of_text_add_up_and_stay_within_one():
    whole = TextLine("a b c", 1.0, (0, 0, 1, 0, 1, 1, 0, 1))
    half = TextLine("d e", 0.5, (0, 0, 1, 0, 1, 0.5, 0, 0.5))
    assert text_measures((whole, half)) == {"text_area": 1.0, "n_words": 5.0, "text_height": 1.0}
    assert text_measures((half,))["text_area"] == 0.5
    with pytest.raises(ValueError, match="four corners"):
        TextLine("x", 1.0, (0, 0, 2, 0, 1, 1, 0, 1))
