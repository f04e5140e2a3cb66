"""Which format a file is in, by its first bytes: for finding photos and for decoding them alike."""

from __future__ import annotations

START_BYTES = 48
"""How much of a file `format_of` looks at."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"BM", "BMP"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (
        *(b"heic", b"heix", b"heim", b"heis"),
        *(b"hevc", b"hevx", b"hevm", b"hevs"),
        *(b"mif1", b"msf1"),
    ),
    "HEIC",
)


def format_of(data: bytes) -> str | None:
    """Return the format that the first bytes speak of, or None.

    Args:
        data: a file, or its first `START_BYTES`.

    Returns:
        JPEG, PNG, WEBP, AVIF, HEIC, GIF, BMP or TIFF.

    Source:
        ISO/IEC 14496-12, section 4.3 (brands) and 23008-12, annexes B and E (their names).

    Example:
        >>> format_of(b"GIF89a..."), format_of(b"<!doctype html>")
        ('GIF', None)
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        # A general brand such as mif1 may be followed by the precise one.
        brands = (data[8:12], *(data[at : at + 4] for at in range(16, START_BYTES, 4)))
        known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return "AVIF" if "AVIF" in known else known[0] if known else None
    return None
