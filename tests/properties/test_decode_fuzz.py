"""Whatever the bytes: a prepared photo or a PhotoError with a reason, and nothing else."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from listlens.core.errors import PhotoError
from listlens.core.types import Preprocessing
from listlens.images.prepare import prepare


def _samples() -> list[bytes]:
    y, x = np.mgrid[:40, :56]
    pixels = np.stack([x * 4, y * 6, (x * y) % 256], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    result = []
    for fmt, options in (
        ("JPEG", {"exif": exif}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
    ):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, fmt, **options)
        result.append(stream.getvalue())
    return result


SAMPLES = _samples()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.sampled_from(SAMPLES),
    kept=st.floats(0, 1),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.binary(max_size=6)), max_size=5),
)
def test_damaged_bytes_give_a_photo_or_a_reason(
    data: bytes, kept: float, edits: list[tuple[float, bytes]]
) -> None:
    damaged = bytearray(data[: max(1, int(len(data) * kept))] if kept < 0.5 else data)
    for place, replacement in edits:
        at = int(place * len(damaged))
        damaged[at : at + len(replacement)] = replacement
    try:
        prepared = prepare(bytes(damaged), Preprocessing(), thumbnail_px=32)
    except PhotoError as error:
        assert error.detail
        return
    assert prepared.pixels.shape == (224, 224, 3)
    assert prepared.measures is not None
