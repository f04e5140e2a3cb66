"""A photo taken on its side stands upright in everything made of it, in every format."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from listlens.core.types import Preprocessing
from listlens.images.decode import decode, upright
from listlens.images.prepare import prepare

WIDTH, HEIGHT = 96, 64
CORNERS = {
    "upper left": (220, 30, 30),
    "upper right": (30, 200, 30),
    "lower left": (40, 40, 220),
    "lower right": (230, 220, 40),
}
# How a camera has to store the upright picture, so that each value of the tag undoes it.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"]


def seen() -> np.ndarray:
    """Four quarters of four colours, as a person sees them."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rows, columns = (slice(0, HEIGHT // 2), slice(HEIGHT // 2, None)), (slice(0, 48), slice(48, 96))
    for (i, j), colour in zip(((0, 0), (0, 1), (1, 0), (1, 1)), CORNERS.values(), strict=True):
        pixels[rows[i], columns[j]] = colour
    return pixels


def photo(fmt: str, orientation: int, picture: Image.Image | None = None) -> bytes:
    image = picture or Image.fromarray(seen())
    if STORED[orientation] is not None:
        image = image.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    if fmt == "HEIF":
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(image).save(stream, quality=95, exif=exif.tobytes())
    else:
        image.save(stream, fmt, exif=exif, **({} if fmt in ("PNG", "TIFF") else {"quality": 95}))
    return stream.getvalue()


def assert_corners(pixels: np.ndarray) -> None:
    height, width, _ = pixels.shape
    places = [(y, x) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    for (name, colour), (y, x) in zip(CORNERS.items(), places, strict=True):
        assert np.abs(pixels[y, x].astype(int) - colour).max() < 30, name


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", FORMATS)
def test_the_four_corners_stand_where_a_person_sees_them(fmt: str, orientation: int) -> None:
    decoded = decode(photo(fmt, orientation))
    assert (decoded.width_px, decoded.height_px) == (WIDTH, HEIGHT)
    pixels = decoded.finished(decoded.pixels)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert_corners(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "TIFF", "WEBP"])
def test_input_thumbnail_and_sizes_are_upright(fmt: str, orientation: int) -> None:
    prepared = prepare(photo(fmt, orientation), Preprocessing(size_px=64), thumbnail_px=48)
    assert_corners(prepared.pixels)
    with Image.open(io.BytesIO(prepared.thumbnail)) as thumbnail:
        assert thumbnail.size == (48, 32)
        assert_corners(np.asarray(thumbnail))
    assert (prepared.width_px, prepared.height_px) == (WIDTH, HEIGHT)
    assert (prepared.measures.width_px, prepared.measures.height_px) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_centre_crop_is_upright_too(orientation: int) -> None:
    wanted = Preprocessing(size_px=64, fit="crop")
    assert_corners(prepare(photo("PNG", orientation), wanted).pixels)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_orientation_measures_like_the_upright_photo(orientation: int) -> None:
    blobs = np.random.default_rng(5).integers(0, 256, (6, 9, 3), np.uint8)
    picture = Image.fromarray(blobs).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    straight = prepare(photo("PNG", 1, picture), Preprocessing()).measures
    turned = prepare(photo("PNG", orientation, picture), Preprocessing()).measures
    assert (turned.phash ^ straight.phash).bit_count() <= 1
    for name in ("dark", "bright", "brightness", "contrast", "entropy", "colourfulness"):
        assert getattr(turned, name) == pytest.approx(getattr(straight, name), abs=0.02)


@pytest.mark.parametrize("value", [0, 9, 255, 65535], ids=str)
def test_values_the_standard_does_not_know_change_nothing(value: int) -> None:
    exif = Image.Exif()
    exif[274] = value
    stream = io.BytesIO()
    Image.fromarray(seen()).save(stream, "PNG", exif=exif)
    decoded = decode(stream.getvalue())
    assert decoded.orientation == 1
    assert np.array_equal(decoded.finished(decoded.pixels), seen())


@pytest.mark.parametrize("orientation", [-1, 0, 1, 9])
def test_upright_gives_back_what_needs_no_turning(orientation: int) -> None:
    pixels = seen()
    assert upright(pixels, orientation) is pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_loses_no_pixel_and_gives_contiguous_memory(orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    turned = upright(pixels, orientation)
    assert turned.flags.c_contiguous
    assert turned.shape == ((7, 5, 3) if orientation >= 5 else (5, 7, 3))
    assert sorted(map(tuple, turned.reshape(-1, 3))) == sorted(map(tuple, pixels.reshape(-1, 3)))
