"""Colours come out as a screen would show them: profiles, depths, palettes and transparency."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from listlens.core.types import Preprocessing
from listlens.images.colour import rgb_pixels, to_srgb
from listlens.images.decode import decode
from listlens.images.prepare import prepare

# Primaries adapted to the D50 white of ICC profiles (columns of the matrices to XYZ).
DISPLAY_P3 = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def matrix_profile(primaries, gamma: float, name: str, space: bytes = b"RGB ") -> bytes:
    """Write an ICC profile, version 2, byte by byte: three primaries and one gamma."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    text = name.encode() + b"\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    tags = [(b"desc", desc), (b"wtpt", xyz((0.9642, 1.0, 0.8249))), (b"cprt", b"text\0\0\0\0-\0")]
    tags += [(key, xyz(p)) for key, p in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)]
    tags += [(key, curve) for key in (b"rTRC", b"gTRC", b"bTRC")]
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for key, data in tags:
        table += key + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = at + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return (header + bytes(128 - len(header))) + table + body


PROFILES = {
    "display p3": matrix_profile(DISPLAY_P3, 2.2, "Display P3"),
    "adobe rgb": matrix_profile(ADOBE_RGB, 2.19921875, "Adobe RGB (1998)"),
}


def colours() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (40, 60, 3), np.uint8)


def encoded(image, fmt: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, fmt, **options)
    return stream.getvalue()


def by_pillow(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(pixels), source, srgb))


@pytest.mark.parametrize("name", PROFILES)
def test_a_wide_profile_is_converted_as_the_colour_library_does(name: str) -> None:
    pixels = colours()
    ours = to_srgb(pixels.copy(), PROFILES[name])
    assert np.abs(ours.astype(int) - by_pillow(pixels, PROFILES[name])).max() <= 1
    assert np.abs(ours.astype(int) - pixels).max() > 20  # it is no mere copy


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_profile_in_the_file_is_found_and_applied(fmt: str, name: str) -> None:
    green = np.full((16, 16, 3), (60, 200, 60), np.uint8)
    decoded = decode(encoded(green, fmt, icc_profile=PROFILES[name]))
    shown = decoded.finished(decoded.pixels)[8, 8].astype(int)
    expected = by_pillow(green, PROFILES[name])[8, 8]
    assert np.abs(shown - expected).max() <= 4  # what the lossy formats add
    assert shown[0] < 50  # more saturated than the stored number says


def test_grey_stays_grey_whatever_the_profile() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    shown = to_srgb(ramp.copy(), PROFILES["display p3"]).astype(int)
    assert np.ptp(shown, axis=2).max() <= 2
    assert (np.diff(shown[0, :, 1]) >= 0).all()
    assert shown[0, 0, 1] == 0
    assert shown[0, -1, 1] == 255


def test_input_and_thumbnail_are_both_converted() -> None:
    green = np.full((80, 80, 3), (60, 200, 60), np.uint8)
    data = encoded(green, icc_profile=PROFILES["display p3"])
    prepared = prepare(data, Preprocessing(size_px=32), thumbnail_px=40)
    expected = by_pillow(green, PROFILES["display p3"])[0, 0].astype(int)
    assert np.abs(prepared.pixels[5, 5].astype(int) - expected).max() <= 1
    with Image.open(io.BytesIO(prepared.thumbnail)) as thumbnail:
        assert "icc_profile" not in thumbnail.info
        assert np.abs(np.asarray(thumbnail)[5, 5].astype(int) - expected).max() <= 4


@pytest.mark.parametrize(
    "profile",
    [
        None,
        b"",
        b"no profile at all",
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        PROFILES["display p3"][:200],
        matrix_profile(DISPLAY_P3, 2.2, "grey", b"GRAY"),
        matrix_profile(DISPLAY_P3, 2.2, "print", b"CMYK"),
        PROFILES["display p3"] + bytes(5 * 2**20),
    ],
    ids=["none", "empty", "text", "srgb", "cut", "grey", "cmyk", "5 MiB"],
)
def test_profiles_without_use_leave_the_pixels_alone(profile: bytes | None) -> None:
    pixels = colours()
    assert np.array_equal(to_srgb(pixels.copy(), profile), pixels)


def test_converting_leaves_the_callers_pixels_unchanged() -> None:
    pixels = colours()
    before = pixels.copy()
    to_srgb(pixels, PROFILES["adobe rgb"])
    assert np.array_equal(pixels, before)


CMYK = [
    ((0, 0, 0, 0), (255, 255, 255)),
    ((0, 0, 0, 255), (0, 0, 0)),
    ((255, 0, 0, 0), (0, 255, 255)),
    ((0, 255, 255, 0), (255, 0, 0)),
    ((0, 0, 0, 128), (127, 127, 127)),
]


