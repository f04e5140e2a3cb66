"""Which format some bytes are in, and the Pillow plug-in that reads it.

Plug-ins are called directly, not through `PIL.Image.open`: only the formats named here can ever be
tried, and Pillow's process-wide pixel limit, which belongs to the host program, is neither changed
nor met. The limits of `listlens.images.files.Limits` are checked instead.
"""

from __future__ import annotations

import io
from importlib import import_module

from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIC", "GIF", "BMP", "TIFF")

_PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
}
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
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"
)


def format_of(data: bytes) -> str | None:
    """Return one of FORMATS by the first bytes, or None.

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
        brands = (data[8:12], *(data[at : at + 4] for at in range(16, 48, 4)))
        known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return "AVIF" if "AVIF" in known else known[0] if known else None
    return None


def stored_size(data: bytes) -> tuple[int, int] | None:
    """Return the canvas of an extended WebP, whose decoder allocates it before it says its size.

    Source:
        RFC 9649, section 2.7 (VP8X).
    """
    if data[:4] != b"RIFF" or data[12:16] != b"VP8X" or len(data) < 30:
        return None
    return (
        1 + int.from_bytes(data[24:27], "little"),
        1 + int.from_bytes(data[27:30], "little"),
    )


def open_header(stream: io.BytesIO, data: bytes) -> Image.Image:
    """Read the header; pixels are not decoded.

    Args:
        stream: over `data`, at its start.
        data: the file's bytes.

    Raises:
        UnidentifiedImageError: not in one of FORMATS.
    """
    name = format_of(data)
    if name is None:
        raise UnidentifiedImageError(f"starts with {data[:8]!r}")
    module, cls = _PLUGINS[name]
    try:
        plugin = getattr(import_module(module), cls)
    except ImportError as error:
        raise UnidentifiedImageError(f"{name} needs the package {module}") from error
    image: Image.Image = plugin(stream)
    return image
