"""Damage in the rarer formats, in colour profiles and in EXIF: a photo or a reason, still."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from listlens.core.errors import PhotoError
from listlens.core.types import Preprocessing
from listlens.images.colour import _transform, to_srgb
from listlens.images.prepare import prepare


def picture() -> Image.Image:
    y, x = np.mgrid[:36, :50]
    return Image.fromarray(np.stack([x * 5, y * 7, (x * y) % 256], axis=2).astype(np.uint8))


def saved(image: Image.Image, fmt: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, fmt, **options)
    return stream.getvalue()


def heif() -> bytes:
    stream = io.BytesIO()
    pytest.importorskip("pillow_heif").from_pillow(picture()).save(stream)
    return stream.getvalue()


def animated(fmt: str) -> bytes:
    frames = [picture(), picture().transpose(Image.Transpose.ROTATE_180)]
    return saved(frames[0], fmt, save_all=True, append_images=frames[1:])


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OWN = SRGB.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))  # as of a monitor
DEEP = Image.fromarray((np.arange(1800, dtype=np.uint16) * 36).reshape(36, 50))
SAMPLES = {
    "avif": saved(picture(), "AVIF"),
    "heic": heif(),
    "cmyk jpeg": saved(picture().convert("CMYK"), "JPEG"),
    "grey jpeg": saved(picture().convert("L"), "JPEG"),
    "16-bit png": saved(DEEP, "PNG"),
    "16-bit tiff": saved(DEEP, "TIFF"),
    "palette png": saved(picture().quantize(9), "PNG", transparency=3),
    "alpha webp": saved(picture().convert("RGBA"), "WEBP"),
    "packed tiff": saved(picture(), "TIFF", compression="tiff_lzw"),
    "animated gif": animated("GIF"),
    "animated webp": animated("WEBP"),
    "animated png": animated("PNG"),
    "profiled jpeg": saved(picture(), "JPEG", icc_profile=SRGB),
}
EDITS = st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=8)), max_size=6)


def damaged(data: bytes, edits: list[tuple[float, bytes]]) -> bytes:
    out = bytearray(data)
    for place, replacement in edits:
        at = int(place * len(out))
        out[at : at + len(replacement)] = replacement
    return bytes(out)


@pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edits=EDITS, kept=st.floats(0.2, 3))
def test_damage_gives_a_photo_or_a_reason(data, edits, kept):
    try:
        made = prepare(
            damaged(data, edits)[: int(len(data) * kept) + 1],
            Preprocessing(size_px=32),
            thumbnail_px=16,
        )
    except PhotoError as error:
        assert error.detail
    else:
        assert made.pixels.shape == (32, 32, 3)
        assert made.thumbnail is not None


@settings(max_examples=150, deadline=None)
@given(edits=EDITS, kept=st.integers(0, 2 * len(SRGB)))
def test_a_damaged_profile_never_fails_the_photo(edits, kept):
    profile = damaged(OWN, edits)[:kept]
    pixels = np.asarray(picture())
    shown = to_srgb(pixels, profile)
    assert shown.shape == pixels.shape
    assert shown.dtype == np.uint8


def test_the_undamaged_profile_is_one_that_is_applied():
    assert OWN != SRGB
    assert _transform(OWN) is not None
    assert _transform(SRGB) is None


@settings(max_examples=80, deadline=None)
@given(edits=EDITS, orientation=st.integers(1, 8))
def test_damaged_exif_turns_the_photo_or_not_but_never_fails_it(edits, orientation):
    exif = Image.Exif()
    exif[274], exif[0x010F] = orientation, "camera"
    block = damaged(exif.tobytes(), [(0.2 + 0.8 * at, text) for at, text in edits])
    data = saved(picture(), "JPEG", exif=block)
    made = prepare(data, Preprocessing(size_px=32), thumbnail_px=16)
    assert {made.width_px, made.height_px} == {50, 36}