@pytest.mark.parametrize(("ink", "light"), CMYK, ids=[str(ink) for ink, _ in CMYK])
@pytest.mark.parametrize("fmt", ["JPEG", "TIFF"])
def test_printing_inks_become_the_light_they_reflect(fmt: str, ink: tuple, light: tuple) -> None:
    options = {"quality": 100} if fmt == "JPEG" else {}
    decoded = decode(encoded(Image.new("CMYK", (24, 16), ink), fmt, **options))
    assert decoded.pixels.shape == (16, 24, 3)
    assert np.abs(decoded.pixels[8, 8].astype(int) - light).max() <= 3


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("stored", "shown"), [(0, 0), (257, 1), (32768, 128), (65278, 254), (65535, 255)], ids=str
)
def test_16_bit_greys_keep_their_share_of_white(fmt: str, stored: int, shown: int) -> None:
    grey = np.full((8, 8), stored, np.uint16)
    assert np.all(decode(encoded(grey, fmt)).pixels == shown)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.float32([0.0, 0.5, 1.0]), [0, 128, 255]),
        (np.float32([0.0, 50.0, 100.0]), [0, 128, 255]),
        (np.float32([np.nan, np.inf, 1.0]), [0, 0, 255]),
        (np.int32([0, 32768, 65535]), [0, 128, 255]),
        (np.int32([0, 510_000, 1_020_000]), [0, 128, 255]),
        (np.int32([-5, 0, 65535]), [0, 0, 255]),
    ],
    ids=["fractions", "floats", "not numbers", "16 bits", "more bits", "negative"],
)
def test_greys_of_any_depth_become_8_bits(values: np.ndarray, shown: list[int]) -> None:
    pixels = rgb_pixels(Image.fromarray(values[None]))
    assert pixels.dtype == np.uint8
    assert pixels[0].tolist() == [[level] * 3 for level in shown]


def test_16_bit_colour_is_scaled_not_clipped() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    row = b"\0" + struct.pack(">HHH", 65535, 32896, 0) * 4
    header = struct.pack(">IIBBBBB", 4, 2, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(row * 2)) + chunk(b"IEND", b"")
    assert np.all(decode(data).pixels == (255, 128, 0))


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("alpha", [0, 1, 64, 128, 200, 254, 255])
def test_transparency_lies_over_white_exactly(fmt: str, alpha: int) -> None:
    colour = np.array([200, 100, 0])
    stored = np.zeros((8, 8, 4), np.uint8)
    stored[:] = (*colour, alpha)
    options = {"lossless": True, "exact": True} if fmt == "WEBP" else {}
    shown = decode(encoded(stored, fmt, **options)).pixels[4, 4]
    expected = (colour * alpha + 255 * (255 - alpha)) / 255
    assert np.abs(shown - expected).max() <= 0.51


def test_grey_with_transparency_lies_over_white_too() -> None:
    stored = Image.merge("LA", (Image.new("L", (4, 4), 100), Image.new("L", (4, 4), 51)))
    assert np.abs(decode(encoded(stored)).pixels.astype(int) - 224).max() <= 1


def palette() -> Image.Image:
    image = Image.new("P", (30, 10))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.paste(1, (10, 0, 20, 10))
    image.paste(2, (20, 0, 30, 10))
    return image


@pytest.mark.parametrize("fmt", ["PNG", "GIF", "TIFF", "BMP"])
def test_a_palette_gives_its_colours(fmt: str) -> None:
    pixels = decode(encoded(palette(), fmt)).pixels
    assert pixels[5, [5, 15, 25]].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


@pytest.mark.parametrize("fmt", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_becomes_white(fmt: str) -> None:
    pixels = decode(encoded(palette(), fmt, transparency=1)).pixels
    assert pixels[5, [5, 15, 25]].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_a_palette_may_be_half_transparent() -> None:
    pixels = decode(encoded(palette(), "PNG", transparency=bytes([255, 0, 128]))).pixels
    assert pixels[5, 15].tolist() == [255, 255, 255]
    assert np.abs(pixels[5, 25].astype(int) - (127, 127, 255)).max() <= 1


@pytest.mark.parametrize(
    ("mode", "level", "key"), [("RGB", (9, 9, 9), (9, 9, 9)), ("L", 9, 9)], ids=["RGB", "L"]
)
def test_a_colour_that_stands_for_clear_becomes_white(
    mode: str, level: object, key: object
) -> None:
    image = Image.new(mode, (4, 4), level)
    assert decode(encoded(image, "PNG", transparency=key)).pixels.min() == 255


def test_black_and_white_bits_become_black_and_white() -> None:
    image = Image.new("1", (9, 4))
    image.paste(1, (3, 0, 9, 4))
    assert decode(encoded(image, "TIFF")).pixels[0, :, 0].tolist() == [0] * 3 + [255] * 6


def test_a_jpeg_that_stores_rgb_itself_is_not_taken_for_luma_and_chroma() -> None:
    pixels = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    shown = decode(encoded(pixels, "JPEG", keep_rgb=True, quality=98)).pixels
    assert np.abs(shown.astype(int) - (200, 40, 90)).max() <= 3


def test_a_grey_jpeg_has_three_equal_channels() -> None:
    pixels = decode(encoded(Image.linear_gradient("L"), "JPEG"), reduced_px=64).pixels
    assert pixels.shape == (64, 64, 3)
    assert np.ptp(pixels.astype(int), axis=2).max() == 0
