"""Decoding: every format and every kind of bad file, made here byte by byte."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from listlens.core.errors import PhotoError
from listlens.core.types import Reason
from listlens.images import jpeg
from listlens.images.decode import Limits, decode
from listlens.images.files import DEFAULT_LIMITS

HALVES = np.zeros((60, 80, 3), np.uint8)
HALVES[:, :40] = (200, 30, 30)
HALVES[:, 40:] = (30, 30, 200)


def encoded(image: Image.Image | NDArray[np.uint8], fmt: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, fmt, **options)
    return stream.getvalue()


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], 2).astype(np.uint8)


def refusal(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Reason:
    with pytest.raises(PhotoError) as caught:
        decode(data, reduced_px=448, limits=limits)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_every_format_gives_the_same_picture(fmt: str) -> None:
    decoded = decode(encoded(HALVES, fmt))
    assert (decoded.format, decoded.width_px, decoded.height_px) == (fmt, 80, 60)
    assert decoded.pixels.shape == (60, 80, 3)
    assert np.abs(decoded.pixels[30, 10].astype(int) - (200, 30, 30)).max() < 12
    assert np.abs(decoded.pixels[30, 70].astype(int) - (30, 30, 200)).max() < 12


def test_heic() -> None:
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    heif.from_pillow(Image.fromarray(HALVES)).save(stream)
    decoded = decode(stream.getvalue())
    assert decoded.pixels.shape == (60, 80, 3)
    assert np.abs(decoded.pixels[30, 10].astype(int) - (200, 30, 30)).max() < 12


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    fmt = "TIFF" if mode == "CMYK" else "PNG"
    decoded = decode(encoded(Image.fromarray(HALVES).convert(mode), fmt))
    assert decoded.pixels.shape == (60, 80, 3)
    assert decoded.pixels.dtype == np.uint8


def test_cmyk_jpeg_is_not_inverted() -> None:
    decoded = decode(encoded(Image.fromarray(HALVES).convert("CMYK"), "JPEG"))
    assert np.abs(decoded.pixels[30, 10].astype(int) - (200, 30, 30)).max() < 30


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(fmt: str) -> None:
    grey = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(8, axis=0)
    decoded = decode(encoded(Image.fromarray(grey), fmt))
    assert np.array_equal(decoded.pixels[0, :, 0], np.arange(256))


def test_transparency_lies_over_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert decode(encoded(clear, "PNG")).pixels.min() == 255
    palette = Image.new("P", (4, 4), 0)
    assert decode(encoded(palette, "GIF", transparency=0)).pixels.min() == 255


def test_of_an_animation_the_first_frame_is_taken_quickly() -> None:
    frames = [Image.new("L", (32, 32), i % 251) for i in range(10_000)]
    data = encoded(frames[7], "GIF", save_all=True, append_images=frames[8:], duration=20)
    start = time.process_time()
    decoded = decode(data)
    assert time.process_time() - start < 0.2
    assert abs(int(decoded.pixels[0, 0, 0]) - 7) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone(orientation: int) -> None:
    seen = np.zeros((32, 48, 3), np.uint8)
    seen[:16, :24] = 255  # white at the upper left, as a person sees it
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = Image.fromarray(seen)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[274] = orientation
    decoded = decode(encoded(stored, "JPEG", quality=95, exif=exif))
    upright = decoded.finished(decoded.pixels)
    assert (decoded.width_px, decoded.height_px) == (48, 32)
    assert np.abs(upright.astype(int) - seen).max() < 40


def test_broken_exif_does_not_fail_the_photo() -> None:
    broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(200))
    assert decode(encoded(HALVES, "JPEG", exif=broken)).orientation == 1


def test_other_colour_profiles_become_srgb_and_broken_ones_are_ignored() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (lab, b"nonsense", lab[:60]):
        decoded = decode(encoded(HALVES, "JPEG", icc_profile=profile))
        assert np.array_equal(decoded.finished(decoded.pixels), decoded.pixels)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("side", "expected"), [(447, 447), (900, 450), (1800, 450), (895, 895)])
def test_jpegs_are_decoded_at_the_smallest_scale_that_suffices(
    side: int, expected: int, progressive: bool
) -> None:
    data = encoded(smooth(side, side + 100), "JPEG", progressive=progressive)
    decoded = decode(data, reduced_px=448)
    assert decoded.pixels.shape[0] == expected
    assert (decoded.width_px, decoded.height_px) == (side + 100, side)


def test_without_the_fast_decoder_pixels_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(smooth(901, 1300), "JPEG", quality=88)
    fast = decode(data, reduced_px=448).pixels
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    assert np.array_equal(decode(data, reduced_px=448).pixels, fast)


@pytest.mark.parametrize(
    "data",
    [b"<!doctype html><p>404", b"hello", b"\0" * 100, b"%PDF-1.7", b"RIFF0000WAVE", b"x"],
    ids=["html", "text", "zeros", "pdf", "wave", "one byte"],
)
def test_what_is_no_photo(data: bytes) -> None:
    assert refusal(data) is Reason.NOT_AN_IMAGE


def test_empty_and_too_many_bytes() -> None:
    assert refusal(b"") is Reason.EMPTY
    assert refusal(b"x" * 11, Limits(max_bytes=10)) is Reason.TOO_MANY_BYTES


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "GIF", "BMP"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated(fmt: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    data = encoded(noise, fmt)
    assert refusal(data[: int(len(data) * kept)]) in (Reason.TRUNCATED, Reason.DAMAGED)


def test_a_truncated_jpeg_says_so() -> None:
    data = encoded(smooth(900, 1300), "JPEG")
    assert refusal(data[: len(data) * 2 // 3]) is Reason.TRUNCATED


def huge_png(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    tracemalloc.start()
    assert refusal(huge_png(50_000)) is Reason.TOO_MANY_PIXELS
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_an_extended_webp_with_a_giant_canvas_is_refused_before_it_is_allocated() -> None:
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff\xff\xff\xff" + bytes(99)
    data = b"RIFF" + struct.pack("<I", len(body)) + body
    assert refusal(data) is Reason.TOO_MANY_PIXELS


def test_a_jpeg_with_thousands_of_scans_is_refused() -> None:
    data = encoded(smooth(64, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    hostile = data[:last] + data[last:-2] * 2000 + data[-2:]
    start = time.process_time()
    assert refusal(hostile) is Reason.TOO_SLOW
    assert time.process_time() - start < 0.5


def test_what_must_be_held_whole_has_the_lower_pixel_limit() -> None:
    limits = Limits(max_full_pixels=60 * 80 - 1)
    assert refusal(encoded(HALVES, "PNG"), limits) is Reason.TOO_MANY_PIXELS
    assert refusal(encoded(HALVES, "JPEG", progressive=True), limits) is Reason.TOO_MANY_PIXELS
    assert decode(encoded(HALVES, "JPEG"), limits=limits).width_px == 80


def test_the_time_limit_stops_a_decoder_between_blocks() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3)).astype(np.uint8)
    assert refusal(encoded(noise, "PNG"), Limits(max_s=-1.0)) is Reason.TOO_SLOW
