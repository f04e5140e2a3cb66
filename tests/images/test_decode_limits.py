"""What decoding gives at each scale, and what it refuses, to the byte and to the pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from listlens.core.errors import PhotoError
from listlens.core.types import Preprocessing, Reason
from listlens.images.decode import decode
from listlens.images.files import DEFAULT_LIMITS, Limits
from listlens.images.formats import FORMATS, format_of, stored_size
from listlens.images.prepare import Prepared, prepare


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = 128 + 90 * np.sin(x / 23) * np.cos(y / 17)
    return np.stack([waves, x * 255 / width, y * 255 / height], axis=2).astype(np.uint8)


def encoded(pixels: np.ndarray, fmt: str, **options: object) -> bytes:
    stream = io.BytesIO()
    if fmt == "HEIC":
        pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(pixels)).save(stream)
    else:
        Image.fromarray(pixels).save(stream, fmt, **options)
    return stream.getvalue()


def refused(data: bytes, limits: Limits = DEFAULT_LIMITS) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        decode(data, reduced_px=448, limits=limits)
    return caught.value


@pytest.mark.parametrize(
    ("size", "reduced_px", "scaled"),
    [
        ((640, 480), None, (640, 480)),
        ((640, 480), 448, (640, 480)),
        ((640, 480), 240, (320, 240)),
        ((640, 480), 241, (640, 480)),
        ((640, 480), 120, (160, 120)),
        ((640, 480), 60, (80, 60)),
        ((640, 480), 30, (80, 60)),
        ((641, 483), 240, (321, 242)),
        ((641, 483), 100, (161, 121)),
        ((1000, 100), 100, (1000, 100)),
        ((1000, 100), 50, (500, 50)),
        ((9, 7), 1, (3, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey"])
def test_the_scale_is_the_smallest_whose_sides_both_suffice(size, reduced_px, scaled, kind):
    pixels = picture(*size[::-1])
    data = encoded(pixels[:, :, 0] if kind == "grey" else pixels, "JPEG",
                   progressive=kind == "progressive")  # fmt: skip
    decoded = decode(data, reduced_px=reduced_px)
    assert decoded.pixels.shape == (*scaled[::-1], 3)
    assert (decoded.width_px, decoded.height_px) == size


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_what_has_no_reduced_scale_is_decoded_whole(fmt):
    assert decode(encoded(picture(90, 120), fmt), reduced_px=8).pixels.shape == (90, 120, 3)


@pytest.mark.parametrize("reduced_px", [448, 224])
def test_a_reduced_decode_gives_nearly_the_input_of_a_full_one(reduced_px):
    data = encoded(picture(1500, 2000), "JPEG", quality=92)
    full = prepare(data, Preprocessing(reduced_px=10**6), measure=False).pixels.astype(int)
    reduced = prepare(data, Preprocessing(reduced_px=reduced_px), measure=False).pixels
    assert np.abs(full - reduced).mean() < 1.5


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_pixels_are_the_same_again(fmt):
    data = encoded(picture(200, 310), fmt)
    first, second = (decode(data, reduced_px=100).pixels for _ in range(2))
    assert np.array_equal(first, second)


def test_the_byte_limit_is_inclusive_and_says_what_to_do():
    data = encoded(picture(40, 50), "PNG")
    assert decode(data, limits=Limits(max_bytes=len(data))).width_px == 50
    error = refused(data, Limits(max_bytes=len(data) - 1))
    assert error.reason is Reason.TOO_MANY_BYTES
    assert f"{len(data):,}" in error.detail
    assert "Save it smaller" in error.detail


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_pixel_limit_is_inclusive_in_every_format(fmt):
    data = encoded(picture(40, 50), fmt)
    assert decode(data, limits=Limits(max_pixels=2000)).pixels.shape == (40, 50, 3)
    error = refused(data, Limits(max_pixels=1999))
    assert error.reason is Reason.TOO_MANY_PIXELS
    assert "50 x 40" in error.detail
    assert "1,999" in error.detail


@pytest.mark.parametrize("fmt", [f for f in FORMATS if f != "JPEG"])
def test_formats_that_decode_whole_have_the_lower_limit(fmt):
    limits = Limits(max_full_pixels=1999)
    assert refused(encoded(picture(40, 50), fmt), limits).reason is Reason.TOO_MANY_PIXELS
    assert decode(encoded(picture(40, 50), "JPEG"), limits=limits).height_px == 40


def test_the_scan_limit_counts_scans():
    data = encoded(picture(64, 64), "JPEG", progressive=True)
    n_scans = data.count(b"\xff\xda")
    assert decode(data, limits=Limits(max_scans=n_scans)).width_px == 64
    error = refused(data, Limits(max_scans=n_scans - 1))
    assert error.reason is Reason.TOO_SLOW
    assert f"{n_scans} scans" in error.detail


def test_a_refusal_reads_as_reason_and_sentence():
    error = refused(b"<html>")
    assert str(error) == f"not_an_image: {error.detail}"
    assert all(fmt in error.detail for fmt in FORMATS)


@pytest.mark.parametrize("fmt", FORMATS)
def test_cut_anywhere_it_is_a_photo_or_a_reason(fmt):
    """Every prefix, in steps, of every format: never another exception, never a wrong size."""
    data = encoded(picture(60, 80), fmt)
    step = max(1, len(data) // 60)
    for kept in range(0, len(data), step):
        try:
            made = prepare(data[:kept], Preprocessing(size_px=32), thumbnail_px=16)
        except PhotoError as error:
            assert error.detail
            assert (error.reason is Reason.EMPTY) == (kept == 0)
        else:
            assert isinstance(made, Prepared)
            assert (made.width_px, made.height_px) == (80, 60)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "AVIF", "HEIC"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_half_a_photo_is_never_taken_for_a_whole_one(fmt, share):
    noise = np.random.default_rng(2).integers(0, 256, (120, 160, 3), np.uint8)
    data = encoded(noise, fmt)
    assert refused(data[: int(len(data) * share)]).reason in (Reason.TRUNCATED, Reason.DAMAGED)


@pytest.mark.parametrize("fmt", FORMATS)
def test_bytes_after_the_end_do_no_harm(fmt):
    """Phones append videos and depth maps."""
    data = encoded(picture(60, 80), fmt)
    assert np.array_equal(decode(data + b"\0tail" * 500).pixels, decode(data).pixels)


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_bytes_say_what_it_is(fmt):
    assert format_of(encoded(picture(20, 20), fmt)) == fmt


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8", b"RIFF1234WAVE", b"\0\0\0\x18ftypisom", b"%!PS-Adobe", b"\x89PN", b"GIF8"],
    ids=["empty", "two bytes", "wave", "mp4", "postscript", "cut png", "cut gif"],
)
def test_what_is_no_photo_has_no_format(data):
    assert format_of(data) is None


@pytest.mark.parametrize(
    ("brands", "expected"),
    [
        ((b"heic",), "HEIC"),
        ((b"avif",), "AVIF"),
        ((b"mif1", b"heic"), "HEIC"),
        ((b"mif1", b"avif"), "AVIF"),
        ((b"isom", b"mp41"), None),
    ],
    ids=lambda value: b" ".join(value).decode() if isinstance(value, tuple) else str(value),
)
def test_a_general_brand_is_made_precise_by_those_that_follow(brands, expected):
    body = b"ftyp" + brands[0] + bytes(4) + b"".join(brands)
    assert format_of(len(body).to_bytes(4, "big") + body + bytes(32)) == expected


def test_only_an_extended_webp_states_a_canvas():
    simple = encoded(picture(30, 40), "WEBP")
    frames = [Image.fromarray(picture(30, 40)[:, ::step]) for step in (1, -1)]
    stream = io.BytesIO()
    frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:])
    assert stored_size(simple) is None
    assert stored_size(stream.getvalue()) == (40, 30)
    assert stored_size(stream.getvalue()[:29]) is None


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_pictures_the_first_is_taken(fmt):
    frames = [Image.new("RGB", (40, 30), colour) for colour in ((200, 40, 40), (40, 40, 200))]
    stream = io.BytesIO()
    frames[0].save(stream, fmt, save_all=True, append_images=frames[1:])
    shown = decode(stream.getvalue()).pixels
    assert shown.shape == (30, 40, 3)
    assert np.abs(shown[15, 20].astype(int) - (200, 40, 40)).max() < 12


def test_the_hosts_pixel_limit_is_neither_met_nor_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(encoded(picture(40, 50), "PNG")).width_px == 50
    assert Image.MAX_IMAGE_PIXELS == 10
